"""How much of what a teacher is ahead its student takes over.

Shape letters: S resamples.
"""

import logging

import numpy as np

from panther_pipeline.metrics.bootstrap import percentile_interval

logger = logging.getLogger(__name__)

PLAIN, TEACHER, STUDENT = "panther_head", "head_attention", "head_distilled"
GAP_RECOVERED = "average_precision_gap_recovered"
_METRIC = "average_precision"


def measure_gap_recovered(
    values: dict[tuple[str, str], float], resampled: dict[tuple[str, str], np.ndarray], split: str
) -> tuple[float, np.ndarray] | None:
    """(student - plain) / (teacher - plain) in average precision: 1 = all of it, 0 = none.

    Args:
        values: of (model, metric).
        resampled: (S,) of (model, metric); all models see the same resamples.
        split: for the warning.

    Returns:
        The share and its resampled values (S,), or None when one of the three was not measured or the teacher is not
        better: then there is no gap, and a warning says so. The resampled values are NaN when the 95 % interval of the
        gap reaches 0: the interval of the share would then have no bounds. Of the resamples, at most the 2.5 % with
        no gap are left out.

    Source: Fieller 1954, "Some problems in interval estimation", for a ratio whose denominator may be 0.
    """
    keys = [(model, _METRIC) for model in (PLAIN, TEACHER, STUDENT)]
    if not all(key in resampled for key in keys):
        return None
    plain, teacher, student = (values[key] for key in keys)
    if not teacher > plain:
        logger.warning(
            "%s: %s (average precision %.4f) is not better than %s (%.4f): there is no gap to recover a share of.",
            split, TEACHER, teacher, PLAIN, plain,
        )  # fmt: skip
        return None
    plain_S, teacher_S, student_S = (resampled[key] for key in keys)
    gap_S = teacher_S - plain_S
    low, _ = percentile_interval(gap_S)
    if low is None or low <= 0:
        return (student - plain) / (teacher - plain), np.full_like(gap_S, np.nan)
    gap_S = np.where(gap_S > 0, gap_S, np.nan)
    return (student - plain) / (teacher - plain), (student_S - plain_S) / gap_S
