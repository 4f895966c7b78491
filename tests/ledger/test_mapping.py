"""From source tables to events and profiles."""

from datetime import UTC, datetime

import polars as pl
import pytest

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.mapping import map_events, map_profiles

COLUMNS = [
    "source_row", "user_id", "event_id", "event_time", "amount_cents", "category", "counterparty", "label",
    "label_time",
    "tie_break_0", "problem", "problem_column", "problem_value",
]  # fmt: skip


def test_event_has_the_contract_columns_and_types(make_schema, make_rows):
    events = map_events(make_rows({}), make_schema())
    assert events.columns == COLUMNS
    utc = pl.Datetime("us", "UTC")
    assert [str(t) for t in events.dtypes] == [
        str(t) for t in (pl.Int64, pl.String, pl.String, utc, pl.Int64, pl.String, pl.String, pl.Int8, utc,
        pl.Int64,
                         pl.String, pl.String, pl.String)
    ]  # fmt: skip
    noon = datetime(2024, 3, 1, 12, tzinfo=UTC)
    later = datetime(2024, 3, 8, 12, tzinfo=UTC)
    assert events.row(0) == (0, "u1", "0", noon, 1234, "food", "s1", 0, later, 0, None, None, None)


def test_absent_roles_leave_typed_empty_columns(make_schema, make_rows):
    schema = make_schema(amount=None, counterparty=None, label=None, attributes=[], tie_break=[])
    events = map_events(make_rows({}, {}), schema)
    assert events.columns == [c for c in COLUMNS if c not in ("category", "tie_break_0")]
    for name, dtype in {"amount_cents": pl.Int64, "counterparty": pl.String, "label": pl.Int8}.items():
        assert events[name].dtype == dtype
        assert events[name].null_count() == 2


def test_mapping_keeps_every_row_in_file_order(make_schema, make_rows):
    raw = make_rows({"id": "9"}, {"id": "9"}, {"who": ""}, {"amount": "x"}, {"when": "x"}, {})
    events = map_events(raw, make_schema())
    assert events["source_row"].to_list() == [0, 1, 2, 3, 4, 5]
    assert events["problem"].to_list() == [None, None, None, "amount_not_a_number", "time_unparsable", None]


def test_forbidden_columns_never_come_in(make_schema, make_rows):
    events = map_events(make_rows({"leak": "0xLEAK"}), make_schema())
    assert "leak" not in events.columns
    assert "0xLEAK" not in str(events.rows())
    # Not even read: a forbidden column that fails as soon as it is looked at disturbs nobody.
    trap = make_rows({}).lazy().with_columns(leak=pl.col("kind").str.to_integer(strict=True))
    with pytest.raises(pl.exceptions.ComputeError):
        trap.collect()
    assert map_events(trap, make_schema()).equals(map_events(make_rows({}), make_schema()))
    without = make_rows({}).drop("leak")
    assert map_events(without, make_schema()).equals(map_events(make_rows({}), make_schema()))


def test_lazy_tables_are_read_too(make_schema, make_rows):
    assert map_events(make_rows({}).lazy(), make_schema()).equals(map_events(make_rows({}), make_schema()))


def test_tables_of_several_chunks_are_read_alike(make_schema, make_rows):
    parts = [
        make_rows({"id": str(i), "when": w, "amount": a}) for i, (w, a) in enumerate([("2024-03-01", "1"), ("x", "y")])
    ]
    chunked = pl.concat(parts, rechunk=False)
    assert chunked.n_chunks() == 2
    assert map_events(chunked, make_schema()).equals(map_events(chunked.rechunk(), make_schema()))


def test_missing_columns_are_all_named_with_their_keys(make_schema, make_rows):
    raw = make_rows({}).rename({"who": "Who", "shop": "merchant"})
    with pytest.raises(SourceError) as caught:
        map_events(raw, make_schema())
    message = str(caught.value)
    assert "'who' (ledger.schema.user_id), did you mean 'Who'?" in message
    assert "'shop' (ledger.schema.counterparty)" in message
    assert "It has: Who, id, when, amount, merchant, kind, fraud, leak." in message


