"""Tables looked up by a key: as many rows as before, in the same order, or refused."""

import polars as pl
import pytest

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.columns import Join
from panther_pipeline.ledger.joins import closest, prepare_lookups, read_table
from panther_pipeline.ledger.source import REJECT_SCHEMA, SourceBatch, TableSource

EVENTS = pl.DataFrame({"card": ["7", "8", "7", None, "9"], "user": [0, 1, 2, 0, 1]})
CARDS = pl.DataFrame({"id": [8, 7], "kind": ["debit", "credit"]})


def look_up(cards, rows=EVENTS, **join):
    join = {"table": "cards", "match": {"card": "id"}} | join
    (lookup,) = prepare_lookups({"events": rows, "cards": cards}, [Join(**join)], "raw_transactions")
    return lookup.extend(rows)


def test_looked_up_columns_are_named_after_their_table():
    joined = look_up(CARDS)
    assert joined.columns == ["card", "user", "cards.id", "cards.kind"]
    assert joined["card"].to_list() == EVENTS["card"].to_list()
    assert joined["cards.kind"].to_list() == ["credit", "debit", "credit", None, None]


def test_empty_keys_meet_nothing():
    cards = pl.DataFrame({"id": [None, None, "7", ""], "kind": list("abcd")})
    assert look_up(cards)["cards.kind"].to_list() == ["c", None, "c", None, None]


def test_several_columns_make_a_key():
    cards = pl.DataFrame({"who": [0, 2], "id": ["7", "7"], "kind": ["a", "b"]})
    joined = look_up(cards, match={"user": "who", "card": "id"})
    assert joined["cards.kind"].to_list() == ["a", None, "b", None, None]


def test_doubled_keys_are_refused_with_examples():
    with pytest.raises(SourceError, match=r"table 'cards' has 1 keys \['id'\] more than once, for example \[\['7'\]\]"):
        look_up(pl.DataFrame({"id": ["7", " 7 ", "8"], "kind": list("abc")}))


def test_where_leaves_other_rows_out():
    cards = pl.DataFrame({"id": ["7", "7", "8"], "role": ["OWNER", "USER", None], "kind": list("abc")})
    joined = look_up(cards, where={"role": ["OWNER"]})
    assert joined["cards.kind"].to_list() == ["a", None, "a", None, None]


def test_row_number_is_a_key():
    users = pl.DataFrame({"name": ["anna", "ben"]})
    joined = look_up(users, match={"user": "(row)"})
    assert joined.columns == ["card", "user", "cards.name"]
    assert joined["cards.name"].to_list() == ["anna", "ben", None, "anna", "ben"]


def test_row_number_counts_rows_that_where_leaves_out():
    users = pl.DataFrame({"name": ["anna", "ben", "cy"], "kept": ["no", "yes", "yes"]})
    joined = look_up(users, match={"user": "(row)"}, where={"kept": ["yes"]})
    assert joined["cards.name"].to_list() == [None, "ben", "cy", None, "ben"]


class LinedSource(TableSource):
    """A file with a header and blank lines: rows stand on lines 1, 3 and 5."""

    def batches(self, columns, account):
        for batch in super().batches(columns, account):
            yield SourceBatch(batch.rows.with_columns(source_row=batch.rows["source_row"] * 2 + 1), batch.rejects)


def test_row_number_is_not_the_line_of_the_file():
    users = LinedSource(pl.DataFrame({"name": ["anna", "ben", "cy"]}), name="users")
    joined = look_up(users, match={"user": "(row)"})
    assert joined["cards.name"].to_list() == ["anna", "ben", "cy", "anna", "ben"]


def test_float_keys_are_refused():
    with pytest.raises(SourceError, match=r"column 'id' of a join .* holds Float64 values"):
        look_up(CARDS.cast({"id": pl.Float64}))
    with pytest.raises(SourceError, match="column 'card' of a join"):
        look_up(CARDS, rows=EVENTS.cast({"card": pl.Float64}))


@pytest.mark.parametrize(
    ("join", "told"),
    [
        ({"table": "crads"}, r"has no table 'crads', did you mean 'cards'\?; it has events, cards"),
        ({"match": {"card": "ID"}}, r"table 'cards' lacks 1 declared column: 'ID' .*did you mean 'id'\?"),
        ({"where": {"a": ["x"], "b": ["y"]}}, "lacks 2 declared columns: 'a' .*'b'"),
    ],
)
def test_tables_and_columns_that_are_not_there_are_named(join, told):
    with pytest.raises(SourceError, match=told):
        look_up(CARDS, **join)


def test_join_needs_several_tables():
    with pytest.raises(SourceError, match="Make it a TablesDataset"):
        prepare_lookups(EVENTS, [Join(table="cards", match={"card": "id"})], "raw_transactions")


def test_joined_table_with_broken_lines_is_refused():
    class Broken(TableSource):
        def batches(self, columns, account):
            for batch in super().batches(columns, account):
                rejects = pl.DataFrame([(4, "too_few_fields", None, None)], schema=REJECT_SCHEMA, orient="row")
                yield SourceBatch(batch.rows, rejects)

    with pytest.raises(SourceError, match="table 'cards' has 1 lines that are no rows, first line 5: too_few_fields"):
        read_table(Broken(CARDS, name="cards"), "cards")


def test_events_are_joined_while_they_are_mapped(read_events, make_rows):
    raw = {"events": make_rows({"kind": "7"}, {"kind": "8"}, {"kind": "9"}), "cards": CARDS}
    joins = [{"table": "cards", "match": {"kind": "id"}}]
    attributes = [{"name": "card", "column": "cards.kind", "kind": "category"}]
    events = read_events(raw, table="events", joins=joins, attributes=attributes)
    assert events["card"].to_list() == ["credit", "debit", None]


def test_every_column_of_a_joins_key_is_read(read_events, make_rows):
    raw = {"events": make_rows({}, {}).with_columns(a=pl.Series([1, 2]), b=pl.Series([3, 4])),
           "t": pl.DataFrame({"a": [1, 2], "b": [3, 9], "v": ["x", "y"]})}  # fmt: skip
    joins = [{"table": "t", "match": {"a": "a", "b": "b"}}]
    attributes = [{"name": "v", "column": "t.v", "kind": "category"}]
    assert read_events(raw, table="events", joins=joins, attributes=attributes)["v"].to_list() == ["x", None]
    with pytest.raises(SourceError, match=r"lacks 1 declared column: 'a' \(ledger.schema.joins\[t\].match\[0\]\)"):
        read_events(raw | {"events": raw["events"].drop("a")}, table="events", joins=joins, attributes=attributes)


def test_joins_follow_one_another(read_events, make_rows):
    raw = {"events": make_rows({"kind": "1"}), "a": pl.DataFrame({"k": ["1"], "to_b": ["2"]}),
           "b": pl.DataFrame({"k": ["2"], "v": ["x"]})}  # fmt: skip
    joins = [{"table": "a", "match": {"kind": "k"}}, {"table": "b", "match": {"a.to_b": "k"}}]
    attributes = [{"name": "v", "column": "b.v", "kind": "category"}]
    assert read_events(raw, table="events", joins=joins, attributes=attributes)["v"].to_list() == ["x"]


def test_closest_name_ignores_case():
    assert closest("CUSTOMERID", ["customer_id", "amount"]) == "customer_id"
    assert closest("x", ["customer_id"]) is None
