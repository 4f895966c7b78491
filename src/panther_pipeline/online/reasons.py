"""Which inputs moved a score: the head is asked again with one group of inputs at a time made average.

Shape letters: F features, G groups, D width of the embedding, S surprise values.
"""

import math
from dataclasses import dataclass

import numpy as np

from panther_pipeline.online.decision import Reason
from panther_pipeline.scoring.head import FraudHead

_DEVIATION, _BEHAVIOUR = "deviation from what was expected", "usual behaviour of the user"
# The first that fits names the group of a feature; read from the top.
_GROUPS = (
    ("known fraud of the counterparty", ("counterparty_known", "counterparty_log_s_since_known",
                                         "counterparty_log_s_since_first_known")),
    ("known fraud of the user", ("user_known", "user_log_s_since_known", "user_log_s_since_first_known")),
    ("first time", ("is_new_", "pair_")),
    ("time of day and week", ("hour_", "weekday", "is_night", "is_weekend")),
    ("activity of the counterparty", ("counterparty_",)),
    ("activity of the user", ("user_",)),
    ("amount", ("",)),
)  # fmt: skip
_MOST_LOG_ODDS = 30.0  # beyond it a float64 probability is 0 or 1


@dataclass(frozen=True, kw_only=True)
class Explainer:
    """The groups of one head's inputs."""

    head: FraudHead

    def explain(
        self, features_F: np.ndarray, embedding_D: np.ndarray, surprises_S: np.ndarray, num: int = 3
    ) -> tuple[Reason, ...]:
        """The groups that raise the log-odds most.

        Args:
            features_F: float32, in the order of the head's names.
            embedding_D: float32.
            surprises_S: float32.
            num: how many at most; groups that do not raise them are left out.
        """
        groups = group_features(self.head.feature_names)
        rows = 1 + len(groups) + 2
        features, embeddings = np.tile(features_F, (rows, 1)), np.tile(embedding_D, (rows, 1))
        surprises = np.tile(surprises_S, (rows, 1))
        average = self.head.average_inputs()
        for row, columns in enumerate(groups.values(), 1):
            features[row, columns] = average.features_F[columns]
        surprises[-2], embeddings[-1] = average.surprises_S, average.embedding_D
        log_odds = [_log_odds(p) for p in self.head.score(features, embeddings, surprises)]
        effects = zip([*groups, _DEVIATION, _BEHAVIOUR], log_odds[1:], strict=True)
        reasons = [Reason(what=what, effect=log_odds[0] - without) for what, without in effects]
        return tuple(sorted((r for r in reasons if r.effect > 0), key=lambda r: -r.effect)[:num])


def group_features(names: list[str]) -> dict[str, np.ndarray]:
    """Positions of the features of each group that has any."""
    group_of = [next(group for group, starts in _GROUPS if name.startswith(starts)) for name in names]
    groups = {group: np.flatnonzero([own == group for own in group_of]) for group, _ in _GROUPS}
    return {group: positions for group, positions in groups.items() if len(positions)}


def _log_odds(probability: float) -> float:
    if not 0 < probability < 1:
        return math.copysign(_MOST_LOG_ODDS, probability - 0.5)
    return math.log(probability) - math.log1p(-probability)
