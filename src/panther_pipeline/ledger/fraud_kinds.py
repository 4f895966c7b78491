"""Which kind each known fraud is: for reports alone, since a kind says that it is fraud."""

from collections.abc import Mapping

import polars as pl

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.card_guard import CardGuard

FRAUD_KINDS_SCHEMA = {"event_id": pl.String, "kind": pl.String}


def select_fraud_kinds(
    table: pl.DataFrame | pl.LazyFrame,
    *,
    event_id: str,
    kind: str,
    names: Mapping[str, str],
    card_numbers: str = "tokenize",
) -> pl.DataFrame:
    """The frauds of a source whose kind is known.

    Args:
        table: the source.
        event_id: its column of event ids, the one that `ledger.schema.event_id` names.
        kind: its column that says which kind of fraud an event is.
        names: value of that column, as text → what reports call the kind. Rows with other values are left out.
        card_numbers: as `ledger.schema.card_numbers`, so that the ids are those of the events.

    Returns:
        `FRAUD_KINDS_SCHEMA`, in the order of the source.

    Raises:
        ConfigurationError: a column is missing, or no row has one of the values; says what there is. Or an event id
            holds a card number and no key is set.
    """
    columns = table.lazy().collect_schema().names()
    missing = [name for name in (event_id, kind) if name not in columns]
    if missing:
        raise ConfigurationError(f"fraud_kinds: no column {', '.join(missing)}; the source has {', '.join(columns)}.")
    texts = table.lazy().select(event_id=pl.col(event_id).cast(pl.String), kind=pl.col(kind).cast(pl.String))
    known = texts.with_row_index("row").filter(pl.col("kind").is_in(list(names))).collect()
    if known.is_empty():
        found = texts.select(pl.col("kind").unique().sort().head(10)).collect()["kind"].to_list()
        raise ConfigurationError(
            f"fraud_kinds: column {kind} has none of the values {', '.join(names)}, but {', '.join(map(str, found))}. "
            "Correct `names` in the catalog."
        )
    guard = CardGuard(card_numbers, lambda row: f"fraud_kinds, row {row + 1}")
    ids = guard.guard_ids(known["event_id"].alias(event_id), "event_id", known["row"])
    return known.select(ids.alias("event_id"), pl.col("kind").replace(dict(names)))
