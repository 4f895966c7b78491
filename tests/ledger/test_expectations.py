"""What must hold of accepted events, judged by Great Expectations, and the page that shows the results."""

import json
import re
from datetime import UTC, datetime

import polars as pl
import pytest

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.expectations import Expectation, ExpectationsConfig, check_expectations
from panther_pipeline.ledger.mapping import map_events
from panther_pipeline.ledger.report import render_validation_page

ROWS = [
    {},
    {"who": "u2"},
    {"amount": "NaN"},
    {"amount": "inf"},
    {"who": ""},
    {"fraud": "<b>4111111111111111"},
]
FAULTS = [
    (2, "amount_not_finite", "amount", "NaN"),
    (3, "amount_not_finite", "amount", "inf"),
    (4, "missing_user_id", "who", None),
    (5, "label_unknown_value", "fraud", "<b>4111111111111111"),
]


def configure(*extra, sample_rows=5):
    return ExpectationsConfig(extra=[Expectation(**e) for e in extra], sample_rows=sample_rows)


def fault_table(faults):
    columns = ["source_row", "reason", "problem_column", "problem_value"]
    return pl.DataFrame(faults, schema=dict.fromkeys(columns, pl.String) | {"source_row": pl.Int64}, orient="row")


@pytest.fixture(scope="module")
def ledger(make_schema, make_rows):
    """Six rows of which four are quarantined: events, faults and account."""
    events, account = map_events(make_rows(*ROWS), make_schema())
    return events.collect(), fault_table(FAULTS), account


@pytest.fixture(scope="module")
def report(ledger, make_schema):
    return check_expectations(*ledger, make_schema(), configure())


def failing(report):
    return [check["statement"] for check in report["expectations"] if not check["success"]]


def failed(report, statement):
    return next(c for c in report["expectations"] if not c["success"] and c["statement"].startswith(statement))


def test_report_is_plain_json_with_the_counts(report):
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["success"] is True
    assert report["counts"] == {"rows_in": 6, "accepted": 2, "quarantined": 4, "quarantine_share": 4 / 6}
    assert list(report["reasons"].items()) == [
        ("amount_not_finite", 2), ("label_unknown_value", 1), ("missing_user_id", 1),
    ]  # fmt: skip
    assert report["examples"]["amount_not_finite"][0] == {
        "source_row": 2, "file": "raw_transactions", "line": 3, "column": "amount", "value": "NaN",
    }  # fmt: skip


def test_lazy_events_are_judged_alike(ledger, report, make_schema):
    events, faults, account = ledger
    assert check_expectations(events.lazy(), faults, account, make_schema(), configure()) == report


def test_suite_follows_from_the_schema(report, ledger, make_schema):
    statements = {check["statement"].split(" (")[0] for check in report["expectations"]}
    assert {
        "event_id: values to be unique", "amount_cents: values to be between", "event_time: values to be between",
        "label: values to be in set", "rows_unaccounted_for: sum to be between",
    } <= statements  # fmt: skip
    without = make_schema(label=None, amount=None, amount_range=None)
    columns = {check["column"] for check in check_expectations(*ledger, without, configure())["expectations"]}
    assert not {"label", "amount_cents"} & columns


YEAR = datetime(2025, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("column", "values", "fails", "lines"),
    [
        ("event_id", ["0", "0"], "event_id: values to be unique", [2]),
        ("user_id", ["u1", None], "user_id: values to not be null", [2]),
        ("amount_cents", [0, 100_001], "amount_cents: values to be between", [2]),
        ("event_time", [YEAR, datetime(2024, 3, 1, tzinfo=UTC)], "event_time: values to be between", [1]),
        ("label", [0, 2], "label: values to be in set", [2]),
        ("label_time", [datetime(2024, 1, 1, tzinfo=UTC), None], "labels_known_before_their_event", [1]),
    ],
)
def test_broken_events_fail_their_expectation_with_file_and_line(ledger, make_schema, column, values, fails, lines):
    events, faults, account = ledger
    others = events[column][2:].to_list()
    broken = events.with_columns(pl.Series(column, [*values, *others], dtype=events.schema[column]))
    report = check_expectations(broken, faults, account, make_schema(), configure())
    assert report["success"] is False
    assert failed(report, fails)["rows"] == [{"file": "raw_transactions", "line": line} for line in lines]


def test_rows_lost_or_doubled_are_told(ledger, make_schema):
    events, faults, account = ledger

    def told(events, faults):
        return failing(check_expectations(events, faults, account, make_schema(), configure()))

    assert [s.split(":")[0] for s in told(events[1:], faults)] == ["rows_unaccounted_for"]
    assert [s.split(":")[0] for s in told(events, faults[1:])] == ["amount_cents"]  # a fault that was forgotten
    twice = told(pl.concat([events, events[1:2]]), faults)
    assert [s.split(":")[0] for s in twice] == ["event_id", "rows_unaccounted_for", "rows_doubled"]
    assert [s.split(":")[0] for s in told(events, pl.concat([faults, faults[:1]]))] == [
        "rows_unaccounted_for", "rows_doubled",
    ]  # fmt: skip


def test_foreign_columns_and_reasons_fail(ledger, make_schema):
    events, faults, account = ledger
    foreign = events.with_columns(extra=1)
    report = check_expectations(foreign, faults, account, make_schema(), configure())
    assert failing(report) == ["columns_missing_or_extra: sum to be between (min_value 0, max_value 0)"]
    unlisted = faults.with_columns(reason=pl.lit("because"))
    report = check_expectations(events, unlisted, account, make_schema(), configure())
    assert failed(report, "reasons_outside_the_closed_list")["observed_value"] == 4
    assert "not a reason of the list" in render_validation_page(report)


