"""An event that a ledger's schema allows, to show what one looks like."""

from typing import Any

from panther_pipeline.online.event_values import in_units, write_instant
from panther_pipeline.online.schema import EventSchema
from panther_pipeline.units import SECOND_US


def example_event(schema: EventSchema, time_us: int) -> dict[str, Any]:
    """Its values by name; those of attributes under "attributes", where the ledger has any.

    Args:
        schema: of the ledger.
        time_us: of the event, microseconds UTC; told in whole seconds.
    """
    event: dict[str, Any] = {"user_id": "user-1", "event_id": "event-1"}
    event["event_time"] = write_instant(time_us // SECOND_US * SECOND_US)
    if schema.amount_range_cents is not None:
        lowest, highest = schema.amount_range_cents
        event["amount"] = in_units(min(max(1250, lowest), highest))
    if schema.has_counterparty:
        event["counterparty"] = "shop-1"
    if schema.attributes:
        event["attributes"] = {attribute.name: attribute.example for attribute in schema.attributes}
    return event
