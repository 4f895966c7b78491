"""One user's history as the online store keeps it: the newest events, and what was expected after one of them.

Shape letters: R events kept, F token attributes, P profile attributes, D width, K likeliest next transactions.
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from panther_pipeline.cache.surprises import to_fixed_point
from panther_pipeline.errors import ArtifactError
from panther_pipeline.online.event_ids import EventIds

NOT_MEASURED = np.float32(np.nan)  # the surprise of an event that has arrived since the last refresh
_VERSION = 2
# version, F, P, D, K, columns of the likeliest; bytes of a token id, an attribute id, a length; R, bytes of ids,
# events, position, sums of older surprises, normaliser
_HEADER = struct.Struct("<BBHHHBBBBIIqqqqf")
_WIDTHS = {1: "<u1", 2: "<u2", 4: "<u4"}  # bytes of a whole number: as few as the largest of a record needs
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, kw_only=True)
class CachedForecast:
    """The state after one event of a user, and what it expects."""

    position: int  # of that event in the user's history, from 0
    embedding_D: np.ndarray  # float32
    expected_D: np.ndarray  # float32: expected vector of the next event
    log_normaliser: float  # see `deviation.Forecasts`
    likeliest: np.ndarray  # int32 (K,) token ids, or (K, F) attribute ids of a factored backbone
    probs_K: np.ndarray  # float32


@dataclass(frozen=True, kw_only=True)
class UserHistory:
    """Immutable. Events in order of (time, id); `num_events - R` older ones are no longer known one by one."""

    profile_ids_P: np.ndarray  # int32
    num_events: int
    time_us_R: np.ndarray  # int64
    token_ids_R: np.ndarray  # int32
    attribute_ids_RF: np.ndarray  # int32
    surprise_R: np.ndarray  # float32 nats, NOT_MEASURED until a refresh
    event_ids: EventIds  # of the R events
    older_surprise: int  # sum over the older events, fixed point
    older_squares: int
    forecast: CachedForecast | None

    @classmethod
    def empty(cls, profile_ids_P: np.ndarray, num_attributes: int) -> Self:
        """A user without events."""
        return cls(
            profile_ids_P=np.asarray(profile_ids_P, np.int32),
            num_events=0,
            time_us_R=np.empty(0, np.int64),
            token_ids_R=np.empty(0, np.int32),
            attribute_ids_RF=np.empty((0, num_attributes), np.int32),
            surprise_R=np.empty(0, np.float32),
            event_ids=EventIds.of(()),
            older_surprise=0,
            older_squares=0,
            forecast=None,
        )

    @property
    def num_kept(self) -> int:
        """R."""
        return len(self.event_ids)

    @property
    def num_older(self) -> int:
        """Events no longer known one by one."""
        return self.num_events - self.num_kept

    @cached_property
    def unmeasured(self) -> np.ndarray:
        """int64 positions, among the kept events, of those without a surprise."""
        return np.flatnonzero(np.isnan(self.surprise_R))

    def find(self, event_id: str) -> int | None:
        """Where an event stands among those kept; None if it is not there."""
        return self.event_ids.find(event_id)

    def place(self, time_us: int, event_id: str) -> int:
        """Where a new event belongs among those kept: behind all that are not later."""
        first = int(np.searchsorted(self.time_us_R, time_us, side="left"))
        last = int(np.searchsorted(self.time_us_R, time_us, side="right"))
        key = id_order(event_id)
        while last > first and id_order(self.event_ids[last - 1]) > key:
            last -= 1
        return last

    def past_surprises(self, stop: int) -> tuple[int, int, int]:
        """Count, sum and sum of squares (fixed point) of the surprises of all events before kept position `stop`."""
        fixed = to_fixed_point(self.surprise_R[:stop])
        return (
            self.num_older + stop,
            self.older_surprise + int(fixed.sum()),
            self.older_squares + int(np.square(fixed).sum()),
        )

    def insert(self, place: int, *, time_us: int, token_id: int, attribute_ids: Sequence[int], event_id: str) -> Self:
        """The history with one more event; what was measured of the events behind it must be measured again."""
        surprise_R = np.insert(self.surprise_R, place, NOT_MEASURED)
        surprise_R[place:] = NOT_MEASURED
        forecast = self.forecast
        if forecast is not None and forecast.position >= self.num_older + place:
            forecast = None
        return replace(
            self,
            num_events=self.num_events + 1,
            time_us_R=np.insert(self.time_us_R, place, time_us),
            token_ids_R=np.insert(self.token_ids_R, place, token_id),
            attribute_ids_RF=np.insert(self.attribute_ids_RF, place, attribute_ids, axis=0),
            surprise_R=surprise_R,
            event_ids=self.event_ids.insert(place, event_id),
            forecast=forecast,
        )

    def forget(self, num: int) -> Self:
        """Keep only the sums of the oldest `num` of the events kept."""
        if num <= 0:
            return self
        _, total, squares = self.past_surprises(num)
        return replace(
            self,
            time_us_R=self.time_us_R[num:],
            token_ids_R=self.token_ids_R[num:],
            attribute_ids_RF=self.attribute_ids_RF[num:],
            surprise_R=self.surprise_R[num:],
            event_ids=self.event_ids.drop(num),
            older_surprise=total,
            older_squares=squares,
        )

    def pack(self) -> bytes:
        """Bytes of a fixed layout, little-endian."""
        forecast = self.forecast
        likeliest = np.empty((0, 1), np.int32) if forecast is None else _as_matrix(forecast.likeliest)
        narrow = [_narrow(a) for a in (self.token_ids_R, self.attribute_ids_RF, self.event_ids.lengths_R)]
        header = _HEADER.pack(
            _VERSION,
            self.attribute_ids_RF.shape[1],
            len(self.profile_ids_P),
            0 if forecast is None else len(forecast.embedding_D),
            len(likeliest),
            0 if forecast is None or forecast.likeliest.ndim == 1 else likeliest.shape[1],
            *(array.itemsize for array in narrow),
            self.num_kept,
            len(self.event_ids.packed),
            self.num_events,
            -1 if forecast is None else forecast.position,
            self.older_surprise,
            self.older_squares,
            0.0 if forecast is None else forecast.log_normaliser,
        )
        arrays = [self.time_us_R.astype("<i8"), self.profile_ids_P.astype("<i4"), self.surprise_R.astype("<f4")]
        if forecast is not None:
            arrays += [forecast.embedding_D.astype("<f4"), forecast.expected_D.astype("<f4")]
            arrays += [likeliest.astype("<i4"), forecast.probs_K.astype("<f4")]
        parts = (np.ascontiguousarray(array).tobytes() for array in [*arrays, *narrow])
        return b"".join([header, *parts, self.event_ids.packed])

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Read what `pack` wrote; arrays are views of it.

        Raises:
            ArtifactError: not such bytes, or of another version.
        """
        try:
            return cls._unpack(packed)
        except (struct.error, ValueError, KeyError) as error:
            raise ArtifactError(
                f"a user's record cannot be read ({error}). Run `kedro run --pipelines=embed` to build the store again."
            ) from None

    @classmethod
    def _unpack(cls, packed: bytes) -> Self:
        (version, width_F, width_P, dim, num_likeliest, width_K, *widths, kept, id_bytes, num_events, position, older,
         squares, normaliser) = _HEADER.unpack_from(packed)  # fmt: skip
        if version != _VERSION:
            raise ValueError(f"version {version}, not {_VERSION}")
        reader = _Reader(packed, _HEADER.size)
        time_us_R = reader.take("<i8", kept)
        profile_ids_P, surprise_R = reader.take("<i4", width_P), reader.take("<f4", kept)
        forecast = None
        if position >= 0:
            embedding_D, expected_D = reader.take("<f4", dim), reader.take("<f4", dim)
            likeliest = reader.take("<i4", num_likeliest * max(1, width_K))
            forecast = CachedForecast(
                position=position,
                embedding_D=embedding_D,
                expected_D=expected_D,
                log_normaliser=normaliser,
                likeliest=likeliest.reshape(num_likeliest, width_K) if width_K else likeliest,
                probs_K=reader.take("<f4", num_likeliest),
            )
        counts = (kept, kept * width_F, kept)
        token_ids_R, attribute_ids_RF, id_lengths_R = (
            reader.take(_WIDTHS[width], count).astype(np.int32) for width, count in zip(widths, counts, strict=True)
        )
        return cls(
            profile_ids_P=profile_ids_P,
            num_events=num_events,
            time_us_R=time_us_R,
            token_ids_R=token_ids_R,
            attribute_ids_RF=attribute_ids_RF.reshape(kept, width_F),
            surprise_R=surprise_R,
            event_ids=EventIds(reader.rest(id_bytes), id_lengths_R),
            older_surprise=older,
            older_squares=squares,
            forecast=forecast,
        )


