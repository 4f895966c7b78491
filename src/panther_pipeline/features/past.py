"""What is left of the events that a state no longer holds one by one: exact whole numbers, and instants by code.

Shape letters: E entries, K codes.
"""

from dataclasses import dataclass, fields

import numpy as np

from panther_pipeline.features.entries import FRAUD
from panther_pipeline.features.event import NO_CODE
from panther_pipeline.features.squares import clip_cents, split_square
from panther_pipeline.units import BEFORE_ALL_US

SEEN = np.dtype([("code", "<i8"), ("time_us", "<i8")])  # sorted by code, each once
NOTHING_SEEN = np.zeros(0, dtype=SEEN)
NOTHING_SEEN.flags.writeable = False
SMALLEST = -(2**63)  # of int64


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """Sums over events of a group, all of them earlier than any event still to be scored."""

    count: int = 0
    total: int = 0  # cents, modulo 2^64 as the sums of the ledger
    largest: int = SMALLEST  # cents
    clipped: int = 0
    high: int = 0  # sums of the halves of squares (`windows.split_square`)
    low: int = 0
    distinct: int = 0  # of those on the other side, met first in these events
    last_us: int = BEFORE_ALL_US
    last_fraud_us: int = BEFORE_ALL_US  # the last of them whose label is fraud

    def add(self, entries_E: np.ndarray) -> "Past":
        """The sums with these entries, too."""
        cents_E, times_E = entries_E["cents"], entries_E["time_us"]
        high_E, low_E = split_square(cents_E)
        is_first_E = (entries_E["met_before_us"] == BEFORE_ALL_US) & (entries_E["other"] != NO_CODE)
        return Past(
            count=self.count + len(entries_E),
            total=_wrap(self.total + int(cents_E.sum())),
            largest=max(self.largest, int(cents_E.max(initial=SMALLEST))),
            clipped=self.clipped + int(clip_cents(cents_E).sum()),
            high=self.high + int(high_E.sum()),
            low=self.low + int(low_E.sum()),
            distinct=self.distinct + int(np.count_nonzero(is_first_E)),
            last_us=max(self.last_us, int(times_E.max(initial=BEFORE_ALL_US))),
            last_fraud_us=max(self.last_fraud_us, int(times_E[entries_E["label"] == FRAUD].max(initial=BEFORE_ALL_US))),
        )


NO_PAST = Past()
PAST_FIELDS = tuple(field.name for field in fields(Past))


def look_up(seen_K: np.ndarray, code: int) -> int | None:
    """The instant kept under a code; None = the code is not there."""
    codes_K = seen_K["code"]
    place = int(codes_K.searchsorted(code))
    if place == len(codes_K) or codes_K[place] != code:
        return None
    return int(seen_K["time_us"][place])


def keep_first(seen_K: np.ndarray, codes_E: np.ndarray, times_E: np.ndarray) -> np.ndarray:
    """The earliest instant of every code, of those kept and of new ones; NO_CODE is left out."""
    return _merge(seen_K, codes_E, times_E, sign=1)


def keep_last(seen_K: np.ndarray, codes_E: np.ndarray, times_E: np.ndarray) -> np.ndarray:
    """The latest instant of every code, of those kept and of new ones; NO_CODE is left out."""
    return _merge(seen_K, codes_E, times_E, sign=-1)


def _merge(seen_K: np.ndarray, codes_E: np.ndarray, times_E: np.ndarray, sign: int) -> np.ndarray:
    is_coded_E = codes_E != NO_CODE
    codes = np.concatenate([seen_K["code"], codes_E[is_coded_E]])
    times = np.concatenate([seen_K["time_us"], times_E[is_coded_E]])
    order = np.lexsort((sign * times, codes))
    is_first = np.diff(codes[order], prepend=codes[order][:1] - 1) != 0
    merged = np.empty(np.count_nonzero(is_first), dtype=SEEN)
    merged["code"], merged["time_us"] = codes[order[is_first]], times[order[is_first]]
    merged.flags.writeable = False
    return merged


def _wrap(number: int) -> int:
    return (number + 2**63) % 2**64 - 2**63
