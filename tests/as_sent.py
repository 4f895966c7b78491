"""An event as a client of the service sends it."""

from typing import Any

from panther_pipeline.features.event import OnlineEvent
from panther_pipeline.online.event_values import in_units, write_instant


def as_sent(event: OnlineEvent, *, with_label: bool = False) -> dict[str, Any]:
    """The body of a request; what is empty is left out, and so is the label unless it is asked for."""
    sent = {
        "user_id": event.user_id,
        "event_id": event.event_id,
        "event_time": write_instant(event.time_us),
        "amount": None if event.amount_cents is None else in_units(event.amount_cents),
        "counterparty": event.counterparty,
        "attributes": {name: value for name, value in event.attributes.items() if value is not None},
    }
    if with_label and event.label is not None:
        sent |= {"label": event.label, "label_time": write_instant(event.label_time_us)}
    return {name: value for name, value in sent.items() if value is not None}
