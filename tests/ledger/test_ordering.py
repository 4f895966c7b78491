"""Accepted events come sorted by user and numbered, whether they fit into memory or not."""

import pytest

from panther_pipeline.ledger import ordering
from panther_pipeline.ledger.faults import find_faults
from panther_pipeline.ledger.mapping import map_events
from panther_pipeline.ledger.ordering import order_events
from panther_pipeline.ledger.simulator import SimulationConfig, simulate_ledger


def split(raw, schema, rules):
    events = map_events(raw, schema)[0].collect()
    found = find_faults(events, schema, rules)
    return order_events(events, found, schema).collect(), found


def test_valid_events_have_the_contract_columns(make_schema, make_rows, rules):
    accepted, _ = split(make_rows({"kind": ""}), make_schema(), rules)
    assert accepted.columns == [
        "user_id", "event_id", "event_time", "event_seq", "amount_cents", "category", "counterparty", "label",
        "label_time", "source_row",
    ]  # fmt: skip
    assert accepted["category"].to_list() == ["(missing)"]


def test_events_are_numbered_by_time_then_tie_break_then_row(make_schema, make_rows, rules):
    later = {"when": "2024-03-02 00:00:00"}
    raw = make_rows({**later, "id": "1"}, {"id": "10"}, {"id": "9"}, {"who": "a", "id": "5"}, {"id": "z"})
    accepted, _ = split(raw, make_schema(), rules)
    assert accepted.select("user_id", "event_id", "event_seq").rows() == [
        ("a", "5", 0), ("u1", "9", 0), ("u1", "10", 1), ("u1", "z", 2), ("u1", "1", 3),
    ]  # fmt: skip
    by_row, _ = split(raw, make_schema(tie_break=[]), rules)
    assert by_row.filter(user_id="u1")["event_id"].to_list() == ["10", "9", "z", "1"]


def test_broken_row_does_not_change_the_order_of_good_ones(make_schema, make_rows, rules):
    good = [{"id": "10"}, {"id": "9"}]
    alone, _ = split(make_rows(*good), make_schema(), rules)
    beside, _ = split(make_rows(*good, {"id": "not a number", "amount": "x"}), make_schema(), rules)
    assert beside.equals(alone)


@pytest.fixture(scope="module")
def simulated(base_schema):
    raw = simulate_ledger(SimulationConfig(num_users=80, start="2024-01-01", end="2024-04-01", seed=5)).transactions
    return map_events(raw, base_schema)[0].collect()


@pytest.mark.parametrize("in_memory_rows", [1, 100, 1000, 10**9])
def test_sorting_by_ranges_equals_sorting_at_once(simulated, base_schema, base_rules, in_memory_rows):
    found = find_faults(simulated, base_schema, base_rules)
    whole = order_events(simulated, found, base_schema, in_memory_rows=10**9).collect()
    assert order_events(simulated, found, base_schema, in_memory_rows=in_memory_rows).collect().equals(whole)
    plain = whole.sort("user_id", "event_time", "event_id", "source_row")
    assert whole.equals(plain)
    assert whole.height + found.height == simulated.height


def test_lost_events_are_noticed(simulated, base_schema, base_rules, monkeypatch):
    found = find_faults(simulated, base_schema, base_rules)
    sort = ordering._sort
    monkeypatch.setattr(ordering, "_sort", lambda *args: sort(*args).head(-1))
    with pytest.raises(AssertionError, match="1 accepted events were lost"):
        order_events(simulated, found, base_schema).collect()


def test_events_out_of_order_are_noticed(simulated, base_schema, base_rules, monkeypatch):
    found = find_faults(simulated, base_schema, base_rules)
    sort = ordering._sort
    monkeypatch.setattr(ordering, "_sort", lambda *args: sort(*args).reverse())
    with pytest.raises(AssertionError, match="not in order"):
        order_events(simulated, found, base_schema).collect()


def test_temporary_files_are_removed(simulated, base_schema, base_rules, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = find_faults(simulated, base_schema, base_rules)
    order_events(simulated, found, base_schema, in_memory_rows=500).collect()
    assert list(tmp_path.iterdir()) == []
