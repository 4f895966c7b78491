"""Which events are trained on, validated on and tested on.

By time, the rule: each split is a window, so that nothing of the future is learnt from. Leave-last-out, for numbers to
be compared with published ones and for ledgers that know the order of events but not their times: of every user the
newest event is the test. Either way some users may be held out altogether, to measure cold start.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import numpy as np
import polars as pl
from pydantic import AfterValidator, Field, model_validator

from panther_pipeline.config import Config
from panther_pipeline.errors import ConfigurationError

TRAIN, VALID, TEST, UNUSED = 0, 1, 2, -1
SPLIT_NAMES = {TRAIN: "train", VALID: "valid", TEST: "test", UNUSED: "unused"}
_LEAST_EVENTS = 3  # of a history that leave_last_out judges: one each to train, validate and test on


class SplitConfig(Config):
    """How events are split; instants are ISO 8601, UTC, and windows are closed on the left, open on the right."""

    protocol: Literal["time", "leave_last_out"]
    train_end: str | None  # leave_last_out: null, as are the next two
    valid_end: str | None
    test_end: str | None  # null = until the ledger ends
    embargo_days: float = Field(ge=0)  # events this long after valid_end belong to no split
    held_out_user_share: float = Field(ge=0, lt=1)  # users never trained on (cold start)

    @model_validator(mode="after")
    def _check(self) -> "SplitConfig":
        if self.protocol == "leave_last_out":
            self._refuse_bounds()
        else:
            self._check_bounds()
        return self

    @property
    def is_by_time(self) -> bool:
        return self.protocol == "time"

    @property
    def training_bound(self) -> str:
        """What training never looks beyond, in words: an instant, or "leave_last_out"."""
        return self.train_end or self.protocol

    @property
    def train_end_us(self) -> int:
        return to_us(parse_instant(self._bound("train_end")))

    @property
    def valid_end_us(self) -> int:
        return to_us(parse_instant(self._bound("valid_end")))

    @property
    def test_start_us(self) -> int:
        return to_us(parse_instant(self._bound("valid_end")) + timedelta(days=self.embargo_days))

    @property
    def test_end_us(self) -> int | None:
        return to_us(parse_instant(self.test_end)) if self.test_end else None

    def _bound(self, name: str) -> str:
        bound = getattr(self, name)
        if bound is None:
            raise ConfigurationError(
                f"ledger.splits.protocol is leave_last_out, which has no {name}: every user is split by the order of "
                "their own events. What needs an instant common to all users, such as labels known before the test, "
                "needs protocol: time."
            )
        return bound

    def _refuse_bounds(self) -> None:
        bounds = {"train_end": self.train_end, "valid_end": self.valid_end, "test_end": self.test_end}
        stated = [name for name, bound in bounds.items() if bound is not None]
        stated += ["embargo_days"] if self.embargo_days else []
        if stated:
            raise ValueError(
                f"protocol leave_last_out reads no instants, but {', '.join(stated)} say something. Set instants to "
                "null and embargo_days to 0, or protocol to time"
            )

    def _check_bounds(self) -> None:
        missing = [name for name in ("train_end", "valid_end") if getattr(self, name) is None]
        if missing:
            raise ValueError(f"protocol time needs {' and '.join(missing)}: an ISO 8601 instant, not null")
        bounds = [self.train_end, self.valid_end] + ([self.test_end] if self.test_end else [])
        try:
            instants = [parse_instant(bound) for bound in bounds]
        except ValueError as error:
            raise ValueError(f"train_end, valid_end and test_end must be ISO 8601 instants: {error}") from None
        if instants != sorted(set(instants)):
            raise ValueError(f"train_end < valid_end < test_end is required; got {', '.join(bounds)}")
        if self.test_end_us is not None and self.test_start_us >= self.test_end_us:
            raise ValueError(
                f"embargo_days = {self.embargo_days} after valid_end {self.valid_end} leaves no test "
                f"before {self.test_end}"
            )


def parse_instant(text: str) -> datetime:
    """An ISO 8601 date or date-time as an aware UTC datetime; a naive one is taken as UTC."""
    instant = datetime.fromisoformat(text)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _check_instant(text: str) -> str:
    parse_instant(text)  # raises ValueError, which names the text
    return text


# A parameter that is an ISO 8601 instant; any other text is refused before anything runs.
Instant = Annotated[str, AfterValidator(_check_instant)]


def to_us(instant: datetime) -> int:
    """Microseconds since 1970-01-01 UTC, exact."""
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def assign_split(time_us_N: np.ndarray, user_ids_N: pl.Series, config: SplitConfig) -> np.ndarray:
    """The split of each event.

    Args:
        time_us_N: int64 microseconds UTC.
        user_ids_N: the event's user, text. Under leave_last_out the rows must be whole histories, sorted by
            (user_id, event_seq), as `valid_events` and every batch of it are: what comes last is read off the order.
        config: the protocol and its bounds.

    Returns:
        int8 (N,): TRAIN, VALID, TEST or UNUSED (embargo, after test_end, or a held-out user before the test).
    """
    split_N = _split_by_time(time_us_N, config) if config.is_by_time else _split_by_order(user_ids_N)
    if config.held_out_user_share > 0:
        held_out = [u for u in user_ids_N.unique().to_list() if is_held_out(u, config.held_out_user_share)]
        held_out_N = user_ids_N.is_in(held_out).to_numpy()
        split_N[held_out_N & (split_N != TEST)] = UNUSED
    return split_N


def _split_by_time(time_us_N: np.ndarray, config: SplitConfig) -> np.ndarray:
    split_N = np.full(len(time_us_N), UNUSED, dtype=np.int8)
    split_N[time_us_N < config.train_end_us] = TRAIN
    split_N[(time_us_N >= config.train_end_us) & (time_us_N < config.valid_end_us)] = VALID
    in_test_N = time_us_N >= config.test_start_us
    if config.test_end_us is not None:
        in_test_N &= time_us_N < config.test_end_us
    split_N[in_test_N] = TEST
    return split_N


def _split_by_order(user_ids_N: pl.Series) -> np.ndarray:
    """Of each user the last event is TEST, the one before VALID, the rest TRAIN; histories below 3 are TRAIN alone.

    Source: the data partition of SASRec's released code (Kang & McAuley 2018, arXiv 1808.09781), which the numbers
        published since then follow: a user with fewer than three events is trained on and never judged.
    """
    num_events = len(user_ids_N)
    run_lengths = user_ids_N.rle().struct.field("len").to_numpy().astype(np.int64)
    if len(run_lengths) != user_ids_N.n_unique():
        raise ValueError("leave_last_out reads whole histories sorted by user and order; a user's rows stand apart")
    ends = np.cumsum(run_lengths)
    judged = ends[run_lengths >= _LEAST_EVENTS]
    split_N = np.full(num_events, TRAIN, dtype=np.int8)
    split_N[judged - 2] = VALID
    split_N[judged - 1] = TEST
    return split_N


def is_held_out(user_id: str, share: float) -> bool:
    """Whether a user belongs to the held-out share: a fixed function of the id, the same on every machine."""
    digest = hashlib.sha256(user_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
