"""An event as a client sends it, and one that a ledger's schema allows, to show what that looks like."""

from typing import Any

from panther_pipeline.features.event import OnlineEvent
from panther_pipeline.online.event_values import in_units, write_instant
from panther_pipeline.online.schema import EventSchema
from panther_pipeline.units import SECOND_US


def as_sent(event: OnlineEvent, *, with_label: bool = False) -> dict[str, Any]:
    """The body of a request: values by name, those of attributes under "attributes", where the ledger has any.

    Args:
        event: what is empty of it is left out.
        with_label: say the label too, if it is known.
    """
    known = {name: value for name, value in event.attributes.items() if value is not None}
    sent = {
        "user_id": event.user_id,
        "event_id": event.event_id,
        "event_time": write_instant(event.time_us),
        "amount": None if event.amount_cents is None else in_units(event.amount_cents),
        "counterparty": event.counterparty,
        "attributes": known if event.attributes else None,
    }
    if with_label and event.label is not None and event.label_time_us is not None:
        sent |= {"label": event.label, "label_time": write_instant(event.label_time_us)}
    return {name: value for name, value in sent.items() if value is not None}


def example_event(schema: EventSchema, time_us: int) -> dict[str, Any]:
    """The body of a request that the schema allows.

    Args:
        schema: of the ledger.
        time_us: of the event, microseconds UTC; told in whole seconds.
    """
    bounds = schema.amount_range_cents
    event = OnlineEvent(
        user_id="user-1",
        event_id="event-1",
        time_us=time_us // SECOND_US * SECOND_US,
        amount_cents=None if bounds is None else min(max(1250, bounds[0]), bounds[1]),
        counterparty="shop-1" if schema.has_counterparty else None,
        attributes={attribute.name: attribute.example for attribute in schema.attributes},
    )
    return as_sent(event)
