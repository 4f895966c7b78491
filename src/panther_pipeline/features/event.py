"""An event as it comes in, one at a time, and the 64-bit codes under which the state remembers texts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.units import BEFORE_ALL_US, epoch_us

if TYPE_CHECKING:
    import polars as pl

NO_CODE = 0  # of what is missing
NOT_KNOWN_US = 2**62  # stands for the instant of a label that nobody knows yet: later than any event
_CODE_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class OnlineEvent:
    """One event, as a row of `valid_events` (docs/data_contract.md)."""

    user_id: str
    event_id: str
    time_us: int
    amount_cents: int | None
    counterparty: str | None
    attributes: Mapping[str, str | float | None]  # an empty category is "(missing)", as in the ledger
    label: int | None = None
    label_time_us: int | None = None

    @property
    def cents(self) -> int:
        """The amount in the features: none is 0."""
        return 0 if self.amount_cents is None else self.amount_cents

    @property
    def known_us(self) -> int:
        """When the label counts from: never before its event, whatever the source says; NOT_KNOWN_US without one."""
        if self.label is None or self.label_time_us is None:
            return NOT_KNOWN_US
        return max(self.label_time_us, self.time_us)

    def attribute_code(self, name: str) -> int:
        """Code of the value of a categorical attribute; NO_CODE where it is None.

        Raises:
            ConfigurationError: the event does not carry the attribute; names those it carries.
        """
        try:
            return _code_value(self.attributes[name])
        except KeyError:
            raise ConfigurationError(
                f"an event lacks the attribute '{name}'; it has {', '.join(self.attributes) or 'none'}. Send every "
                'categorical attribute of the ledger, "(missing)" where it is empty.'
            ) from None


def code_text(text: str | None) -> int:
    """64-bit code of an id or a value: signed, equal for equal texts, on every machine.

    Args:
        text: None is NO_CODE, which no text has.

    Example:
        >>> code_text("m1") == code_text("m1") != code_text("m2")
        True
        >>> code_text(None)
        0
    """
    if text is None:
        return NO_CODE
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_CODE_BYTES).digest()
    return int.from_bytes(digest, "little", signed=True) or 1


@lru_cache(maxsize=1 << 14)
def _code_value(value: str | None) -> int:
    """The code of a category, of which most events have one that others had."""
    return code_text(value)


def read_events(valid_events: "pl.DataFrame", attributes: Sequence[str]) -> Iterator[OnlineEvent]:
    """The rows of a ledger one by one, in its order.

    Args:
        valid_events: docs/data_contract.md.
        attributes: which of its columns are attributes, text or number.
    """
    columns = ["user_id", "event_id", "amount_cents", "counterparty", "label"]
    times = {name: epoch_us(valid_events[name]) for name in ("event_time", "label_time")}
    rows = valid_events.select(*columns, *attributes, **{f"{name}_us": times_N for name, times_N in times.items()})
    for row in rows.iter_rows(named=True):
        known_us = row["label_time_us"]
        yield OnlineEvent(
            time_us=row["event_time_us"],
            label_time_us=None if known_us == BEFORE_ALL_US else known_us,
            attributes={name: row[name] for name in attributes},
            **{name: row[name] for name in columns},
        )
