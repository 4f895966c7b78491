"""Bins and categories: fitted exactly, readable, open at both ends."""

import doctest

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from panther_pipeline.tokenizer import field_fitting, labels
from panther_pipeline.tokenizer.config import FieldConfig
from panther_pipeline.tokenizer.counting import ValueCounter
from panther_pipeline.tokenizer.fields import FittedField

CENTS = st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=60)


def fit_field(config, values: pl.Series, min_count: int) -> FittedField:
    counter = ValueCounter()
    for start in range(0, max(values.len(), 1), 7):  # counted in batches, as a long ledger is
        counter.add(values.slice(start, 7))
    return field_fitting.fit_field(config, counter.counts(), min_count)


def amounts(values) -> pl.Series:
    return pl.Series(values, dtype=pl.Int64)


def amount_field(**changes) -> FieldConfig:
    return FieldConfig(**{"name": "amount", "source": "amount", "kind": "quantile", "num_bins": 4, **changes})


def category_field(max_categories=3) -> FieldConfig:
    return FieldConfig(name="kind", source="category", kind="categorical", max_categories=max_categories)


def test_quantile_bins_hold_equally_many():
    field = fit_field(amount_field(), amounts(range(1, 101)), min_count=1)
    assert field.edges == [26, 51, 76]
    assert np.bincount(field.encode(amounts(range(1, 101)))).tolist() == [0, 0, 25, 25, 25, 25]


@settings(max_examples=100, deadline=None)
@given(values=CENTS, num_bins=st.integers(2, 9), digits=st.none() | st.integers(1, 4))
def test_no_bin_mixes_money_in_with_money_out(values, num_bins, digits):
    field = fit_field(amount_field(num_bins=num_bins, significant_digits=digits), amounts(values), min_count=1)
    ids = field.encode(amounts(values))
    is_negative = np.array(values) < 0
    assert not set(ids[is_negative].tolist()) & set(ids[~is_negative].tolist())
    assert len(field.edges) < num_bins
    assert all(isinstance(edge, int) for edge in field.edges)


@settings(max_examples=100, deadline=None)
@given(values=CENTS, probe=st.integers(-(2**63), 2**63 - 1))
def test_a_bin_is_closed_below_and_open_above(values, probe):
    field = fit_field(amount_field(), amounts(values), min_count=1)
    (attribute_id,) = field.encode(amounts([probe]))
    assert attribute_id == field.encode_one(probe) == 2 + sum(edge <= probe for edge in field.edges)


def test_large_amounts_are_not_rounded_through_floats():
    edge = 2**53 + 1
    field = FittedField(name="a", source="amount", column="a", categories=None, edges=[edge])
    assert field.encode(amounts([edge - 1, edge])).tolist() == [2, 3]


def test_rounded_edges_read_well():
    field = fit_field(amount_field(significant_digits=2), amounts([-5000, 123, 4567, 8912, 15499, 99999]), min_count=1)
    assert field.labels == ["[PAD]", "(unknown)", "<0", "0-46", "46-150", "150+"]


def test_log_bins_span_the_magnitudes():
    values = [10**k for k in range(7) for _ in range(10)]
    config = FieldConfig(name="n", source="number", kind="log", num_bins=8)
    field = fit_field(config, pl.Series(values, dtype=pl.Float64), min_count=1)
    assert np.allclose(np.diff(np.log10(field.edges)), 1)


def test_fixed_edges_are_in_the_units_people_use():
    euros = fit_field(amount_field(kind="fixed", num_bins=None, edges=[0, 19.99]), amounts([5]), min_count=1)
    assert euros.edges == [0, 1999]
    gap = FieldConfig(name="gap", source="gap", kind="fixed", edges=[3600])
    assert fit_field(gap, amounts([5]), min_count=1).edges == [0, 3_600_000_000]


def test_a_first_event_has_its_own_gap_bin():
    config = FieldConfig(name="gap", source="gap", kind="log", num_bins=4, significant_digits=1)
    field = fit_field(config, amounts([-1, 10**6, 10**8, 10**10]), min_count=1)
    assert field.labels[2] == "first"
    first, others = field.encode(amounts([-1])), field.encode(amounts([0, 1, 10**6, 10**15]))
    assert first.tolist() == [2]
    assert others.min() > 2


def test_rare_categories_are_other():
    field = fit_field(category_field(), pl.Series(["a"] * 5 + ["b"] * 3 + ["c"] * 3 + ["d"] * 3 + ["e"]), min_count=2)
    assert field.categories == ["a", "b", "c"]
    assert field.encode(pl.Series(["c", "d", "e", None])).tolist() == [4, 1, 1, 1]


def test_nothing_known_makes_everything_unknown():
    field = fit_field(category_field(), pl.Series([None, None], dtype=pl.String), min_count=1)
    assert field.encode(pl.Series(["a", None])).tolist() == [1, 1]
    empty = fit_field(amount_field(), amounts([None]), min_count=1)
    assert empty.encode(amounts([7, None])).tolist() == [2, 1]
    assert empty.labels[2] == "any"


def test_no_number_and_nan_are_unknown_but_infinity_is_not():
    config = FieldConfig(name="x", source="number", kind="quantile", num_bins=2)
    field = fit_field(config, pl.Series([1.0, 2.0, float("nan"), float("inf"), None]), min_count=1)
    values = [float("-inf"), float("inf"), float("nan"), None]
    assert field.encode(pl.Series(values)).tolist() == [2, 3, 1, 1]
    assert [field.encode_one(value) for value in values] == [2, 3, 1, 1]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30),
    st.sampled_from(["quantile", "log"]),
)
def test_every_bin_of_numbers_has_a_representative(values, kind):
    config = FieldConfig(name="x", source="number", kind=kind, num_bins=5)
    field = fit_field(config, pl.Series(values), min_count=1)
    assert [field.encode_one(field.representative(i)) for i in range(1, field.size)] == list(range(1, field.size))


def test_examples_in_labels_are_true():
    assert doctest.testmod(labels).failed == 0


def test_labels_of_numbers_are_told_apart():
    assert labels.bin_labels("number", [1.0, 1.0000001]) == ["<1", "1-1.0000001", "1.0000001+"]
    assert labels.bin_labels("amount", [-10000, -150, 0]) == ["<-100", "-100..-1.50", "-1.50..0", "0+"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "categorical"}, "cannot be discretised"),
        ({"num_bins": None}, "needs num_bins"),
        ({"edges": [1.0]}, "does not read edges"),
        ({"column": "paid"}, "column is only read"),
        ({"name": "a|b"}, "must not be empty or contain"),
        ({"kind": "fixed", "num_bins": None, "edges": [2.0, 1.0]}, "increase strictly"),
        ({"kind": "fixed", "num_bins": None, "edges": [0.0, float("nan")]}, "finite"),
        ({"source": "hour", "kind": "fixed", "num_bins": None, "edges": [6.5]}, "whole numbers from 1 to 23"),
        ({"source": "weekday", "kind": "fixed", "num_bins": None, "edges": [7]}, "whole numbers from 1 to 6"),
        ({"source": "gap", "kind": "fixed", "num_bins": None, "edges": [0]}, "above 0 seconds"),
        ({"num_bins": "four"}, "valid integer"),
        ({"bins": 4}, "unknown key 'bins'"),
    ],
)
def test_a_field_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        amount_field(**changes)


def test_a_configuration_lists_all_its_problems(make_config):
    fields = [amount_field(), amount_field()]
    with pytest.raises(ValidationError, match=r"'amount' is declared twice; zone 'Mars/North'"):
        make_config(fields=fields, zone="Mars/North")
