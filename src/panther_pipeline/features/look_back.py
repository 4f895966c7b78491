"""What a user and a counterparty saw before an instant: the numbers that `formulas` take, for all windows at once.

Only events strictly before the instant are looked at, and of labels those known strictly before it. Windows are closed
on the left. All is integers, so sums that are taken from sums are exact.

A decision on one event is some hundred operations on arrays of a few dozen numbers, each of which costs its call rather
than its arithmetic. So the entries of both sides are laid end to end, and every operation is done once for both.

Shape letters: E entries of both sides and what stands between them, V windows with "ever" as the last, R risk windows,
2 sides, S the seven sums of `formulas.AmountSums`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from panther_pipeline.features.entries import ENTRY, FRAUD, NO_LABEL
from panther_pipeline.features.event import NO_CODE, NOT_KNOWN_US
from panther_pipeline.features.formulas import AmountSums
from panther_pipeline.features.past import SMALLEST, Past
from panther_pipeline.features.squares import clip_cents, split_square
from panther_pipeline.units import BEFORE_ALL_US, DAY_US

_EVER_US = BEFORE_ALL_US + 1  # later than never, earlier than any event
_NUM_SUMS = 7
# Before, between and after the sides: in no window, known in none, larger than nothing.
_SEPARATOR = np.array([[BEFORE_ALL_US, 0, SMALLEST, NO_CODE, BEFORE_ALL_US, NOT_KNOWN_US, NO_LABEL]], dtype=np.int64)

Side = tuple[np.ndarray, Past]  # entries before the instant, and what was summed up


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What both sides saw, (2, ...) each: user, counterparty."""

    sums: AmountSums  # int64 (2, V)
    known_2R: np.ndarray  # int64, labels that became known in each risk window
    frauds_2R: np.ndarray  # int64, how many of them were fraud
    first_us_2R: np.ndarray  # int64, the earliest of those payments; BEFORE_ALL_US = none
    last_us: list[int]  # the last event, ever; BEFORE_ALL_US = none
    last_fraud_us: list[int]  # the last payment known to be fraud, ever; likewise


def window_starts(time_us: int, days: list[int]) -> np.ndarray:
    """Where the windows of an instant begin, with "ever" as the last: int64 (V,) microseconds."""
    return np.array([*(time_us - length * DAY_US for length in days), _EVER_US])


def entries_before(entries_E: np.ndarray, time_us: int) -> np.ndarray:
    """The entries strictly before an instant: a decision does not see what happens at its own."""
    return entries_E[: int(entries_E["time_us"].searchsorted(time_us, side="left"))]


def look_back(sides: Sequence[Side], time_us: int, starts_V: np.ndarray, risk_starts_R: np.ndarray) -> Seen:
    """What was seen before an instant.

    Args:
        sides: user and counterparty; entries before the instant alone (`entries_before`).
        time_us: the instant; labels that become known at it or later are not.
        starts_V: from `window_starts`.
        risk_starts_R: where the risk windows begin; int64.
    """
    entries_7E, ends_2 = _lay_out([seen_E for seen_E, _ in sides])
    time_E, _, cents_E, other_E, met_E, known_us_E, label_E = entries_7E
    in_window_VE = time_E >= starts_V[:, None]
    # Distinct: those whose meeting before lies before the window.
    is_first_VE = in_window_VE & (met_E < starts_V[:, None]) & (other_E != NO_CODE)
    is_known_E = known_us_E < time_us
    is_known_RE = is_known_E & (known_us_E >= risk_starts_R[:, None])
    is_fraud_E = is_known_E & (label_E == FRAUD)
    is_fraud_RE = is_known_RE & is_fraud_E
    flags_XE = np.concatenate([in_window_VE, is_first_VE, is_known_RE, is_fraud_RE])
    firsts = [0, int(ends_2[0])]  # where each side begins, its separator included
    counts_2X = np.add.reduceat(flags_XE, firsts, axis=1, dtype=np.int64).T
    num_windows, num_risk = len(starts_V), len(risk_starts_R)

    count_2V, distinct_2V = counts_2X[:, :num_windows], counts_2X[:, num_windows : 2 * num_windows]
    begins_2V = ends_2[:, None] - count_2V
    sums_S2V = np.empty((_NUM_SUMS, 2, num_windows), dtype=np.int64)
    sums_S2V[0], sums_S2V[1] = count_2V, distinct_2V
    sums_S2V[2] = _largest_from(cents_E, begins_2V, ends_2)
    sums_S2V[3:] = _sum_from(cents_E, begins_2V, ends_2)
    for side, (_, past) in enumerate(sides):
        _add_past(sums_S2V[:, side, -1], past)
    count, distinct, largest, total, clipped, high, low = sums_S2V
    first_us_2R, last_fraud_us_2 = _find_frauds(is_fraud_RE, is_fraud_E, time_E, firsts)
    last_us_2 = time_E[ends_2 - 1].tolist()
    return Seen(
        sums=AmountSums(
            count=count, distinct=distinct, largest=largest, total=total, clipped=clipped, high=high, low=low
        ),
        known_2R=counts_2X[:, 2 * num_windows : -num_risk],
        frauds_2R=counts_2X[:, -num_risk:],
        first_us_2R=first_us_2R,
        last_us=[max(past.last_us, us) for (_, past), us in zip(sides, last_us_2, strict=True)],
        last_fraud_us=[max(past.last_fraud_us, us) for (_, past), us in zip(sides, last_fraud_us_2, strict=True)],
    )


