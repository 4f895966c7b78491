"""Tables whose columns have types of their own: what another program made of ids, labels and empty cells."""

import polars as pl
import pytest

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.columns import IdColumn, Join
from panther_pipeline.ledger.faults import find_faults
from panther_pipeline.ledger.joins import prepare_lookups
from panther_pipeline.ledger.mapping import map_events
from panther_pipeline.ledger.ordering import order_events
from panther_pipeline.ledger.profiles import map_user_labels


def events_of(raw, schema):
    return map_events(raw, schema)[0].collect()


def test_one_odd_label_leaves_the_others_alone(make_schema, make_rows):
    raw = make_rows({}, {}, {}, {}).with_columns(fraud=pl.Series([0.0, 1.0, 0.5, None]))
    events = events_of(raw, make_schema())
    assert events["label"].to_list() == [0, 1, None, None]
    assert events["problem"].to_list() == [None, None, "label_unknown_value", None]


@pytest.mark.parametrize("values", [[0, 7], ["0", "7"]], ids=["integers", "text"])
def test_missing_texts_are_missing_in_columns_of_numbers_too(make_schema, make_rows, values):
    raw = make_rows({}, {}).with_columns(who=pl.Series(values), kind=pl.Series([-1, 5]))
    events = events_of(raw, make_schema(user_id=IdColumn(columns=["who"], missing=["0"]), missing=["-1"]))
    assert events["user_id"].to_list() == [None, "7"]
    assert events["category"].to_list() == [None, "5"]


@pytest.mark.parametrize("ranks", [[9.0, 10.0, 100.0, 2.0], ["9.5", "10.5", "100.5", "2.5"], [None, 10.0, 100.0, 2.0]])
def test_numbers_break_ties_as_numbers_however_they_are_held(make_schema, make_rows, rules, ranks):
    raw = make_rows({}, {}, {}, {}).with_columns(rank=pl.Series(ranks))
    schema = make_schema(tie_break=["rank"])
    events = events_of(raw, schema)
    ordered = order_events(events, find_faults(events, schema, rules), schema).collect()
    assert ordered["event_id"].to_list() == (["3", "1", "2", "0"] if ranks[0] is None else ["3", "0", "1", "2"])


def test_long_integers_break_ties_exactly(make_schema, make_rows, rules):
    ranks = ["9007199254740993", "9007199254740992", "100000000000000000000", "99999999999999999999"]
    raw = make_rows({}, {}, {}, {}).with_columns(rank=pl.Series(ranks))
    schema = make_schema(tie_break=["rank"])
    events = events_of(raw, schema)
    ordered = order_events(events, find_faults(events, schema, rules), schema).collect()
    assert ordered["event_id"].to_list()[:2] == ["1", "0"]


def test_columns_of_lists_are_refused_in_a_sentence(make_schema, make_rows):
    raw = make_rows({}).with_columns(kind=pl.Series([["a", "b"]]))
    with pytest.raises(SourceError, match="column 'kind' holds List"):
        events_of(raw, make_schema())


def test_joined_tables_of_ours_may_number_their_rows():
    cards = pl.DataFrame({"source_row": [5], "id": ["a"], "brand": ["visa"]})
    [lookup] = prepare_lookups({"cards": cards}, [Join(table="cards", match={"kind": "id"})], "raw_transactions")
    assert lookup.columns == ["cards.id", "cards.brand"]


def test_card_numbers_that_double_a_join_are_masked():
    cards = pl.DataFrame({"id": ["4111111111111111"] * 2})
    with pytest.raises(SourceError, match="masked") as caught:
        prepare_lookups({"cards": cards}, [Join(table="cards", match={"kind": "id"})], "raw_transactions")
    assert "4111" not in str(caught.value)


def test_join_on_a_column_that_comes_later_is_told(make_schema, make_rows):
    tables = {"events": make_rows({}), "b": pl.DataFrame({"k": ["x"]}), "c": pl.DataFrame({"k": ["x"], "x": ["x"]})}
    joins = [{"table": "b", "match": {"c.x": "k"}}, {"table": "c", "match": {"kind": "k"}}]
    with pytest.raises(SourceError, match=r"'c\.x' \(ledger\.schema\.joins\[b\]\.match\)"):
        map_events(tables, make_schema(table="events", joins=joins))


def test_user_label_outside_its_bounds_is_refused(make_schema):
    labels = {
        "user_id": "who", "column": "status", "positive": ["B"], "negative": ["A"],
        "as_of": {"column": "day", "zone": "UTC", "earliest": "2023-01-01", "latest": "2024-01-01"},
    }  # fmt: skip
    raw = pl.DataFrame({"who": ["a", "b"], "status": ["A", "B"], "day": ["2023-05-01", "2999-01-01"]})
    with pytest.raises(SourceError, match=r"1 of 2 rows have no readable as_of, for example \['2999-01-01'\]"):
        map_user_labels(raw, make_schema(user_labels=labels))
