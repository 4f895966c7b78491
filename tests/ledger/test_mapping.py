"""From source tables to events."""

from datetime import UTC, datetime

import polars as pl
import pytest

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.mapping import event_schema, map_events, tie_columns
from panther_pipeline.ledger.source import REJECT_SCHEMA, SourceBatch, TableSource

UTC_US = pl.Datetime("us", "UTC")
TYPES = {
    "source_row": pl.Int64, "user_id": pl.String, "event_id": pl.String, "event_time": UTC_US, "amount_cents": pl.Int64,
    "category": pl.String, "counterparty": pl.String, "label": pl.Int8, "label_time": UTC_US, "problem": pl.String,
    "problem_column": pl.String, "problem_value": pl.String,
}  # fmt: skip


def test_event_has_the_contract_columns_and_types(read_events, make_rows, make_schema):
    events = read_events(make_rows({}))
    assert events.schema == pl.Schema(TYPES) == pl.Schema(event_schema(make_schema()))
    noon = datetime(2024, 3, 1, 12, tzinfo=UTC)
    later = datetime(2024, 3, 8, 12, tzinfo=UTC)
    assert events.row(0) == (0, "u1", "0", noon, 1234, "food", "s1", 0, later, None, None, None)


def test_absent_roles_leave_typed_empty_columns(read_events, make_rows):
    absent = {
        "amount": None,
        "amount_range": None,
        "counterparty": None,
        "label": None,
        "attributes": [],
        "tie_break": [],
    }
    events = read_events(make_rows({}, {}), **absent)
    assert events.schema == pl.Schema({name: dtype for name, dtype in TYPES.items() if name != "category"})
    for name in ("amount_cents", "counterparty", "label", "label_time"):
        assert events[name].null_count() == 2


def test_ledger_without_event_ids_knows_rows_by_number(read_events, make_rows):
    assert read_events(make_rows({}, {}), event_id=None)["event_id"].to_list() == ["0", "1"]


def test_mapping_keeps_every_row_in_file_order(read_events, make_rows):
    raw = make_rows({"id": "9"}, {"id": "9"}, {"who": ""}, {"amount": "x"}, {"when": "x"}, {})
    events = read_events(raw)
    assert events["source_row"].to_list() == [0, 1, 2, 3, 4, 5]
    assert events["problem"].to_list() == [None, None, None, "amount_not_a_number", "time_unparsable", None]


def test_forbidden_columns_never_come_in(read_events, make_rows):
    events = read_events(make_rows({"leak": "0xLEAK"}))
    assert "leak" not in events.columns
    assert "0xLEAK" not in str(events.rows())
    # Not even read: a forbidden column that fails as soon as it is looked at disturbs nobody.
    trap = make_rows({}).lazy().with_columns(leak=pl.col("kind").str.to_integer(strict=True))
    with pytest.raises(pl.exceptions.ComputeError):
        trap.collect()
    assert read_events(trap).equals(read_events(make_rows({})))
    without = make_rows({}).drop("leak")
    assert read_events(without).equals(read_events(make_rows({})))


def test_lazy_tables_are_read_too(read_events, make_rows):
    assert read_events(make_rows({}).lazy()).equals(read_events(make_rows({})))


def test_tables_of_several_chunks_are_read_alike(read_events, make_rows):
    parts = [
        make_rows({"id": str(i), "when": w, "amount": a}) for i, (w, a) in enumerate([("2024-03-01", "1"), ("x", "y")])
    ]
    chunked = pl.concat(parts, rechunk=False)
    assert chunked.n_chunks() == 2
    assert read_events(chunked).equals(read_events(chunked.rechunk()))


def test_missing_columns_are_all_named_with_their_keys(read_events, make_rows):
    raw = make_rows({}).rename({"who": "Who", "shop": "merchant"})
    with pytest.raises(SourceError) as caught:
        read_events(raw)
    message = str(caught.value)
    assert "'who' (ledger.schema.user_id), did you mean 'Who'?" in message
    assert "'shop' (ledger.schema.counterparty)" in message
    assert "It has: Who, id, when, amount, merchant, kind, fraud, leak." in message


def test_empty_table_is_refused(read_events, make_rows):
    with pytest.raises(SourceError, match="has no rows"):
        read_events(make_rows({}).clear())


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
def test_column_without_one_readable_value_is_refused(read_events, make_rows, cell, told):
    with pytest.raises(SourceError, match=told):
        read_events(make_rows(cell, cell))


