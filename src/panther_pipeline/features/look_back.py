"""What a state saw before an instant: the numbers that `formulas` take, for all windows at once.

Only events strictly before the instant are looked at, and of labels those known strictly before it. Windows are closed
on the left. All is integers, so sums that are taken from sums are exact.

Shape letters: E entries before the instant, V windows with "ever" as the last, R risk windows, S the seven sums of
`formulas.AmountSums`.
"""

import numpy as np

from panther_pipeline.features.entries import FRAUD
from panther_pipeline.features.event import NO_CODE
from panther_pipeline.features.past import Past
from panther_pipeline.features.windows import clip_cents, split_square
from panther_pipeline.units import BEFORE_ALL_US, DAY_US

_NUM_SUMS = 7
_EVER_US = BEFORE_ALL_US + 1  # later than never, earlier than any event


def window_starts(time_us: int, days: list[int]) -> np.ndarray:
    """Where the windows of an instant begin, with "ever" as the last: int64 (V,) microseconds."""
    return np.array([*(time_us - length * DAY_US for length in days), _EVER_US])


def entries_before(entries_E: np.ndarray, time_us: int) -> np.ndarray:
    """The entries strictly before an instant: a decision does not see what happens at its own."""
    return entries_E[: int(entries_E["time_us"].searchsorted(time_us, side="left"))]


def last_event_us(seen_E: np.ndarray, past: Past) -> int:
    """The last event; BEFORE_ALL_US = none."""
    return max(past.last_us, int(seen_E["time_us"][-1])) if len(seen_E) else past.last_us


def sum_windows(seen_E: np.ndarray, past: Past, starts_V: np.ndarray) -> np.ndarray:
    """The sums of each window and of everything.

    Args:
        seen_E: the entries before the instant.
        past: what was summed up.
        starts_V: from `window_starts`.

    Returns:
        int64 (S, V); the last column is "ever".
    """
    sums_SV = np.zeros((_NUM_SUMS, len(starts_V)), dtype=np.int64)
    if len(seen_E):
        begins_V = seen_E["time_us"].searchsorted(starts_V, side="left")
        count_V = len(seen_E) - begins_V
        totals_4V = _sum_from(seen_E["cents"], begins_V)
        largest_V = _largest_from(seen_E["cents"], count_V)
        sums_SV[:] = [count_V, totals_4V[0], largest_V, *totals_4V[1:], _count_distinct(seen_E, starts_V)]
    if past.count:
        largest = max(past.largest, int(sums_SV[2, -1])) if len(seen_E) else past.largest
        sums_SV[:, -1] += np.array(
            [past.count, past.total, 0, past.clipped, past.high, past.low, past.distinct], dtype=np.int64
        )
        sums_SV[2, -1] = largest
    return sums_SV


def known_risk(
    seen_E: np.ndarray, past: Past, time_us: int, starts_R: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """What became known before an instant.

    Args:
        seen_E: the entries before the instant; of later ones nothing can be known (`OnlineEvent.known_us`).
        past: what was summed up.
        time_us: the instant.
        starts_R: where the risk windows begin; int64.

    Returns:
        known_R: labels that became known in each window.
        frauds_R: how many of them were fraud.
        first_us_R: the earliest of those payments; BEFORE_ALL_US = none.
        last_us: the last payment known to be fraud, ever; BEFORE_ALL_US = none.
    """
    known_us_E = seen_E["known_us"]
    is_known_E = known_us_E < time_us
    is_fraud_E = is_known_E & (seen_E["label"] == FRAUD)
    in_window_RE = is_known_E & (known_us_E >= starts_R[:, None])
    known_R = in_window_RE.sum(axis=1)
    fraud_places = np.flatnonzero(is_fraud_E)
    if not fraud_places.size:  # as nearly always
        nothing_R = np.zeros_like(known_R)
        return known_R, nothing_R, nothing_R + BEFORE_ALL_US, past.last_fraud_us
    frauds_RE = in_window_RE[:, fraud_places]
    frauds_R = frauds_RE.sum(axis=1)
    times = seen_E["time_us"][fraud_places]
    first_us_R = np.where(frauds_R > 0, times[frauds_RE.argmax(axis=1)], BEFORE_ALL_US)
    return known_R, frauds_R, first_us_R, max(past.last_fraud_us, int(times[-1]))


def _sum_from(cents_E: np.ndarray, begins_V: np.ndarray) -> np.ndarray:
    """Sums of cents, clipped cents and the halves of their squares, (4, V), each from a place to the end."""
    facts_4E = np.zeros((4, len(cents_E) + 1), dtype=np.int64)
    facts_4E[0, 1:], facts_4E[1, 1:] = cents_E, clip_cents(cents_E)
    facts_4E[2, 1:], facts_4E[3, 1:] = split_square(facts_4E[1, 1:])
    np.cumsum(facts_4E, axis=1, out=facts_4E)
    return facts_4E[:, -1:] - facts_4E[:, begins_V]


def _largest_from(cents_E: np.ndarray, count_V: np.ndarray) -> np.ndarray:
    """The largest of the last so many; 0 of none."""
    from_end_E = np.maximum.accumulate(cents_E[::-1])
    return np.where(count_V > 0, from_end_E[count_V - 1], 0)


def _count_distinct(seen_E: np.ndarray, starts_V: np.ndarray) -> np.ndarray:
    """How many on the other side: those in the window whose meeting before lies before it."""
    has_other_E = seen_E["other"] != NO_CODE
    starts_V1 = starts_V[:, None]
    is_first_VE = has_other_E & (seen_E["time_us"] >= starts_V1) & (seen_E["met_before_us"] < starts_V1)
    return is_first_VE.sum(axis=1)
