"""What was not accepted, with its place in the source, and when a run must stop because of it."""

import polars as pl
import pytest

from panther_pipeline.errors import QuarantineError
from panther_pipeline.ledger.delimited import DelimitedSource
from panther_pipeline.ledger.delimited_format import DelimitedFormat
from panther_pipeline.ledger.faults import FAULT_SCHEMA, find_faults
from panther_pipeline.ledger.mapping import event_schema, map_events
from panther_pipeline.ledger.quarantine import GateConfig, accept_events, quarantine_events

NO_FAULTS = pl.DataFrame(schema=FAULT_SCHEMA)
HEADER = "who,id,when,amount,shop,kind,fraud\n"
GOOD = "u1,1,2024-03-01 12:00:00,12.34,s1,food,0\n"


def quarantine(raw, schema, rules):
    lazy, account = map_events(raw, schema)
    events = lazy.collect()
    found = find_faults(events, schema, rules)
    return quarantine_events(events, found, raw, account, schema).collect(), account


def test_quarantined_rows_show_file_line_and_original_text(tmp_path, make_schema, rules, card_key):
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text(HEADER + GOOD + "\nu2,2,soon,1,s1,food,0\n")
    second.write_text(HEADER + "u3,3,2024-03-01,1,s1\n" + GOOD + "u4,4111111111111111,2024-03-01,x,s1,food,0\n")
    source = DelimitedSource([first, second], name="raw_transactions", format=DelimitedFormat())
    table, account = quarantine(source, make_schema(), rules)
    places = table.select("source_file", "source_line", "reason", "problem_column", "original_line").rows()
    assert places == [
        ("a.csv", 4, "time_unparsable", "when", "u2,2,soon,1,s1,food,0"),
        ("b.csv", 2, "wrong_number_of_fields", None, "u3,3,2024-03-01,1,s1"),
        ("b.csv", 3, "duplicate_event_id", "id", GOOD.strip()),
        ("b.csv", 4, "amount_not_a_number", "amount", "u4,[masked],2024-03-01,x,s1,food,0"),
    ]
    assert (account["lines"], account["header"], account["blank"]) == (8, 2, 1)


def test_tables_have_rows_but_no_lines(make_schema, make_rows, rules):
    table, _ = quarantine(make_rows({}, {"amount": "x"}), make_schema(), rules)
    assert table.select("source_file", "source_line", "original_line").rows() == [("raw_transactions", 2, None)]
    assert table.columns == [*event_schema(make_schema()), "reason", "source_file", "source_line", "original_line"]


def test_source_is_not_read_again_when_nothing_is_at_fault(make_schema, make_rows, rules):
    class Once:
        name = "once"

        def column_names(self):
            return make_rows({}).columns

        def batches(self, columns, account):
            raise AssertionError

        def original_lines(self, rows):
            raise AssertionError

    schema = make_schema()
    events = map_events(make_rows({}), schema)[0].collect()
    account = {"files": [{"file": "x", "first_row": 0}]}
    assert quarantine_events(events, NO_FAULTS, Once(), account, schema).collect().is_empty()


def make_report(quarantined=0, rows_in=100, checks=()):
    return {
        "counts": {"rows_in": rows_in, "accepted": rows_in - quarantined, "quarantined": quarantined,
                   "quarantine_share": quarantined / rows_in},
        "reasons": {"amount_not_finite": quarantined} if quarantined else {},
        "examples": {"amount_not_finite": [
            {"source_row": 7, "file": "a.csv", "line": 8, "column": "amount", "value": "NaN"}]},
        "expectations": list(checks),
    }  # fmt: skip


def make_gate(**changes):
    values = {"max_quarantined_share": 0.05, "max_quarantined_rows": None, "stop_on_failed_expectation": True}
    return GateConfig(**{**values, **changes})


@pytest.fixture
def accept(make_schema, make_rows):
    schema = make_schema()
    events = map_events(make_rows({}, {}), schema)[0].collect()
    return lambda report, gate: accept_events(events, NO_FAULTS, report, gate, schema).collect()


def test_gate_lets_through_up_to_its_limits(accept):
    assert accept(make_report(5), make_gate()).height == 2
    assert accept(make_report(5), make_gate(max_quarantined_rows=5)).height == 2


def test_gate_names_counts_reasons_place_and_next_step(accept):
    with pytest.raises(QuarantineError) as caught:
        accept(make_report(6), make_gate(max_quarantined_rows=5))
    for part in ("6 of 100 rows (6.00%)", "max_quarantined_share = 5.00%", "max_quarantined_rows = 5",
    "a.csv line 8, column amount",
                 "'NaN'", "quarantined_events", "validation_page", "parameters_ledger.yml"):  # fmt: skip
        assert part in str(caught.value)


def test_gate_stops_on_failed_expectations_unless_told_otherwise(accept):
    failed = make_report(checks=[{"success": False, "statement": "event_id: values to be unique"}])
    with pytest.raises(QuarantineError, match="1 of 1 expectations failed: event_id: values to be unique"):
        accept(failed, make_gate())
    assert accept(failed, make_gate(stop_on_failed_expectation=False)).height == 2


def test_gate_stops_when_nothing_was_accepted(accept):
    with pytest.raises(QuarantineError, match="no row was accepted"):
        accept(make_report(100), make_gate(max_quarantined_share=1.0))
