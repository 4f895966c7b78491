"""Train, validation and test are windows of time; optionally some users are held out altogether."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import AfterValidator, Field, model_validator

from panther_pipeline.config import Config

TRAIN, VALID, TEST, UNUSED = 0, 1, 2, -1
SPLIT_NAMES = {TRAIN: "train", VALID: "valid", TEST: "test", UNUSED: "unused"}


class SplitConfig(Config):
    """Instants (ISO 8601, UTC) that bound the splits; windows are closed on the left, open on the right."""

    train_end: str
    valid_end: str
    test_end: str | None  # null = until the ledger ends
    embargo_days: float = Field(ge=0)  # events this long after valid_end belong to no split
    held_out_user_share: float = Field(ge=0, lt=1)  # users never trained on (cold start)

    @model_validator(mode="after")
    def _check(self) -> "SplitConfig":
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
        return self

    @property
    def train_end_us(self) -> int:
        return to_us(parse_instant(self.train_end))

    @property
    def valid_end_us(self) -> int:
        return to_us(parse_instant(self.valid_end))

    @property
    def test_start_us(self) -> int:
        return to_us(parse_instant(self.valid_end) + timedelta(days=self.embargo_days))

    @property
    def test_end_us(self) -> int | None:
        return to_us(parse_instant(self.test_end)) if self.test_end else None


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
        user_ids_N: the event's user, text.

    Returns:
        int8 (N,): TRAIN, VALID, TEST or UNUSED (embargo, after test_end, or a held-out user before the test).
    """
    split_N = np.full(len(time_us_N), UNUSED, dtype=np.int8)
    split_N[time_us_N < config.train_end_us] = TRAIN
    split_N[(time_us_N >= config.train_end_us) & (time_us_N < config.valid_end_us)] = VALID
    in_test_N = time_us_N >= config.test_start_us
    if config.test_end_us is not None:
        in_test_N &= time_us_N < config.test_end_us
    split_N[in_test_N] = TEST
    if config.held_out_user_share > 0:
        held_out = [u for u in user_ids_N.unique().to_list() if is_held_out(u, config.held_out_user_share)]
        held_out_N = user_ids_N.is_in(held_out).to_numpy()
        split_N[held_out_N & (split_N != TEST)] = UNUSED
    return split_N


def is_held_out(user_id: str, share: float) -> bool:
    """Whether a user belongs to the held-out share: a fixed function of the id, the same on every machine."""
    digest = hashlib.sha256(user_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
