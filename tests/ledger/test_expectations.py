"""Great Expectations on accepted events, and the page that shows the results."""

import json
import re
from datetime import UTC, datetime

import polars as pl
import pytest

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.expectations import Expectation, ExpectationsConfig, check_expectations
from panther_pipeline.ledger.mapping import map_events
from panther_pipeline.ledger.quarantine import split_events
from panther_pipeline.ledger.report import render_validation_page

ROWS = [
    {},
    {"who": "u2"},
    {"amount": "NaN"},
    {"amount": "inf"},
    {"who": ""},
    {"fraud": "<b>4111111111111111"},
]


def configure(*extra, sample_rows=5):
    return ExpectationsConfig(extra=[Expectation(**e) for e in extra], sample_rows=sample_rows)


@pytest.fixture(scope="module")
def tables(make_schema, make_rows, rules):
    return split_events(map_events(make_rows(*ROWS), make_schema()), make_schema(), rules)


@pytest.fixture(scope="module")
def report(tables, make_schema):
    return check_expectations(*tables, make_schema(), configure())


def failing(report):
    return [check["statement"] for check in report["expectations"] if not check["success"]]


def test_report_is_plain_json_with_the_counts(report):
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["success"] is True
    assert report["counts"] == {"rows_in": 6, "accepted": 2, "quarantined": 4, "quarantine_share": 4 / 6}
    assert list(report["reasons"].items()) == [
        ("amount_not_finite", 2), ("label_unknown_value", 1), ("missing_user_id", 1),
    ]  # fmt: skip
    assert report["examples"]["amount_not_finite"][0] == {"source_row": 2, "column": "amount", "value": "NaN"}


def test_suite_follows_from_the_schema(report, tables, make_schema):
    statements = {check["statement"].split(" (")[0] for check in report["expectations"]}
    assert {"event_id: values to be unique", "amount_cents: values to be between",
    "event_time: values to be between",
            "label: values to be in set",
            "rows_unaccounted_for: values to be between"} <= statements  # fmt: skip
    without = make_schema(label=None, amount=None)
    columns = {c["column"] for c in check_expectations(*tables, without, configure())["expectations"]}
    assert not {"label", "amount_cents"} & columns


@pytest.mark.parametrize(
    ("column", "values", "fails"),
    [
        ("event_id", ["0", "0"], "event_id: values to be unique"),
        ("user_id", ["u1", None], "user_id: values to not be null"),
        ("amount_cents", [0, 100_001], "amount_cents: values to be between"),
        ("label", [0, 2], "label: values to be in set"),
        ("event_seq", [0, 1], "event_seq_gaps"),
        ("source_row", [1, 1], "rows_doubled"),
        ("source_row", [0, 99], "rows_unaccounted_for"),
    ],
)
def test_broken_events_fail_their_expectation(tables, make_schema, column, values, fails):
    accepted, quarantined = tables
    dtype = accepted.schema[column]
    broken = accepted.with_columns(pl.Series(column, values, dtype=dtype))
    report = check_expectations(broken, quarantined, make_schema(), configure())
    assert report["success"] is False
    assert any(statement.startswith(fails) for statement in failing(report))


def test_time_that_goes_back_or_leaves_its_range_fails(tables, make_schema):
    accepted, quarantined = tables
    times = [datetime(2025, 3, 2, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC)]
    one_user = accepted.with_columns(user_id=pl.lit("u1"), event_seq=pl.Series([0, 1]))
    back = one_user.with_columns(event_time=pl.Series(times, dtype=accepted.schema["event_time"]))
    told = " ".join(failing(check_expectations(back, quarantined, make_schema(), configure())))
    assert "event_time: values to be between" in told
    assert "steps_back_in_time" in told


def test_declared_expectations_are_run(tables, make_schema):
    extra = [
        {"type": "column_values_to_be_in_set", "column": "category", "kwargs": {"value_set": ["travel"]}},
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 2}},
        {"type": "column_quantile_values_to_be_between", "column": "amount_cents",
         "kwargs": {"quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, 9999]]}}},
        {"type": "compound_columns_to_be_unique", "kwargs": {"column_list": ["user_id", "event_seq"]}},
    ]  # fmt: skip
    report = check_expectations(*tables, make_schema(), configure(*extra))
    assert failing(report) == ["category: values to be in set (value_set ['travel'])"]
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (
            {"type": "column_values_to_be_uniqe", "column": "event_id"},
            "did you mean 'column_values_to_be_unique'",
        ),
        (
            {"type": "column_values_to_be_unique", "column": "event"},
            "names column 'event', did you mean 'event_id'",
        ),
        ({"type": "column_values_to_be_unique", "column": "event_id", "kwargs": {"mostley": 1}}, "mostley"),
    ],
)
def test_mistaken_expectations_say_what_is_allowed(tables, make_schema, extra, told):
    with pytest.raises(ConfigurationError, match=told):
        check_expectations(*tables, make_schema(), configure(extra))


def test_report_shows_no_card_number_and_few_rows(tables, make_schema, report):
    assert "4111111111111111" not in json.dumps(report)
    assert "4111111111111111" not in render_validation_page(report)
    few = check_expectations(*tables, make_schema(), configure(sample_rows=1))
    assert [len(samples) for samples in few["examples"].values()] == [1, 1, 1]


def test_page_is_self_contained_and_escaped(report):
    page = render_validation_page(report)
    assert not re.search(r"(src|href)=|https?:|@import|<script", page)
    assert "<b>" not in page
    assert "&lt;b&gt;[masked]" in page
    for part in ("amount_not_finite", "All 1", "expectations hold", "66.667%", "<svg"):
        assert part in page


def test_page_names_what_failed(tables, make_schema):
    extra = {"type": "column_values_to_be_in_set", "column": "category", "kwargs": {"value_set": ["travel"]}}
    page = render_validation_page(check_expectations(*tables, make_schema(), configure(extra)))
    assert "1 of 1" in page
    assert "fails</span></td><td>category: values to be in set" in page


def test_empty_tables_are_reported_not_crashed(tables, make_schema):
    accepted, quarantined = tables
    report = check_expectations(accepted.clear(), quarantined.clear(), make_schema(), configure())
    assert report["counts"]["quarantine_share"] == 0.0
    assert "No row was quarantined" in render_validation_page(report)


def test_nothing_is_written_to_the_working_folder(tables, make_schema, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_expectations(*tables, make_schema(), configure())
    assert list(tmp_path.iterdir()) == []
