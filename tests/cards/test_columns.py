"""Whole columns agree with the texts in them, one by one."""

from datetime import datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panther_pipeline.cards.columns import holds_card_numbers, key_id_of, replace_in_column
from panther_pipeline.cards.keys import CardKey
from panther_pipeline.cards.numbers import holds_card_number, mask_card_numbers
from panther_pipeline.errors import ArtifactError

CARD = "4111111111111111"
pieces = st.sampled_from([CARD, "4111 1111", "1111", "-", " ", ".", "\u00a0", "é", "378282246310005", "E+15", "x", "7"])
texts = st.one_of(st.none(), st.lists(pieces, max_size=8).map("".join))


@given(st.lists(texts, max_size=12))
def test_column_is_what_its_values_are_one_by_one(values):
    column = pl.Series("ids", values, dtype=pl.String)
    replaced, is_card = replace_in_column(column, mask_card_numbers)
    assert replaced.to_list() == [value and mask_card_numbers(value) for value in values]
    expected = [bool(value and holds_card_number(value)) for value in values]
    assert is_card.to_list() == holds_card_numbers(column).to_list() == expected
    assert replaced.name == "ids"


@pytest.mark.parametrize("separator", ["", " ", "-", ".", "\u00a0", "\u2011", r"\-"])
def test_grouped_numbers_are_found_in_columns(separator):
    column = pl.Series([None, "x", f"card {separator.join(['4111', '1111', '1111', '1111'])}!"])
    assert holds_card_numbers(column).to_list() == [False, False, True]
    assert replace_in_column(column, mask_card_numbers)[0].to_list() == [None, "x", "card [card number]!"]


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([4111111111111111, 4111111111111112, None, -4111111111111111]),
        pl.Series([4111111111111111.0, 4111111111111112.0, float("nan"), -4111111111111111.0]),
        pl.Series([Decimal("4111111111111111.00"), Decimal("4111111111111112.00"), None, Decimal("-4111111111111111")]),
        pl.Series(["4111111111111111", "4111111111111112", None, "-4111111111111111"], dtype=pl.Categorical),
    ],
)
def test_numbers_that_are_card_numbers_are_found(column):
    assert holds_card_numbers(column).to_list() == [True, False, False, True]


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([1, None], dtype=pl.Int8),
        pl.Series([2**31 - 1], dtype=pl.Int32),
        pl.Series([1e30, float("inf"), None], dtype=pl.Float32),
        pl.Series([datetime(2024, 1, 1), None]),
        pl.Series([True]),
        pl.Series([None, None]),
        pl.Series([], dtype=pl.String),
    ],
)
def test_other_columns_hold_none(column):
    assert holds_card_numbers(column).to_list() == [False] * column.len()


def test_key_of_a_table_is_read_from_its_tokens():
    key, other = CardKey(b"a" * 32), CardKey(b"b" * 32)
    users = pl.Series(["u1", None, f"0-{key.token(CARD)}"])
    assert key_id_of([users, pl.Series(["card_1", None])]) == key.id
    assert key_id_of([users.head(2)]) is None
    with pytest.raises(ArtifactError, match=rf"different keys \(ids .*{other.id}.*Run again from 'ingest'"):
        key_id_of([users, pl.Series([other.token(CARD)])])
