"""Which rows are accepted, in which order, and that none is ever lost."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger import faults
from panther_pipeline.ledger.faults import QuarantineRules, find_faults
from panther_pipeline.ledger.mapping import map_events
from panther_pipeline.ledger.ordering import order_events
from panther_pipeline.ledger.reasons import EXPLANATIONS, Reason

HOSTILE = {
    "who": ["u1", "u2", "", " u1", "007", "NA", "null", "u\n1", "x" * 80],
    "id": ["1", "2", "3", "10", "A", "", "a\x00b"],
    "when": ["2024-03-01 12:00:00", "2024-03-01 12:00:01", "", "soon", "1969-01-01", "2199-01-01",
    "2024-12-31 23:59:59"],
    "amount": ["1", "2.50", "", "NaN", "1e999", "12,3x", "0.001", "-1000.01", "1000"],
    "shop": ["s1", ""], "kind": ["food", "", " "], "fraud": ["0", "1", "", "maybe"], "leak": ["1"],
}  # fmt: skip
hostile_rows = st.lists(st.fixed_dictionaries({k: st.sampled_from(v) for k, v in HOSTILE.items()}), max_size=25)


def split(raw, schema, rules):
    """Accepted events in order, and the faults of all others."""
    events = map_events(raw, schema)[0].collect()
    found = find_faults(events, schema, rules)
    return order_events(events, found, schema).collect(), found


def reasons(raw, schema, rules):
    return split(raw, schema, rules)[1]["reason"].to_list()


@pytest.mark.parametrize(
    ("cell", "reason", "shown"),
    [
        ({"who": ""}, "missing_user_id", ("who", None)),
        ({"who": " u1"}, "malformed_user_id", ("who", " u1")),
        ({"who": "u\n1"}, "malformed_user_id", ("who", "u\n1")),
        ({"who": "x" * 65}, "malformed_user_id", ("who", "x" * 40)),
        ({"id": None}, "missing_event_id", ("id", None)),
        ({"id": "4111111111112\t"}, "malformed_event_id", ("id", "[masked]\t")),
        ({"when": ""}, "missing_time", ("when", None)),
        ({"when": "soon"}, "time_unparsable", ("when", "soon")),
        (
            {"when": "2023-12-31 23:59:59"},
            "time_before_earliest",
            ("when", "2023-12-31 23:59:59.000000+00:00"),
        ),
        ({"when": "2025-01-01 00:00:00"}, "time_after_latest", ("when", "2025-01-01 00:00:00.000000+00:00")),
        ({"amount": ""}, "missing_amount", ("amount", None)),
        ({"amount": "NaN"}, "amount_not_finite", ("amount", "NaN")),
        ({"amount": "12,3x"}, "amount_not_a_number", ("amount", "12,3x")),
        ({"amount": "1.005"}, "amount_not_in_cents", ("amount", "1.005")),
        ({"amount": "-1000.01"}, "amount_out_of_range", ("amount", "-1000.01")),
        ({"fraud": "maybe"}, "label_unknown_value", ("fraud", "maybe")),
        ({"id": "0"}, "duplicate_event_id", ("id", "0")),
    ],
)
def test_each_fault_has_its_reason_and_shows_where(make_schema, make_rows, rules, cell, reason, shown):
    accepted, quarantined = split(make_rows({}, cell), make_schema(), rules)
    assert accepted["source_row"].to_list() == [0]
    assert quarantined.select("source_row", "reason").rows() == [(1, reason)]
    assert quarantined.select("problem_column", "problem_value").row(0) == shown


def test_single_id_in_scientific_notation_is_quarantined(make_schema, make_rows, rules):
    _, quarantined = split(make_rows(*[{}] * 150, {"who": "4.11111E+15"}), make_schema(), rules)
    assert quarantined.select("source_row", "reason").rows() == [(150, "malformed_user_id")]


def test_range_bounds_and_whole_last_day_are_allowed(make_schema, make_rows, rules):
    raw = make_rows({"amount": "-1000"}, {"amount": "1000.00"}, {"when": "2024-12-31 23:59:59"}, {"when": "2024-01-01"})
    assert reasons(raw, make_schema(), rules) == []


def test_row_with_several_faults_gets_the_first_reason(make_schema, make_rows, rules):
    everything = {"who": "", "when": "soon", "amount": "x", "fraud": "maybe"}
    raw = make_rows({}, everything, {**everything, "who": "u"}, {"amount": "x", "fraud": "maybe"})
    assert reasons(raw, make_schema(), rules) == ["missing_user_id", "time_unparsable", "amount_not_a_number"]


def test_every_reason_is_explained_once():
    assert set(EXPLANATIONS) == set(Reason)


def test_required_columns_may_not_be_empty(make_schema, make_rows):
    strict = QuarantineRules(required=["counterparty", "category"], max_id_chars=64)
    accepted, quarantined = split(make_rows({}, {"shop": ""}, {"kind": " "}), make_schema(), strict)
    assert accepted.height == 1
    assert quarantined.select("reason", "problem_column").rows() == [
        ("missing_required_value", "shop"), ("missing_required_value", "kind"),
    ]  # fmt: skip
    with pytest.raises(ConfigurationError, match=r"validation\.rules\.required names"):
        split(make_rows({}), make_schema(), QuarantineRules(required=["kind"], max_id_chars=64))


def test_earliest_acceptable_duplicate_is_kept(make_schema, make_rows, rules):
    raw = make_rows({"id": "7", "when": "2024-03-02"}, {"id": "7", "amount": "x"}, {"id": "7", "when": "2024-03-01"})
    accepted, quarantined = split(raw, make_schema(), rules)
    assert accepted["source_row"].to_list() == [2]
    assert quarantined["reason"].to_list() == ["duplicate_event_id", "amount_not_a_number"]


def test_doubling_the_file_changes_nothing(make_schema, make_rows, rules):
    raw = make_rows({}, {"id": "5", "amount": "3"}, {"who": "u2"})
    once, _ = split(raw, make_schema(), rules)
    twice, quarantined = split(pl.concat([raw, raw]), make_schema(), rules)
    assert twice.equals(once)
    assert quarantined["reason"].to_list() == ["duplicate_event_id"] * 3


def test_repaired_quarantine_reenters_cleanly(make_schema, make_rows, rules):
    clean = make_rows({}, {"amount": "2"}, {"who": "u2"})
    broken = clean.with_columns(amount=pl.Series(["12.34", "two", "12.34"]))
    assert split(broken, make_schema(), rules)[0].height == 2
    assert split(clean, make_schema(), rules)[0].height == 3


@settings(max_examples=60, deadline=None)
@given(rows=hostile_rows)
def test_no_row_is_lost_or_doubled(make_schema, make_rows, rules, rows):
    raw = make_rows({"id": "good"}, *rows)
    accepted, quarantined = split(raw, make_schema(), rules)
    both = accepted["source_row"].to_list() + quarantined["source_row"].to_list()
    assert sorted(both) == list(range(raw.height))
    assert set(quarantined["reason"]) <= set(Reason)
    assert accepted["event_id"].is_unique().all()
    assert (
        accepted.null_count().select("user_id", "event_id", "event_time", "amount_cents", "category").row(0) == (0,) * 5
    )
    for (_,), user in accepted.group_by("user_id"):
        assert user["event_seq"].to_list() == list(range(user.height))
        assert user["event_time"].is_sorted()


@settings(max_examples=60, deadline=None)
@given(rows=hostile_rows, seed=st.integers(0, 2**32 - 1))
def test_order_of_the_file_does_not_matter(make_schema, make_rows, rules, rows, seed):
    raw = make_rows({"id": "good"}, *rows)
    accepted, quarantined = split(raw, make_schema(), rules)
    again, quarantined_again = split(raw.sample(fraction=1, shuffle=True, seed=seed), make_schema(), rules)
    assert again.drop("source_row").equals(accepted.drop("source_row"))
    assert sorted(quarantined_again["reason"]) == sorted(quarantined["reason"])


def test_duplicates_are_found_in_parts_when_there_are_many(make_schema, make_rows, rules, monkeypatch):
    raw = pl.concat([make_rows(*[{"id": str(i)} for i in range(40)])] * 3)
    whole = split(raw, make_schema(), rules)
    monkeypatch.setattr(faults, "_RIVAL_ROWS", 7)
    in_parts = split(raw, make_schema(), rules)
    assert in_parts[0].equals(whole[0])
    assert in_parts[1].equals(whole[1])
    assert whole[1].height == 80


def test_ids_that_share_a_hash_are_no_duplicates(make_schema, make_rows, rules, monkeypatch):
    monkeypatch.setattr(faults, "_repeated", lambda hashes: (pl.concat(hashes).unique().to_numpy(), 3))
    assert reasons(make_rows({}, {}, {}), make_schema(), rules) == []


def test_ledger_without_event_ids_has_no_duplicates(make_schema, make_rows, rules):
    raw = make_rows({"id": "1"}, {"id": "1"})
    accepted, found = split(raw, make_schema(event_id=None, tie_break=[]), rules)
    assert found.is_empty()
    assert accepted["event_id"].to_list() == ["0", "1"]