def test_labels_may_all_be_unknown(read_events, make_rows):
    events = read_events(make_rows({"fraud": ""}))
    assert events.select("label", "label_time", "problem").row(0) == (None, None, None)


def test_float_user_ids_are_refused_with_the_key(read_events, make_rows):
    with pytest.raises(SourceError, match=r"column 'who' \(ledger.schema.user_id\) holds Float64"):
        read_events(make_rows({}).with_columns(who=pl.lit(17850.0)))


def test_first_problem_of_a_row_is_shown_masked(read_events, make_rows):
    card = "4111 1111 1111 1111"
    raw = make_rows({}, {"when": "x", "amount": "y", "fraud": "z"}, {"amount": card, "fraud": "z"}, {"fraud": "z" * 90})
    found = read_events(raw).select("problem", "problem_column", "problem_value").rows()
    assert found == [
        (None, None, None),
        ("time_unparsable", "when", "x"),
        ("amount_not_a_number", "amount", "[masked]"),
        ("label_unknown_value", "fraud", "z" * 40),
    ]


def test_tie_break_is_kept_once(read_events, make_rows, make_schema):
    raw = make_rows({"id": "10", "kind": "b"}, {"id": "C9", "kind": "a"})
    ties = {"tie_break": ["id", "kind", "shop"]}
    events = read_events(raw, **ties)
    assert [name for name in events.columns if name.startswith("tie_break_")] == ["tie_break_1"]
    assert events["tie_break_1"].to_list() == ["b", "a"]
    assert tie_columns(make_schema(**ties)) == ["event_id", "tie_break_1", "counterparty"]


def test_missing_texts_are_empty_cells_in_every_role(read_events, make_rows):
    nothing = dict.fromkeys(("who", "when", "fraud"), "\\N") | dict.fromkeys(("id", "amount", "shop", "kind"), " NULL ")
    events = read_events(make_rows({}, nothing), missing=["\\N", "NULL"])
    assert set(events.drop("source_row").row(1)) == {None}
    assert events.row(0)[1:4] == ("u1", "0", datetime(2024, 3, 1, 12, tzinfo=UTC))


def test_missing_texts_of_one_id_hold_for_it_alone(read_events, make_rows):
    # Account 0 of a bank is no account; a kind 0 is a kind.
    raw = make_rows({"shop": "0", "kind": "0"}, {"shop": "7", "kind": "7"}, {"shop": "10"})
    events = read_events(raw, counterparty={"columns": ["shop"], "missing": ["0"]})
    assert events["counterparty"].to_list() == [None, "7", "10"]
    assert events["category"].to_list() == ["0", "7", "food"]
    joined = read_events(raw, counterparty={"columns": ["kind", "shop"], "missing": ["0"]})
    assert joined["counterparty"].to_list() == [None, "7-7", "food-10"]


def test_text_that_means_nothing_elsewhere_stays_what_it_is(read_events, make_rows):
    events = read_events(make_rows({"who": "NULL", "kind": "N/A"}), missing=["\\N"])
    assert events.select("user_id", "category").row(0) == ("NULL", "N/A")


def test_category_is_extracted_and_renamed(read_events, make_rows):
    raw = make_rows(*({"kind": kind} for kind in ("5411 Grocery", "7995 Casino", "4829 Wire", "no code", "", None)))
    names = {"5411": "food", "7995": "gambling"}
    attribute = {"name": "category", "column": "kind", "kind": "category", "extract": r"^([0-9]{4})", "map": names}
    found = read_events(raw, attributes=[attribute])["category"].to_list()
    assert found == ["food", "gambling", "4829", None, None, None]


def test_number_is_extracted_and_its_prefix_removed(read_events, make_rows):
    raw = make_rows({"kind": "$59696"}, {"kind": "x"}, {"kind": ""})
    number = {"name": "income", "column": "kind", "kind": "number", "prefix": "$"}
    events = read_events(raw, attributes=[number])
    assert events["income"].to_list() == [59696.0, None, None]
    assert events["problem"].to_list() == [None, "attribute_not_a_number", None]
    years = {"name": "years", "column": "kind", "kind": "number", "extract": r"([0-9]+) years"}
    assert read_events(make_rows({"kind": "31 years"}), attributes=[years])["years"].to_list() == [31.0]


