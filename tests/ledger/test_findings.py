"""What a person should look at, each found on a ledger made by hand, and not found where it is not."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from panther_pipeline.ledger import expectation_facts as facts
from panther_pipeline.ledger import label_leaks
from panther_pipeline.ledger.expectations import accepted_events
from panther_pipeline.ledger.findings import find_oddities, oddity_counters
from panther_pipeline.ledger.mapping import map_events

GOOD = [
    {"who": f"u{i % 3}", "amount": f"{i}.50", "kind": "ab"[i % 2], "shop": f"s{i % 4}", "fraud": str(i // 9)}
    for i in range(1, 10)
]
FAULT_SCHEMA = {
    "source_row": pl.Int64, "reason": pl.String, "problem_column": pl.String, "problem_value": pl.String,
}  # fmt: skip


@pytest.fixture
def find(make_schema, make_rows):
    """Findings of rows (as changes of a good one, or as a table); `faults` are (source_row, reason, column)."""

    def find(rows, faults=(), account=None, schema=None):
        schema = schema or make_schema()
        raw = rows if isinstance(rows, pl.DataFrame) else make_rows(*rows)
        events, own_account = map_events(raw, schema)
        events = events.collect().lazy()
        refused = pl.DataFrame([(*fault, "x") for fault in faults], schema=FAULT_SCHEMA, orient="row")
        accepted = accepted_events(events, refused)
        counted = facts.count(accepted, {"rows": pl.len(), **oddity_counters(schema)})
        return find_oddities(events, accepted, refused, counted, account or own_account, schema)

    return find


def of_kind(findings, kind):
    return [finding for finding in findings if finding["kind"] == kind]


def lines(finding):
    return [place["line"] for place in finding["rows"]]


def at(day, hour=12):
    return f"2024-03-{day:02d} {hour:02d}:00:00"


def test_ordinary_ledger_has_no_warning(find):
    found = find([{**row, "when": at(i + 1)} for i, row in enumerate(GOOD)])
    assert [finding["kind"] for finding in found] == ["largest_user"]
    assert found[0]["statement"] == "the largest of 3 users has 3 of 9 (33.33%) events"
    assert found[0]["severity"] == "info"


def test_rows_equal_but_for_their_id_are_duplicates(find):
    (found,) = of_kind(find([*GOOD, GOOD[0], GOOD[0], GOOD[4]]), "duplicate_rows")
    assert (found["count"], found["share"], lines(found)) == (3, 3 / 12, [11, 12])
    assert "3 of 12 (25.00%) accepted rows repeat an earlier row" in found["statement"]


def test_rows_that_differ_in_one_cell_are_no_duplicates(find):
    base = GOOD[0]
    changes = [{"who": "u9"}, {"when": at(9)}, {"amount": "77"}, {"kind": "c"}, {"shop": "s9"}, {"fraud": "1"}]
    assert not of_kind(find([base, *({**base, **change} for change in changes)]), "duplicate_rows")


def test_late_rows_are_counted_with_the_greatest_lag(find):
    rows = [{**GOOD[i], "when": at(day)} for i, day in enumerate([3, 5, 4, 5, 2, 6])]
    (found,) = of_kind(find(rows), "late_rows")
    assert (found["count"], found["severity"], lines(found)) == (2, "info", [3, 5])
    assert "2 of 6 (33.33%) rows" in found["statement"]
    assert "up to 3.0 days" in found["statement"]


def test_late_rows_are_told_file_by_file(find):
    rows = [{**GOOD[i], "when": at(day)} for i, day in enumerate([5, 6, 3, 4, 3])]
    files = [{"file": name, "first_row": first, "lines": n} for name, first, n in [("a.csv", 0, 2), ("b.csv", 2, 3)]]
    (found,) = of_kind(find(rows, account={"files": files}), "late_rows")
    assert (found["count"], found["rows"]) == (1, [{"file": "b.csv", "line": 3}])


def test_late_rows_are_counted_across_batches(find, monkeypatch):
    from panther_pipeline.ledger import findings

    rows = [{**GOOD[i], "when": at(day)} for i, day in enumerate([3, 9, 4, 5, 2, 10])]
    whole = of_kind(find(rows), "late_rows")
    monkeypatch.setattr(findings, "batches_of", lambda table: table.collect().iter_slices(1))
    assert of_kind(find(rows), "late_rows") == whole
    assert whole[0]["count"] == 3


def test_quarantined_rows_make_no_other_row_late(find):
    rows = [{**GOOD[0], "when": at(30)}, {**GOOD[1], "when": at(3)}, {**GOOD[2], "when": at(4)}]
    assert of_kind(find(rows), "late_rows")[0]["count"] == 2
    assert not of_kind(find(rows, [(0, "time_after_latest", "when")]), "late_rows")


def test_ledgers_without_times_have_no_late_rows(find, make_schema, make_rows):
    rows = [{**row, "when": str(9 - i)} for i, row in enumerate(GOOD)]
    assert not of_kind(find(rows, schema=make_schema(event_time={"order": "when"})), "late_rows")


@pytest.mark.parametrize(
    ("reason", "kind", "told"),
    [
        ("duplicate_event_id", "duplicate_event_id", "another row with this event id was accepted"),
        ("time_before_earliest", "time_travel", "before ledger.schema.event_time.earliest"),
        ("time_after_latest", "time_travel", "after ledger.schema.event_time.latest"),
        ("time_nonexistent", "daylight_saving", "clocks were set forward"),
        ("time_ambiguous", "daylight_saving", "clocks were set back"),
        ("amount_sign_unknown", "sign_or_currency", "ledger.schema.amount.sign"),
        ("currency_not_allowed", "sign_or_currency", "ledger.schema.amount.currency"),
        ("amount_out_of_range", "impossible_value", "amount_range"),
        ("amount_not_finite", "impossible_value", "infinite"),
    ],
)
def test_faults_that_tell_of_the_source_are_found(find, reason, kind, told):
    (found,) = of_kind(find(GOOD, [(1, reason, "col"), (6, reason, "col")]), kind)
    assert (found["severity"], found["count"], found["share"], found["column"]) == ("warning", 2, 2 / 9, "col")
    assert lines(found) == [2, 7]
    assert told in found["statement"]


def test_amounts_of_zero_are_told(find):
    (found,) = of_kind(find([*GOOD, {"amount": "0.00"}, {"amount": "-0"}]), "zero_amount")
    assert (found["count"], found["severity"], lines(found)) == (2, "info", [10, 11])


def test_rare_sign_is_told(find):
    many = [{"amount": f"-{i}", "who": f"u{i % 7}"} for i in range(1, 201)]
    (found,) = of_kind(find([*many, {"amount": "5"}]), "sign_or_currency")
    assert (found["count"], lines(found)) == (1, [201])
    assert "1 of 201 (0.50%) amounts are positive" in found["statement"]
    assert not of_kind(find([*many[:50], {"amount": "5"}]), "sign_or_currency")  # 2 % are refunds as any


def test_constant_and_empty_columns_are_told(find, make_schema):
    found = of_kind(find([{**row, "kind": "", "shop": "s"} for row in GOOD]), "constant_column")
    assert {finding["column"]: finding["count"] for finding in found} == {"category": 0, "counterparty": 9}
    without = make_schema(counterparty=None, amount=None, amount_range=None, attributes=[])
    assert not of_kind(find([{}, {}], schema=without), "constant_column")


def test_single_event_users_and_the_largest_are_told(find):
    found = find([*GOOD, {"who": "once"}, *[{"who": "u0", "shop": f"x{i}"} for i in range(20)]])
    (once,), (largest,) = of_kind(found, "single_event_users"), of_kind(found, "largest_user")
    assert (once["count"], once["share"], lines(once)) == (1, 1 / 4, [10])
    assert (largest["severity"], largest["count"], lines(largest)) == ("warning", 23, [3])
    assert "an id that stands for 'not known'?" in largest["statement"]


@pytest.mark.parametrize(
    ("ids", "told", "count"),
    [
        ([f"41111111111111{i}0" for i in "123"], "first 15 are not 0", 3),
        (["Unknown", "u1", "u2"], "words for 'not known'", 1),
        (["007", "7", "8"], "leading zeros or in capitals", 1),
        (["Anna", "anna", "8"], "leading zeros or in capitals", 1),
    ],
)
@pytest.mark.parametrize(("column", "name"), [("who", "user_id"), ("shop", "counterparty")])
def test_identifiers_that_look_collapsed_are_told(find, ids, told, count, column, name):
    found = of_kind(find([{**row, column: ids[i % 3]} for i, row in enumerate(GOOD)]), "collapsed_ids")
    assert [(finding["column"], finding["count"], told in finding["statement"]) for finding in found] == [
        (name, count, True)
    ]


def test_few_ids_that_passed_through_a_float_are_told(find):
    rows = [{"who": f"u{i % 100}", "amount": str(i)} for i in range(300)]  # more than one in 100 is refused earlier
    (found,) = of_kind(find([*rows, {"who": "17850.0"}]), "collapsed_ids")
    assert (found["column"], found["count"], lines(found)) == ("user_id", 1, [301])
    assert "end in '.0'" in found["statement"]


def test_long_ids_that_end_in_zero_by_chance_are_left_alone(find):
    ids = [f"{4111111111111112 + 7 * i}" for i in range(9)]  # none with a valid check digit
    assert not of_kind(find([{**row, "who": id_} for row, id_ in zip(GOOD, ids, strict=True)]), "collapsed_ids")


@pytest.mark.parametrize(("fraud", "absent"), [("0", "positive"), ("1", "negative"), ("", "positive")])
def test_label_of_one_class_is_told(find, fraud, absent):
    [finding] = of_kind(find([{"fraud": fraud}, {"fraud": fraud}]), "single_class_label")
    assert f"is {absent}" in finding["statement"]
    assert finding["severity"] == "warning"
    assert not of_kind(find([{"fraud": "0"}, {"fraud": "1"}]), "single_class_label")


def fraud_ledger(num_rows=2000, *, seed=0, amount=None, kind=None, label=None):
    """Amounts up to 100, one label in ten positive, of 200 users; each of the last three may depend on the others."""
    rng = np.random.default_rng(seed)
    fraud = rng.random(num_rows) < 0.1
    cents = rng.integers(1, 10_000, num_rows)
    kinds = rng.choice(list("abc"), num_rows)
    cents, kinds = (amount(cents, fraud) if amount else cents), (kind(kinds, fraud) if kind else kinds)
    fraud = label(cents, fraud) if label else fraud
    return pl.DataFrame({
        "who": [f"u{i % 200}" for i in range(num_rows)], "id": [str(i) for i in range(num_rows)],
        "when": [(datetime(2024, 3, 1, tzinfo=UTC) + timedelta(minutes=i)).isoformat() for i in range(num_rows)],
        "amount": [f"{c / 100:.2f}" for c in cents], "shop": [f"s{i % 10}" for i in range(num_rows)], "kind": kinds,
        "fraud": ["1" if f else "0" for f in fraud], "leak": "1",
    })  # fmt: skip


def leaks(findings):
    return [finding for finding in findings if finding["kind"].startswith("label_")]


def test_column_that_is_the_label_is_a_leak(find):
    scenario = fraud_ledger(kind=lambda kinds, fraud: np.where(fraud, kinds, "none"))
    (found,) = leaks(find(scenario))
    assert (found["kind"], found["severity"], found["column"]) == ("label_leak", "warning", "category")
    assert "category alone tells positive from negative labels with an AUC of 1.000" in found["statement"]
    assert "ledger.schema.forbidden" in found["statement"]


def test_number_that_is_the_label_is_a_leak(find, make_schema):
    written = fraud_ledger(kind=lambda kinds, fraud: np.where(fraud, 900, 3) + np.arange(len(fraud)) % 50)
    schema = make_schema(attributes=[{"name": "risk", "column": "kind", "kind": "number"}])
    assert [(f["kind"], f["column"]) for f in leaks(find(written.cast({"kind": pl.String}), schema=schema))] == [
        ("label_leak", "risk")
    ]


def test_cell_that_is_filled_for_positives_only_is_a_leak(find):
    noted = fraud_ledger(kind=lambda kinds, fraud: np.where(fraud, kinds, ""))
    assert [finding["kind"] for finding in leaks(find(noted))] == ["label_leak"]


def test_honest_columns_are_no_leak(find):
    assert not leaks(find(fraud_ledger()))
    helpful = fraud_ledger(kind=lambda kinds, fraud: np.where(fraud & (np.arange(len(fraud)) % 2 == 0), "c", kinds))
    assert not leaks(find(helpful))


def test_amount_above_a_threshold_is_a_rule(find):
    def above(cents, fraud):
        return np.where(cents > 9_500, True, fraud)

    (found,) = leaks(find(fraud_ledger(label=above)))
    assert (found["kind"], found["column"]) == ("label_rule", "amount_cents")
    assert found["statement"].startswith("amount is 95.0")
    assert "or more: " in found["statement"]
    assert "on 2,000 labelled rows" in found["statement"]


def test_amounts_below_a_threshold_and_single_values_are_rules_too(find):
    below = fraud_ledger(label=lambda cents, fraud: np.where(cents < 500, True, fraud))
    assert "or less: " in leaks(find(below))[0]["statement"]
    odd = fraud_ledger(amount=lambda cents, fraud: np.where(fraud & (np.arange(len(fraud)) % 3 == 0), 5_000, cents))
    assert leaks(find(odd))[0]["statement"].startswith("amount is 50.00: ")
    word = fraud_ledger(kind=lambda kinds, fraud: np.where(fraud & (np.arange(len(fraud)) % 3 == 0), "z", kinds))
    assert leaks(find(word))[0]["statement"].startswith("category is 'z': ")


def test_rule_needs_many_rows_and_many_positives(find):
    few = fraud_ledger(label=lambda cents, fraud: np.where(cents > 9_900, True, fraud))  # about 20 rows
    assert not leaks(find(few))


def test_long_ledgers_are_sampled_by_user_and_say_so(find, monkeypatch):
    monkeypatch.setattr(label_leaks, "MOST_ROWS", 1000)
    scenario = fraud_ledger(kind=lambda kinds, fraud: np.where(fraud, kinds, "none"))
    (found,) = leaks(find(scenario))
    assert "labelled rows, of 2,000: a part of the users)" in found["statement"]
    assert found["count"] <= 1000


def test_ledgers_without_labels_have_no_leak(find, make_schema):
    scenario = fraud_ledger(kind=lambda kinds, fraud: np.where(fraud, kinds, "none"))
    assert not leaks(find(scenario, schema=make_schema(label=None)))
    assert not leaks(find(scenario.with_columns(fraud=pl.lit(""))))
    assert not leaks(find(scenario.head(30)))  # too few positives to say


def test_findings_put_warnings_first(find):
    severities = [finding["severity"] for finding in find([*GOOD, GOOD[0], {"amount": "0", "who": "007"}])]
    assert severities == sorted(severities, reverse=True)
    assert {"info", "warning"} == set(severities)


def test_ledger_of_which_nothing_was_accepted_tells_its_faults(find):
    found = find(GOOD[:1], [(0, "time_after_latest", "when")])
    assert [finding["kind"] for finding in found] == ["time_travel"]
