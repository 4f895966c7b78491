"""Polars counts what Great Expectations' own pandas engine counts, for every expectation counted natively."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from panther_pipeline.ledger import expectation_facts as facts
from panther_pipeline.ledger import expectation_suite as suite
from panther_pipeline.ledger.expectation_suite import NATIVE_TYPES, Check, declare, judge, judge_in_pandas

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
NUMBER, TEXT, TIME = "number", "text", "time"
CASES = [
    ("column_values_to_be_between", {"column": NUMBER, "min_value": -1, "max_value": 2}),
    ("column_values_to_be_between", {"column": "whole", "min_value": 0, "strict_min": True}),
    ("column_values_to_be_between", {"column": "whole", "max_value": 3, "strict_max": True, "mostly": 0.6}),
    ("column_values_to_be_between", {"column": TIME, "min_value": NOON, "max_value": NOON + timedelta(days=2)}),
    ("column_values_to_be_in_set", {"column": TEXT, "value_set": ["a", "bb"]}),
    ("column_values_to_be_in_set", {"column": "whole", "value_set": [1, 2, 2.5], "mostly": 0.4}),
    ("column_values_to_be_in_set", {"column": NUMBER, "value_set": [1, 0.5]}),
    ("column_values_to_not_be_in_set", {"column": TEXT, "value_set": ["a"]}),
    ("column_values_to_not_be_in_set", {"column": "whole", "value_set": [7]}),
    ("column_values_to_be_null", {"column": NUMBER, "mostly": 0.3}),
    ("column_values_to_be_null", {"column": "nothing"}),
    ("column_values_to_not_be_null", {"column": NUMBER}),
    ("column_values_to_not_be_null", {"column": TEXT, "mostly": 0.5}),
    ("column_values_to_be_unique", {"column": TEXT}),
    ("column_values_to_be_unique", {"column": "key"}),
    ("column_values_to_be_unique", {"column": NUMBER, "mostly": 0.5}),
    ("column_values_to_match_regex", {"column": TEXT, "regex": "^[ab]+$"}),
    ("column_values_to_not_match_regex", {"column": TEXT, "regex": "b{2}", "mostly": 0.7}),
    ("column_value_lengths_to_be_between", {"column": TEXT, "min_value": 1, "max_value": 2}),
    ("column_value_lengths_to_be_between", {"column": TEXT, "max_value": 3, "strict_max": True}),
    ("column_value_lengths_to_equal", {"column": TEXT, "value": 2}),
    ("column_pair_values_a_to_be_greater_than_b", {"column_A": NUMBER, "column_B": "whole"}),
    ("column_pair_values_a_to_be_greater_than_b", {"column_A": NUMBER, "column_B": "whole", "or_equal": True,
                                                   "ignore_row_if": "either_value_is_missing", "mostly": 0.3}),
    ("column_pair_values_to_be_equal", {"column_A": NUMBER, "column_B": "whole",
                                        "ignore_row_if": "either_value_is_missing"}),
    ("compound_columns_to_be_unique", {"column_list": [TEXT, "whole"]}),
    ("compound_columns_to_be_unique", {"column_list": [TEXT, "key"], "ignore_row_if": "any_value_is_missing"}),
    ("column_distinct_values_to_be_in_set", {"column": TEXT, "value_set": ["a", "bb", "ccc", "dé"]}),
    ("column_distinct_values_to_be_in_set", {"column": TEXT, "value_set": ["a"]}),
    ("column_max_to_be_between", {"column": NUMBER, "min_value": 1, "max_value": 2}),
    ("column_min_to_be_between", {"column": "whole", "min_value": -3}),
    ("column_mean_to_be_between", {"column": NUMBER, "min_value": -0.5, "max_value": 0.5}),
    ("column_median_to_be_between", {"column": NUMBER, "min_value": -0.5, "max_value": 0.5}),
    ("column_sum_to_be_between", {"column": "whole", "min_value": 0}),
    ("column_stdev_to_be_between", {"column": NUMBER, "max_value": 1.2}),
    ("column_unique_value_count_to_be_between", {"column": TEXT, "min_value": 3, "max_value": 4}),
    ("column_proportion_of_unique_values_to_be_between", {"column": "whole", "max_value": 0.5}),
    ("column_proportion_of_non_null_values_to_be_between", {"column": NUMBER, "min_value": 0.7}),
    ("table_row_count_to_be_between", {"min_value": 20, "max_value": 60}),
    ("table_row_count_to_equal", {"value": 40}),
]  # fmt: skip
SHAPES = [
    ("table_column_count_to_be_between", {"min_value": 8}),
    ("table_column_count_to_equal", {"value": 7}),
    ("table_columns_to_match_set", {"column_set": ["number", "text"], "exact_match": False}),
    ("table_columns_to_match_ordered_list", {"column_list": ["text"]}),
    ("column_to_exist", {"column": "absent"}),
]


def random_table(seed: int, num_rows: int = 40) -> pl.DataFrame:
    """Few distinct values, many empty cells, NaN among them."""
    rng = np.random.default_rng(seed)

    def thin(values: list) -> list:
        return [None if rng.random() < 0.25 else value for value in values]

    number = np.where(rng.random(num_rows) < 0.1, np.nan, rng.integers(-4, 5, num_rows) / 2)
    return pl.DataFrame({
        "source_row": np.arange(num_rows) * 3,
        "number": thin(number.tolist()),
        "whole": thin(rng.integers(-3, 6, num_rows).tolist()),
        "text": thin(rng.choice(["a", "bb", "ccc", "dé"], num_rows).tolist()),
        "time": thin([NOON + timedelta(hours=int(h)) for h in rng.integers(0, 72, num_rows)]),
        "key": [f"k{i}" for i in rng.permutation(num_rows)],
        "nothing": [None] * num_rows,
    }, schema_overrides={"time": pl.Datetime("us", "UTC"), "nothing": pl.Float64})  # fmt: skip


def judge_natively(table: pl.DataFrame, checks: list[Check]) -> list[dict]:
    lazy, types = table.lazy(), table.schema
    results = []
    for one in declare(checks, types, table.height):
        assert one.metrics is not None, one.check
        counted = facts.count(lazy, {repr(id_): counter for id_, counter in one.counters.items()})
        values = {id_: counted[repr(id_)] for id_ in one.counters}
        for id_, metric in one.repeats.items():
            where = facts.kept_rows(metric, types)
            columns = facts.key_columns(metric)
            values[id_] = facts.find_repeats(lazy, columns, types, where=where, num_rows=table.height, shown=20).rows
        results.append(judge(one, values))
    return results


def both(table: pl.DataFrame, checks: list[Check]) -> zip:
    in_pandas = judge_in_pandas(table.lazy(), declare(checks, table.schema, table.height), table.schema)
    return zip(checks, judge_natively(table, checks), in_pandas, strict=True)


@pytest.mark.parametrize("seed", range(5))
def test_polars_counts_what_great_expectations_counts(seed):
    verdicts = set()
    for check, native, own in both(random_table(seed), [Check(kind=kind, kwargs=kwargs) for kind, kwargs in CASES]):
        assert own["error"] is None, check
        for key in ("success", "element_count", "unexpected_count"):
            assert native[key] == own[key], (check, key)
        for key in ("unexpected_percent", "observed_value"):
            assert native[key] == pytest.approx(own[key]), (check, key)
        verdicts.add(native["success"])
    assert verdicts == {True, False}


def test_tables_without_rows_are_judged_as_great_expectations_does():
    counts = [Check(kind=kind, kwargs=kwargs) for kind, kwargs in CASES if kind.startswith("column_value")]
    for check, native, own in both(random_table(0).clear(), counts):
        assert (native["success"], native["unexpected_count"]) == (own["success"], own["unexpected_count"]), check


def test_shape_of_the_table_needs_no_data():
    checks = [Check(kind=kind, kwargs=kwargs) for kind, kwargs in SHAPES]
    assert [result["success"] for result in judge_natively(random_table(0), checks)] == [
        False,
        True,
        True,
        False,
        False,
    ]


def test_every_type_called_native_is_compared():
    assert {kind for kind, _ in CASES + SHAPES} == set(NATIVE_TYPES)


@pytest.mark.parametrize(
    "check",
    [
        Check(kind="column_values_to_match_regex", kwargs={"column": "text", "regex": "a(?=b)"}),  # look-ahead
        Check(kind="column_values_to_match_regex", kwargs={"column": "whole", "regex": "1"}),
        Check(kind="column_values_to_be_in_set", kwargs={"column": "whole", "value_set": ["1"]}),
        Check(kind="column_values_to_be_of_type", kwargs={"column": "text", "type_": "str"}),
        Check(kind="column_most_common_value_to_be_in_set", kwargs={"column": "text", "value_set": ["a"]}),
    ],
)
def test_what_polars_cannot_count_alike_is_left_to_pandas(check):
    table = random_table(1)
    (declared,) = declare([check], table.schema, table.height)
    assert declared.metrics is None
    (result,) = judge_in_pandas(table.lazy(), [declared], table.schema)
    assert (result["error"], result["evaluated_by"]) == (None, "pandas")
    assert "on 40 rows in pandas" in result["statement"]


def test_repeats_are_exact_where_hashes_collide(monkeypatch):
    monkeypatch.setattr(facts, "hash_of", lambda columns, schema: pl.col(columns[0]).str.len_chars().cast(pl.UInt64))
    table = pl.DataFrame({"source_row": [0, 1, 2, 3, 4], "id": ["a", "b", "cc", "dd", "cc"]})
    found = facts.find_repeats(table.lazy(), ["id"], table.schema, where=pl.lit(True), num_rows=5, shown=3)
    assert (found.rows, found.kinds, found.examples) == (2, 1, [4])


@pytest.mark.parametrize("keys", [1 << 25, 7])
def test_repeats_are_the_same_in_several_passes(monkeypatch, keys):
    monkeypatch.setattr(facts, "KEYS_PER_PASS", keys)
    table = pl.DataFrame({"source_row": range(60), "id": [f"i{i % 57}" for i in range(60)]})
    found = facts.find_repeats(table.lazy(), ["id"], table.schema, where=pl.lit(True), num_rows=60, shown=2)
    assert (found.rows, found.kinds, found.examples) == (6, 3, [57, 58])


def test_pandas_is_refused_for_long_tables_with_the_native_types(monkeypatch):
    monkeypatch.setattr(suite, "MOST_PANDAS_ROWS", 39)
    check = Check(kind="column_most_common_value_to_be_in_set", kwargs={"column": "text", "value_set": ["a"]})
    with pytest.raises(suite.ConfigurationError, match=r"40 rows are more than the 39 .*column_values_to_be_between"):
        declare([check], random_table(0).schema, 40)
    declare([check], random_table(0).schema, 39)