def _lay_out(seen: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The columns of `ENTRY`, int64 (7, E), of both sides with separators around them, and where each side ends."""
    user_E, counterparty_E = (seen_E.view(np.int64).reshape(-1, len(ENTRY.names)) for seen_E in seen)
    rows = np.concatenate([_SEPARATOR, user_E, _SEPARATOR, counterparty_E, _SEPARATOR])
    return np.ascontiguousarray(rows.T), np.array([1 + len(user_E), len(rows) - 1])


def _sum_from(cents_E: np.ndarray, begins_2V: np.ndarray, ends_2: np.ndarray) -> np.ndarray:
    """Sums of cents, clipped cents and the halves of their squares, (4, 2, V), each from a place to the side's end."""
    facts_4E = np.empty((4, len(cents_E)), dtype=np.int64)
    facts_4E[0], facts_4E[1] = cents_E, clip_cents(cents_E)
    facts_4E[2], facts_4E[3] = split_square(facts_4E[1])
    np.cumsum(facts_4E, axis=1, out=facts_4E)
    return facts_4E[:, ends_2 - 1][:, :, None] - facts_4E[:, begins_2V - 1]


def _largest_from(cents_E: np.ndarray, begins_2V: np.ndarray, ends_2: np.ndarray) -> np.ndarray:
    """The largest from a place to the side's end, (2, V); 0 of none."""
    # From one window's begin to the next: where both are one, reduceat gives the element there, which the shorter
    # window holds too, unless it is empty; then it is the separator, which is larger than nothing.
    bounds_2W = np.concatenate([begins_2V[:, ::-1], ends_2[:, None]], axis=1)
    between_2W = np.maximum.reduceat(cents_E, bounds_2W.ravel()).reshape(bounds_2W.shape)
    largest_2V = np.maximum.accumulate(between_2W[:, -2::-1], axis=1)
    return np.where(begins_2V < ends_2[:, None], largest_2V, 0)


def _find_frauds(
    is_fraud_RE: np.ndarray, is_fraud_E: np.ndarray, time_E: np.ndarray, firsts: list[int]
) -> tuple[np.ndarray, list[int]]:
    """The earliest known fraud in each risk window, int64 (2, R), and the last one of each side."""
    if not is_fraud_E.any():  # as nearly always
        return np.full((2, len(is_fraud_RE)), BEFORE_ALL_US), [BEFORE_ALL_US, BEFORE_ALL_US]
    first_us_2R = np.minimum.reduceat(np.where(is_fraud_RE, time_E, NOT_KNOWN_US), firsts, axis=1).T
    last_us_2 = np.maximum.reduceat(np.where(is_fraud_E, time_E, BEFORE_ALL_US), firsts)
    return np.where(first_us_2R == NOT_KNOWN_US, BEFORE_ALL_US, first_us_2R), last_us_2.tolist()


def _add_past(ever_S: np.ndarray, past: Past) -> None:
    """Add what was summed up to the sums of "ever", in place."""
    if past.count:
        largest = max(past.largest, int(ever_S[2])) if ever_S[0] else past.largest
        ever_S += np.array([past.count, past.distinct, 0, past.total, past.clipped, past.high, past.low])
        ever_S[2] = largest
