"""One event as the online side knows it, before it is tokens or features."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class OnlineEvent:
    """A payment: ids as in the ledger, the instant in microseconds UTC, the amount in signed cents."""

    user_id: str
    event_id: str
    time_us: int
    amount_cents: int | None
    counterparty: str | None
    attributes: Mapping[str, str | float | None]  # an empty category is "(missing)", as in the ledger
    label: int | None = None  # 0 or 1, once known
    label_time_us: int | None = None  # when it became known
