"""The features of one event from the states of its user and its counterparty: those of the table, bit for bit.

Shape letters: F features, A and K features of a window and of a risk window, 2 sides, V windows with "ever" as the
last, R risk windows.
"""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import numpy as np

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.features.activity import CounterpartyActivity, UserActivity
from panther_pipeline.features.config import FeatureConfig
from panther_pipeline.features.entries import NO_ENTRIES
from panther_pipeline.features.event import NO_CODE, OnlineEvent, code_text
from panther_pipeline.features.formulas import (
    AMOUNTS,
    CONTEXT,
    RISK,
    describe_amounts,
    describe_context,
    describe_risk,
    feature_names,
    log_seconds_since,
)
from panther_pipeline.features.look_back import entries_before, look_back, window_starts
from panther_pipeline.features.past import NO_PAST, Past, look_up
from panther_pipeline.units import BEFORE_ALL_US, from_us


class OnlineFeatures:
    """Computes what `compute_features` computes, an event at a time.

    Attributes:
        names: the F features in the order of the columns of `compute_features`.
    """

    def __init__(self, config: FeatureConfig, attributes: Sequence[str]) -> None:
        """Prepare.

        Args:
            config: windows and calendar.
            attributes: the categorical attributes of the ledger, in its order.

        Raises:
            ConfigurationError: `novelty` names none of the attributes.
        """
        self._config = config
        self._novelty = tuple(config.choose_novelty(attributes))
        self.names = feature_names(config, self._novelty)
        self._order_F = _order(config, len(self._novelty))
        self._zone = ZoneInfo(config.time_zone)

    def compute(
        self, event: OnlineEvent, user: UserActivity, counterparty: CounterpartyActivity | None = None
    ) -> np.ndarray:
        """The features of an event as of its own instant.

        Whether the states hold the event already, or later ones, makes no difference: nothing at or after its instant
        is seen.

        Args:
            event: what is to be decided; its label is not looked at.
            user: state of its user.
            counterparty: state of its counterparty; None = one never seen. Ignored for an event without one.

        Returns:
            float32 (F,), finite.

        Raises:
            TooLateError: the event is more than `lateness_days` behind the newest of a state that has summed up some.
            ConfigurationError: a state was kept for other features, or the event lacks an attribute.
        """
        time_us, cents_11 = event.time_us, np.array([[event.cents]], dtype=np.int64)
        known_counterparty = None if event.counterparty is None else counterparty
        sides = [self._look(activity, time_us) for activity in (user, known_counterparty)]
        starts_V = window_starts(time_us, self._config.windows_days)
        seen = look_back(sides, time_us, starts_V, window_starts(time_us, self._config.risk_windows_days)[:-1])
        amounts_A2V = np.array(describe_amounts(seen.sums, cents_11))
        risk_K2R = np.array(describe_risk(seen.known_2R, seen.frauds_2R, seen.first_us_2R, time_us))
        pair_us, is_new_pair = self._meet(event, user)
        since_5 = log_seconds_since(np.array([*seen.last_us, *seen.last_fraud_us, pair_us]), time_us)
        novel = [is_new_pair, *(self._is_new(event, user, ix) for ix in range(len(self._novelty)))]
        parts = [self._describe_itself(event), amounts_A2V.ravel(), risk_K2R.ravel(), since_5, novel]
        return np.concatenate(parts)[self._order_F].astype(np.float32)

    def _look(self, activity: UserActivity | CounterpartyActivity | None, time_us: int) -> tuple[np.ndarray, Past]:
        """What one side saw before the instant: entries, and what was summed up."""
        if activity is None:
            return NO_ENTRIES, NO_PAST
        kept = activity.config
        if kept.novelty != self._novelty or (kept.features is not self._config and kept.features != self._config):
            raise ConfigurationError(
                "the state of a user or counterparty was kept for another finetuning.features, or other attributes, "
                "than those to be computed. Run embed to build the online state anew."
            )
        if activity.past.count:
            activity.check_in_time(time_us)
        return entries_before(activity.entries_E, time_us), activity.past

    def _describe_itself(self, event: OnlineEvent) -> np.ndarray:
        local = from_us(event.time_us).astimezone(self._zone)
        cents = np.int64(event.cents)  # as in a table: Python would divide large integers another way
        return np.array(describe_context(cents, local.hour, local.minute, local.weekday(), self._config))

    def _meet(self, event: OnlineEvent, user: UserActivity) -> tuple[int, bool]:
        """When the pair last met, and whether it never did."""
        if event.counterparty is None:
            return BEFORE_ALL_US, False
        last_us = user.last_met_us(event.time_us, code_text(event.counterparty))
        return last_us, last_us == BEFORE_ALL_US

    def _is_new(self, event: OnlineEvent, user: UserActivity, ix: int) -> bool:
        """Whether the user never had this value of an attribute before."""
        code = event.attribute_code(self._novelty[ix])
        first_us = look_up(user.values[ix], code)
        return code != NO_CODE and (first_us is None or first_us >= event.time_us)


def _order(config: FeatureConfig, num_novel: int) -> np.ndarray:
    """Where each of the F features stands in what `OnlineFeatures.compute` puts end to end."""
    num_windows, num_risk_windows = len(config.windows_days) + 1, len(config.risk_windows_days)
    shapes = [(len(CONTEXT),), (len(AMOUNTS), 2, num_windows), (len(RISK), 2, num_risk_windows), (5,), (1 + num_novel,)]
    stops = np.cumsum([np.prod(shape) for shape in shapes])
    parts = np.split(np.arange(stops[-1]), stops[:-1])
    context, amounts_A2V, risk_K2R, since_5, novel = (
        part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)
    )
    order = [context]
    for side in range(2):
        order += [since_5[[side]], amounts_A2V[:, side].T.ravel(), since_5[[2 + side]], risk_K2R[:, side].T.ravel()]
    return np.concatenate([*order, novel[:1], since_5[4:], novel[1:]])
