"""The as-of instants: a regular grid, cut so that no label is used before it was known.

Time runs fit instants → (horizon and label delay) → calibration instants → (horizon and label delay) → test instants.
Instants go into a part as a whole: were single rows taken as soon as their last label is known, the part's newest
instant would hold the quiet counterparties alone.

Shape letters: E events with a counterparty, by time; L labels, by the time of their events; T instants.
"""

import logging
import math
from dataclasses import dataclass

import numpy as np

from panther_pipeline.ledger.splits import SplitConfig, parse_instant
from panther_pipeline.tasks.merchant_risk.config import MerchantRiskConfig
from panther_pipeline.units import DAY_US, to_us

logger = logging.getLogger(__name__)

FIT_PART, CALIBRATION_PART, TEST_PART = "fit", "calibration", "test"


@dataclass(frozen=True, kw_only=True)
class KnownLabels:
    """When labelled events happened and when their labels became known, by the former."""

    time_us_L: np.ndarray  # int64, ascending
    known_us_L: np.ndarray  # int64, never before the event

    def are_known(self, start_us: int, end_us: int, before_us: int) -> bool:
        """Whether [start, end) is over at an instant and all of its labels became known strictly before it."""
        first, last = np.searchsorted(self.time_us_L, [start_us, end_us])
        return end_us <= before_us and bool((self.known_us_L[first:last] < before_us).all())


def place_instants(
    time_us_E: np.ndarray, labels: KnownLabels, config: MerchantRiskConfig, splits: SplitConfig
) -> dict[int, str]:
    """The instants at which counterparties are judged, and what each is for.

    The grid starts with the test window. A test instant's whole horizon lies in the test window and in the ledger; of
    an earlier instant the longest window lies in the ledger, and the horizon's labels were known before the part after
    it begins, and before `valid_end` where an embargo stands between.

    Args:
        time_us_E: int64, ascending.
        labels: of the same events.
        config: distances and lengths.
        splits: by time; gives the test window.

    Returns:
        As-of instant (microseconds) → part, ascending, with all three parts; empty, with a warning that says why, if
        the history is shorter than the windows, or the test window than the horizon.
    """
    step_us, horizon_us = config.every_days * DAY_US, config.horizon_days * DAY_US
    test_start_us = splits.test_start_us
    ledger_end_us = int(time_us_E[-1]) + 1
    test_end_us = ledger_end_us if splits.test_end_us is None else min(splits.test_end_us, ledger_end_us)
    test_T = np.arange(test_start_us, test_end_us - horizon_us + 1, step_us)
    start_us = int(time_us_E[0]) + config.longest_days * DAY_US
    if config.fit_start is not None:
        start_us = max(start_us, to_us(parse_instant(config.fit_start)))
    # Backwards from the test, so that both lie on one grid.
    earlier = np.arange(test_start_us - step_us, start_us - 1, -step_us)[::-1].tolist()
    # Not test_start_us: what happens during the embargo belongs to no split.
    known = [t for t in earlier if labels.are_known(t, t + horizon_us, splits.valid_end_us)]
    calibration = known[len(known) - math.ceil(config.calibration_share * len(known)) :]
    fit = [t for t in known if calibration and labels.are_known(t, t + horizon_us, calibration[0])]
    parts = {FIT_PART: fit, CALIBRATION_PART: calibration, TEST_PART: test_T.tolist()}
    if not all(parts.values()):
        _say_what_is_missing(parts, config)
        return {}
    return {t: part for part, instants in parts.items() for t in instants}


def _say_what_is_missing(parts: dict[str, list[int]], config: MerchantRiskConfig) -> None:
    if not parts[TEST_PART]:
        logger.warning(
            "Merchant risk: no horizon of %d days fits into the test window: no rows, nothing is judged. Shorten "
            "finetuning.merchant_risk.rows.horizon_days or lengthen the test of ledger.splits.",
            config.horizon_days,
        )
    else:
        logger.warning(
            "Merchant risk: no as-of instant has both a window of %d days behind it and labels known in time for "
            "calibration and test: no rows, nothing is fitted. Shorten finetuning.merchant_risk.rows.windows_days, "
            "horizon_days or every_days, or set fit_start to null.",
            config.longest_days,
        )