def test_account_is_kept_per_file(ledger, make_schema):
    events, faults, _ = ledger
    base = {"header": 0, "blank": 0, "continuation": 0, "rows": 2, "rejected": 0}
    files = [
        {**base, "file": "a.csv", "first_row": 0, "lines": 4, "header": 1, "blank": 1},
        {**base, "file": "b.csv", "first_row": 4, "lines": 5, "continuation": 1, "rows": 4},
    ]
    moved = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7, 5: 8}
    numbers = pl.col("source_row").replace_strict(moved)
    tables = events.with_columns(numbers), faults.with_columns(numbers)
    report = check_expectations(*tables, {"files": files}, make_schema(), configure())
    assert failing(report) == []
    assert report["account"]["files"] == [
        {"file": "a.csv", "lines": 4, "header": 1, "blank": 1, "continuation": 0, "accepted": 2, "quarantined": 0},
        {"file": "b.csv", "lines": 5, "header": 0, "blank": 0, "continuation": 1, "accepted": 0, "quarantined": 4},
    ]
    assert {key: value for key, value in report["account"].items() if key != "files"} == {
        "lines": 9, "header": 1, "blank": 1, "continuation": 1, "accepted": 2, "quarantined": 4,
    }  # fmt: skip
    place = report["examples"]["missing_user_id"][0]
    assert (place["file"], place["line"]) == ("b.csv", 4)


def test_declared_expectations_are_run(ledger, make_schema):
    extra = [
        {"type": "column_values_to_be_in_set", "column": "category", "kwargs": {"value_set": ["travel"]}},
        {"type": "column_values_to_be_in_set", "column": "category",
         "kwargs": {"value_set": ["travel"], "mostly": 0.0}},
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 2}},
        {"type": "column_max_to_be_between", "column": "event_time", "kwargs": {"max_value": "2024-03-02"}},
        {"type": "column_quantile_values_to_be_between", "column": "amount_cents",
         "kwargs": {"quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, 9999]]}}},
        {"type": "compound_columns_to_be_unique", "kwargs": {"column_list": ["user_id", "event_time"]}},
    ]  # fmt: skip
    report = check_expectations(*ledger, make_schema(), configure(*extra))
    assert failing(report) == ["category: values to be in set (value_set ['travel'])"]
    assert [check["evaluated_by"] for check in report["expectations"]].count("pandas") == 1
    assert failed(report, "category")["rows"] == [{"file": "raw_transactions", "line": n} for n in (1, 2)]
    json.dumps(report, allow_nan=False)


def test_what_pandas_judges_names_its_rows_too(ledger, make_schema):
    extra = {"type": "column_values_to_match_regex", "column": "user_id", "kwargs": {"regex": "u(?=1)"}}
    check = failed(check_expectations(*ledger, make_schema(), configure(extra)), "user_id: values to match regex")
    assert check["rows"] == [{"file": "raw_transactions", "line": 2}]
    assert "on 2 rows in pandas" in check["statement"]


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
        (
            {"type": "column_values_to_be_between", "column": "event_id", "kwargs": {"min_value": 1}},
            "'column_values_to_be_between' with .*'event_id'.*",
        ),
        (
            {"type": "column_values_to_be_between", "column": "event_time", "kwargs": {"min_value": 7}},
            "7 is no instant such as 2024-01-31",
        ),
    ],
)
def test_mistaken_expectations_are_told_before_the_events_are_read(ledger, make_schema, extra, told):
    events, faults, account = ledger

    def refuse(batch: pl.DataFrame) -> pl.DataFrame:
        raise AssertionError("read")

    unread = events.lazy().map_batches(refuse, schema=events.schema)
    with pytest.raises(ConfigurationError, match=told):
        check_expectations(unread, faults, account, make_schema(), configure(extra))


def test_report_shows_no_card_number_and_few_rows(ledger, make_schema, report):
    assert "4111111111111111" not in json.dumps(report)
    assert "4111111111111111" not in render_validation_page(report)
    few = check_expectations(*ledger, make_schema(), configure(sample_rows=1))
    assert [len(samples) for samples in few["examples"].values()] == [1, 1, 1]


def test_page_is_self_contained_and_escaped(report):
    page = render_validation_page(report)
    assert not re.search(r"(src|href)=|https?:|@import|<script|url\(", page)
    assert "<b>[masked]" not in page
    assert "&lt;b&gt;[masked]" in page
    for part in (
        "amount_not_finite",
        "All 1",
        "expectations hold",
        "66.667%",
        "<svg",
        "raw_transactions:3",
        "To look at",
    ):
        assert part in page


def test_page_names_what_failed_and_where(ledger, make_schema):
    extra = {"type": "column_values_to_be_in_set", "column": "category", "kwargs": {"value_set": ["travel"]}}
    page = render_validation_page(check_expectations(*ledger, make_schema(), configure(extra)))
    assert "1 of 1" in page
    assert "fails</span></td><td>category: values to be in set" in page
    assert "<code>raw_transactions:1</code> <code>raw_transactions:2</code>" in page


def test_empty_tables_are_reported_not_crashed(ledger, make_schema):
    events, faults, account = ledger
    nothing = {"files": [account["files"][0] | {"lines": 0, "rows": 0}]}
    report = check_expectations(events.clear(), faults.clear(), nothing, make_schema(), configure())
    assert (report["counts"]["quarantine_share"], report["findings"], report["success"]) == (0.0, [], True)
    assert "No row was quarantined" in render_validation_page(report)


def test_nothing_is_written_to_the_working_folder(ledger, make_schema, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    extra = {"type": "column_values_to_match_regex", "column": "user_id", "kwargs": {"regex": "u(?=.)"}}
    check_expectations(*ledger, make_schema(), configure(extra))
    assert list(tmp_path.iterdir()) == []