def test_empty_table_is_refused(make_schema, make_rows):
    with pytest.raises(SourceError, match="has no rows"):
        map_events(make_rows({}).clear(), make_schema())


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (
            {"amount": "food"},
            "not one of 2 rows has an amount in column 'amount' .*'food'.*ledger.schema.amount",
        ),
        ({"when": "noon"}, "has a time in column 'when' .*ledger.schema.event_time.column"),
        ({"fraud": "maybe"}, "has a label in column 'fraud'"),
        ({"who": ""}, "has a user id in column 'who' .*all cells are empty"),
        ({"amount": "4111111111111111x"}, r"\[masked\]x"),
    ],
)
def test_column_without_one_readable_value_is_refused(make_schema, make_rows, cell, told):
    with pytest.raises(SourceError, match=told):
        map_events(make_rows(cell, cell), make_schema())


def test_labels_may_all_be_unknown(make_schema, make_rows):
    events = map_events(make_rows({"fraud": ""}), make_schema())
    assert events.select("label", "label_time", "problem").row(0) == (None, None, None)


def test_float_user_ids_are_refused_with_the_key(make_schema, make_rows):
    with pytest.raises(SourceError, match=r"column 'who' \(ledger.schema.user_id\) holds Float64"):
        map_events(make_rows({}).with_columns(who=pl.lit(17850.0)), make_schema())


def test_first_problem_of_a_row_is_shown_masked(make_schema, make_rows):
    card = "4111 1111 1111 1111"
    raw = make_rows({}, {"when": "x", "amount": "y", "fraud": "z"}, {"amount": card, "fraud": "z"}, {"fraud": "z" * 90})
    found = map_events(raw, make_schema()).select("problem", "problem_column", "problem_value").rows()
    assert found == [
        (None, None, None),
        ("time_unparsable", "when", "x"),
        ("amount_not_a_number", "amount", "[masked]"),
        ("label_unknown_value", "fraud", "z" * 40),
    ]


def test_tie_breaks_are_numbers_where_all_are(make_schema, make_rows):
    numbers = map_events(make_rows({"id": "10"}, {"id": "9"}), make_schema())
    assert numbers["tie_break_0"].to_list() == [10, 9]
    mixed = map_events(make_rows({"id": "10"}, {"id": "C9"}), make_schema())
    assert mixed["tie_break_0"].to_list() == ["10", "C9"]


def test_profiles_are_sorted_text_with_missing_marked(make_schema):
    raw = pl.DataFrame({"who": ["b", "a", "a", None], "region": [" north", "", "", "x"], "leak": [1, 1, 1, 1]})
    profiles = map_profiles(raw, make_schema())
    assert profiles.to_dicts() == [
        {"user_id": "a", "region": "(missing)"},
        {"user_id": "b", "region": "north"},
    ]


AGE = {"name": "age", "column": "age", "kind": "number"}


def test_profile_numbers_stay_numbers_with_missing_null(make_schema, caplog):
    raw = pl.DataFrame({"who": ["c", "a", "b", "d"], "age": ["41", " 7.5 ", "", "old"]})
    profiles = map_profiles(raw, make_schema(profile_attributes=[AGE]))
    assert profiles.schema == {"user_id": pl.String, "age": pl.Float64}
    assert profiles["age"].to_list() == [7.5, None, 41.0, None]
    assert "1 of 4 rows hold no number in column 'age'" in caplog.text


def test_profile_column_without_any_number_is_refused(make_schema):
    raw = pl.DataFrame({"who": ["a", "b"], "age": ["young", "old"]})
    with pytest.raises(SourceError, match=r"ledger\.schema\.profile_attributes\.age names the wrong column"):
        map_profiles(raw, make_schema(profile_attributes=[AGE]))


def test_profile_numbers_that_are_always_empty_are_accepted(make_schema):
    raw = pl.DataFrame({"who": ["a", "b"], "age": ["", None]})
    assert map_profiles(raw, make_schema(profile_attributes=[AGE]))["age"].to_list() == [None, None]


def test_ledger_without_profiles_yields_an_empty_table(make_schema):
    profiles = map_profiles(pl.DataFrame(), make_schema(profile_user_id=None, profile_attributes=[]))
    assert profiles.schema == {"user_id": pl.String}
    assert profiles.is_empty()


def test_contradicting_or_missing_profiles_are_refused(make_schema):
    with pytest.raises(SourceError, match="describes 1 users more than once"):
        map_profiles(pl.DataFrame({"who": ["a", "a"], "region": ["x", "y"]}), make_schema())
    with pytest.raises(SourceError, match=r"raw_profiles lacks 2 declared columns.*no columns at all"):
        map_profiles(pl.DataFrame(), make_schema())
