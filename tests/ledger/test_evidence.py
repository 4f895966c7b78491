"""When a column holds something else than the schema says."""

import polars as pl
import pytest

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.evidence import Evidence
from panther_pipeline.ledger.values import Reading, no_problem


def batch(**columns):
    """cells and readings where a cell 'ok' could be read and nothing else could."""
    cells = {name: pl.Series(name, values, dtype=pl.String) for name, values in columns.items()}
    read = {name: pl.select(pl.when(cell == "ok").then(cell)).to_series() for name, cell in cells.items()}
    return cells, {name: Reading(values, no_problem(values)) for name, values in read.items()}


def feed(schema, *batches):
    evidence = Evidence(schema)
    for columns in batches:
        evidence.add(*batch(**columns))
    evidence.conclude()


def good(n, **columns):
    return {name: ["ok"] * n for name in ("user_id", "event_time", "amount_cents", "label")} | columns


def test_one_readable_value_is_enough(make_schema):
    feed(make_schema(), good(2, amount_cents=["x", "x"]), good(1, amount_cents=["ok"]), good(1, amount_cents=["x"]))


def test_column_that_never_could_be_read_is_refused(make_schema):
    with pytest.raises(SourceError, match=r"not one of 3 rows has an amount in column 'amount_cents'.*\['x'\]"):
        feed(make_schema(), good(2, amount_cents=["x", None]), good(1, amount_cents=[None]))


def test_thousand_filled_cells_are_enough_to_refuse(make_schema):
    evidence = Evidence(make_schema())
    evidence.add(*batch(**good(999, event_time=["x"] * 999)))
    evidence.add(*batch(**good(500, event_time=[None] * 500)))  # empty cells say nothing
    with pytest.raises(SourceError, match="not one of 1500 rows has a time"):
        evidence.add(*batch(**good(1, event_time=["x"])))


def test_users_and_times_may_not_be_empty_throughout(make_schema):
    for name in ("user_id", "event_time", "amount_cents"):
        with pytest.raises(SourceError, match="all cells are empty"):
            feed(make_schema(), good(2, **{name: [None, ""]}))


def test_labels_and_numbers_may_be_empty_throughout(make_schema):
    schema = make_schema(attributes=[{"name": "age", "column": "kind", "kind": "number"}])
    feed(schema, good(2, label=[None, ""], age=[None, None]))
    with pytest.raises(SourceError, match=r"has a number in column 'age' .*ledger.schema.attributes.age"):
        feed(schema, good(2, age=["x", None]))


def test_order_is_called_by_its_key(make_schema):
    with pytest.raises(SourceError, match=r"has a whole number, 0 or more, .*ledger.schema.event_time.order"):
        feed(make_schema(event_time={"order": "when"}), good(1, event_time=["x"]))


def test_source_without_rows_is_refused(make_schema):
    with pytest.raises(SourceError, match="has no rows"):
        feed(make_schema())


def test_shown_cells_are_masked(make_schema):
    with pytest.raises(SourceError) as caught:
        feed(make_schema(), good(1, amount_cents=["4111111111111111"]))
    assert "4111111111111111" not in str(caught.value)
