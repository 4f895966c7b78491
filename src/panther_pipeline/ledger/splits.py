"""Which events are trained on, validated on and tested on.

By time, the rule: each split is a window, so that nothing of the future is learnt from. By order, for numbers to be
compared with published ones and for ledgers that know the order of events but not their times: of every user the newest
event (leave_last_out) or a share of the newest events (leave_last_share) is the test. Either way some users may be held
out altogether, to measure cold start.
"""

import hashlib
import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Annotated, Literal

import numpy as np
import polars as pl
from pydantic import AfterValidator, Field, model_validator

from panther_pipeline.config import Config
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.units import to_us

TRAIN, VALID, TEST, UNUSED = 0, 1, 2, -1
SPLIT_NAMES = {TRAIN: "train", VALID: "valid", TEST: "test", UNUSED: "unused"}
_LEAST_EVENTS = 3  # of a history that leave_last_out judges: one each to train, validate and test on


class SplitConfig(Config):
    """How events are split; instants are ISO 8601, UTC, and windows are closed on the left, open on the right."""

    protocol: Literal["time", "leave_last_out", "leave_last_share"]
    train_end: str | None  # time alone: null otherwise, as are the next two
    valid_end: str | None
    test_end: str | None  # null = until the ledger ends
    embargo_days: float = Field(ge=0)  # events this long after valid_end belong to no split
    test_share: float | None = Field(gt=0, lt=1)  # of each history, its newest events; leave_last_share alone
    valid_share: float | None = Field(ge=0, lt=1)  # of each history, the events before those; leave_last_share alone
    held_out_user_share: float = Field(ge=0, lt=1)  # users never trained on (cold start)

    @model_validator(mode="after")
    def _check(self) -> "SplitConfig":
        if self.is_by_time:
            self._check_bounds()
        else:
            self._refuse_bounds()
        self._check_shares()
        return self

    @property
    def is_by_time(self) -> bool:
        return self.protocol == "time"

    @property
    def training_bound(self) -> str:
        """What training never looks beyond, in words: an instant, or the protocol that splits by order."""
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

    def shifted(self, days: int, test_days: int) -> "SplitConfig":
        """The same training window; validation lasts `days` longer, and a test of `test_days` follows.

        Args:
            days: by which valid_end moves on.
            test_days: length of the test window, which begins after the embargo.

        Raises:
            ConfigurationError: the protocol is by order and has no instants to move.
        """
        valid_end = shift_instant(self._bound("valid_end"), days)
        test_end = shift_instant(valid_end, self.embargo_days + test_days)
        return SplitConfig.model_validate(self.model_dump() | {"valid_end": valid_end, "test_end": test_end})

    def _bound(self, name: str) -> str:
        bound = getattr(self, name)
        if bound is None:
            raise ConfigurationError(
                f"ledger.splits.protocol is {self.protocol}, which has no {name}: every user is split by the order of "
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
                f"protocol {self.protocol} reads no instants, but {', '.join(stated)} say something. Set instants to "
                "null and embargo_days to 0, or protocol to time"
            )

    def _check_shares(self) -> None:
        shares = {"test_share": self.test_share, "valid_share": self.valid_share}
        if self.protocol != "leave_last_share":
            stated = [name for name, share in shares.items() if share is not None]
            if stated:
                raise ValueError(
                    f"protocol {self.protocol} reads no shares, but {', '.join(stated)} say something. Set shares to "
                    "null, or protocol to leave_last_share"
                )
            return
        missing = [name for name, share in shares.items() if share is None]
        if missing:
            raise ValueError(f"protocol leave_last_share needs {' and '.join(missing)}: a share of each history")
        if self.test_share + self.valid_share >= 1:
            raise ValueError(
                f"test_share {self.test_share} and valid_share {self.valid_share} leave nothing to train on; their sum "
                "must be below 1"
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


def shift_instant(text: str, days: float) -> str:
    """The instant so many days later, as ISO 8601 text, UTC."""
    return (parse_instant(text) + timedelta(days=days)).isoformat()


def _check_instant(text: str) -> str:
    parse_instant(text)  # raises ValueError, which names the text
    return text


# A parameter that is an ISO 8601 instant; any other text is refused before anything runs.
Instant = Annotated[str, AfterValidator(_check_instant)]


def assign_split(time_us_N: np.ndarray, user_ids_N: pl.Series, config: SplitConfig) -> np.ndarray:
    """The split of each event.

    Args:
        time_us_N: int64 microseconds UTC.
        user_ids_N: the event's user, text. Unless the protocol is time, the rows must be whole histories, sorted by
            (user_id, event_seq), as `valid_events` and every batch of it are: what comes last is read off the order.
        config: the protocol and its bounds.

    Returns:
        int8 (N,): TRAIN, VALID, TEST or UNUSED (embargo, after test_end, or a held-out user before the test). Of a
        history in order, each split is one stretch.

    Raises:
        ValueError: the protocol reads whole histories, and a user's rows stand apart.
    """
    split_N = _split_by_time(time_us_N, config) if config.is_by_time else _split_by_order(user_ids_N, config)
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


def _split_by_order(user_ids_N: pl.Series, config: SplitConfig) -> np.ndarray:
    """Of each user the last events are TEST, those before VALID, the rest TRAIN."""
    lengths_U = user_ids_N.rle().struct.field("len").to_numpy().astype(np.int64)
    if len(lengths_U) != user_ids_N.n_unique():
        raise ValueError(f"{config.protocol} reads whole histories sorted by user and order; a user's rows stand apart")
    is_share = config.protocol == "leave_last_share"
    num_valid_U, num_test_U = _count_shares(lengths_U, config) if is_share else _count_last(lengths_U)
    parts_U3 = np.stack([lengths_U - num_valid_U - num_test_U, num_valid_U, num_test_U], axis=1)
    names_U3 = np.broadcast_to(np.array([TRAIN, VALID, TEST], dtype=np.int8), parts_U3.shape)
    return np.repeat(names_U3.ravel(), parts_U3.ravel())


def _count_last(lengths_U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One event each to validate and to test on; histories below 3 have neither.

    Source: the data partition of SASRec's released code (Kang & McAuley 2018, arXiv 1808.09781), which the numbers
        published since then follow: a user with fewer than three events is trained on and never judged.
    """
    is_judged_U = (lengths_U >= _LEAST_EVENTS).astype(np.int64)
    return is_judged_U, is_judged_U


def _count_shares(lengths_U: np.ndarray, config: SplitConfig) -> tuple[np.ndarray, np.ndarray]:
    """Each share of a history, rounded up. One event always remains to train on: validation yields, then the test."""
    num_test_U = np.minimum(_ceil_share(lengths_U, config.test_share), lengths_U - 1)
    num_valid_U = np.minimum(_ceil_share(lengths_U, config.valid_share), lengths_U - 1 - num_test_U)
    return num_valid_U, num_test_U


def _ceil_share(lengths_U: np.ndarray, share: float) -> np.ndarray:
    """Rounded up exactly as the share is written: 0.07 of 100 events are 7, though 0.07 * 100 > 7 in floating point."""
    exact = Fraction(str(share))
    distinct_L, length_ix_U = np.unique(lengths_U, return_inverse=True)
    # Python's integers: the numerator of a share with 16 digits times a length does not fit int64.
    return np.array([math.ceil(exact * length) for length in distinct_L.tolist()], dtype=np.int64)[length_ix_U]


def is_held_out(user_id: str, share: float) -> bool:
    """Whether a user belongs to the held-out share: a fixed function of the id, the same on every machine."""
    digest = hashlib.sha256(user_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