class _Reader:
    """Takes arrays off bytes, one after the other."""

    def __init__(self, packed: bytes, offset: int) -> None:
        self._packed, self._offset = packed, offset

    def take(self, dtype: str, count: int) -> np.ndarray:
        array = np.frombuffer(self._packed, dtype, count, self._offset)
        self._offset += array.nbytes
        return array

    def rest(self, num_bytes: int) -> bytes:
        rest = self._packed[self._offset :]
        if len(rest) != num_bytes:
            raise ValueError(f"{len(rest)} bytes of ids, {num_bytes} expected")
        return rest


def _narrow(values: np.ndarray) -> np.ndarray:
    """The same whole numbers, none negative, in as few bytes as the largest needs."""
    largest = int(values.max(initial=0))
    return values.astype(_WIDTHS[1 if largest < 1 << 8 else 2 if largest < 1 << 16 else 4])


def _as_matrix(array: np.ndarray) -> np.ndarray:
    return array[:, None] if array.ndim == 1 else array


def id_order(event_id: str) -> tuple:
    """How ids order events of one instant, as `ledger.ordering.tie_order`: numbers as numbers and first."""
    is_number = _NUMBER.fullmatch(event_id) is not None
    is_integer = _INTEGER.fullmatch(event_id) is not None and -(2**63) <= int(event_id) < 2**63
    number = (not is_number, float(event_id) if is_number else 0.0)
    return (*number, not is_integer, int(event_id) if is_integer else 0, event_id)
