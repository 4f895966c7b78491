"""Every way to write a role in the schema, and what is refused before anything runs."""

from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from panther_pipeline.ledger.columns import (
    Amount,
    AmountColumn,
    Attribute,
    EventTime,
    Id,
    IdColumn,
    Join,
    OrderColumn,
    TimeColumn,
    UserLabelColumns,
    column_keys,
)

TIME = {"column": "t", "zone": "UTC", "earliest": "2024-01-01", "latest": "2024-12-31"}


@pytest.mark.parametrize(
    ("written", "columns"), [("A", ["A"]), (["A", "B"], ["A", "B"]), ({"columns": ["A"], "written_as": "text"}, ["A"])]
)
def test_id_is_a_name_a_list_or_a_block(written, columns):
    assert TypeAdapter(Id).validate_python(written) == IdColumn(columns=columns)


def test_amount_is_a_name_or_a_block():
    assert TypeAdapter(Amount).validate_python("A") == AmountColumn(column="A")
    assert TypeAdapter(Amount).validate_python({"column": "A", "prefix": "$"}).prefix == "$"


def test_amount_names_every_column_it_reads():
    more = {"times": "n", "sign": {"column": "s", "negative": ["D"], "positive": ["C"]},
            "currency": {"column": "c", "only": "EUR"}}  # fmt: skip
    assert AmountColumn(column="a", **more).columns == ["a", "n", "s", "c"]
    assert AmountColumn(column="a").columns == ["a"]


def test_time_is_one_column_several_or_an_order():
    read = TypeAdapter(EventTime).validate_python
    assert read(TIME).columns == ["t"]
    assert read(TIME | {"column": ["y", "m"]}).columns == ["y", "m"]
    order = read({"order": "n"})
    assert isinstance(order, OrderColumn)
    assert (order.columns, order.earliest_instant) == (["n"], datetime(1970, 1, 1, tzinfo=UTC))
    assert read(order) is order


@pytest.mark.parametrize("kind", [EventTime, Id, Amount])
def test_misspelt_keys_are_named(kind):
    block = {"column": "a", "columns": ["a"], "zonne": "UTC", "order": "n"} if kind is EventTime else {"zonne": "UTC"}
    with pytest.raises(ValidationError, match=r"unknown key .*zonne"):
        TypeAdapter(kind).validate_python(block)


@pytest.mark.parametrize(
    ("cls", "values", "told"),
    [
        (IdColumn, {"columns": []}, "at least 1 item"),
        (IdColumn, {"columns": ["a"], "written_as": "integer"}, "'text' or 'float'"),
        (TimeColumn, TIME | {"column": []}, "at least 1 item"),
        (TimeColumn, TIME | {"format": "%Y-%m-%d %H"}, "cannot be read"),
        (TimeColumn, TIME | {"zone": "Mars", "latest": "never"}, r"zone 'Mars'.*latest 'never'"),
        (AmountColumn, {"column": "a", "decimal": ";"}, r"'\.' or ','"),
        (AmountColumn, {"column": "a", "decimal": ",", "thousands": ","}, "decimal and thousands are both ','"),
        (AmountColumn, {"column": "a", "sign": {"column": "s", "negative": [], "positive": ["C"]}}, "at least 1 item"),
        (Attribute, {"name": "a", "column": "a", "kind": "text"}, "'category' or 'number'"),
        (Attribute, {"name": "a", "column": "a", "kind": "category", "extract": "("}, "is no regular expression"),
        (Attribute, {"name": "a", "column": "a", "kind": "category", "extract": "a"}, "has 0 groups; one is needed"),
        (Attribute, {"name": "a", "column": "a", "kind": "category", "extract": "(a)(b)"}, "has 2 groups"),
        (Attribute, {"name": "a", "column": "a", "kind": "category", "extract": "(a(?=b))"}, "look-around"),
        (Attribute, {"name": "a", "column": "a", "kind": "number", "map": {"1": "2"}}, "map is only for kind: cat"),
        (Attribute, {"name": "a", "column": "a", "kind": "category", "prefix": "$"}, "prefix is only for kind: number"),
        (Join, {"table": "t", "match": {}}, "at least 1 item"),
        (UserLabelColumns, {"user_id": "u", "as_of": TIME, "column": "y", "positive": ["1"], "negative": []}, "must"),
    ],
)  # fmt: skip
def test_impossible_columns_are_refused(cls, values, told):
    with pytest.raises(ValidationError, match=told):
        cls(**values)


def test_keys_number_the_columns_where_there_are_several():
    assert column_keys("user_id", ["A"]) == {"user_id": "A"}
    assert column_keys("user_id", ["A", "A"]) == {"user_id[0]": "A", "user_id[1]": "A"}