def test_time_of_four_columns_is_one(read_events, make_rows):
    raw = make_rows({}, {}, {}).with_columns(
        Year=pl.Series([2002, 2002, 2002]), Month=pl.Series([9, 12, 9]), Day=pl.Series([1, 31, None]),
        Time=pl.Series(["06:21", "23:59", "06:21"]),
    )  # fmt: skip
    time = {
        "column": ["Year", "Month", "Day", "Time"], "format": "%Y %m %d %H:%M", "zone": "UTC", "earliest": "2000-01-01",
        "latest": "2020-01-01",
    }  # fmt: skip
    events = read_events(raw, event_time=time)
    expected = [datetime(2002, 9, 1, 6, 21, tzinfo=UTC), datetime(2002, 12, 31, 23, 59, tzinfo=UTC), None]
    assert events["event_time"].to_list() == expected
    assert events["problem"].null_count() == 3  # a part is empty: the time is missing, not wrong


def test_order_without_times_becomes_a_clock(read_events, make_rows):
    raw = make_rows(*({"when": when} for when in ("0", "7", "-1", "1.5", "", "9" * 20)))
    events = read_events(raw, event_time={"order": "when"}, tie_break=[])
    assert events["event_time"].to_physical().to_list() == [0, 7_000_000, None, None, None, None]
    assert events["problem"].to_list() == [None, None, "time_unparsable", "time_unparsable", None, "time_unparsable"]


def test_header_must_be_the_declared_one_exactly(read_events, make_rows):
    raw = make_rows({})
    assert read_events(raw, header=sorted(raw.columns)).height == 1
    with pytest.raises(SourceError, match=r"added \['colour'\], removed nothing"):
        read_events(raw.with_columns(colour=pl.lit("red")), header=raw.columns)
    with pytest.raises(SourceError, match=r"added nothing, removed \['leak'\]"):
        read_events(raw.drop("leak"), header=raw.columns)


def test_account_is_complete_once_the_events_are_read(make_schema, make_rows):
    events, account = map_events(make_rows({}, {}, {}), make_schema())
    assert account == {}
    events.collect()
    assert (account["lines"], account["rows"], account["header"]) == (3, 3, 0)
    events.collect()
    assert account["rows"] == 3


def test_wrong_column_is_refused_before_the_ledger_is_read(make_schema, monkeypatch):
    monkeypatch.setattr("panther_pipeline.ledger.source.BATCH_ROWS", 500)
    read = []

    class Endless(TableSource):
        def batches(self, columns, account):
            for batch in super().batches(columns, account):
                read.append(batch.rows.height)
                yield batch

    row = {"who": "u", "id": "1", "when": "soon", "amount": "1", "shop": "s", "kind": "k", "fraud": "0"}
    raw = pl.DataFrame([row]).select(pl.all().repeat_by(100_000).explode())
    with pytest.raises(SourceError, match="not one of 1000 rows has a time in column 'when'"):
        map_events(Endless(raw, name="raw"), make_schema())[0].collect()
    assert sum(read) <= 1500


def test_lines_that_are_no_rows_keep_their_place(make_schema, make_rows):
    class Broken(TableSource):
        def batches(self, columns, account):
            for batch in super().batches(columns, account):
                middle = pl.DataFrame([(1, "malformed_user_id", "line", "x")], schema=REJECT_SCHEMA, orient="row")
                yield SourceBatch(batch.rows.filter(pl.col("source_row") != 1), middle)

    events = map_events(Broken(make_rows({}, {}, {}), name="raw"), make_schema())[0].collect()
    assert events["source_row"].to_list() == [0, 1, 2]
    assert events.row(1)[-3:] == ("malformed_user_id", "line", "x")


def test_problem_of_the_amount_is_that_of_its_own_cell(read_events, make_rows):
    amount = {"column": "amount", "sign": {"column": "kind", "negative": ["D"], "positive": ["C"]}}
    raw = make_rows({"kind": "D"}, {"kind": "?", "amount": ""}, {"kind": "?"}, {"amount": "", "fraud": "9"})
    events = read_events(raw, amount=amount, attributes=[])
    assert events["amount_cents"].to_list() == [-1234, None, None, None]
    assert events.select("problem", "problem_value").rows() == [
        (None, None), (None, None), ("amount_sign_unknown", "12.34"), ("label_unknown_value", "9"),
    ]  # fmt: skip
