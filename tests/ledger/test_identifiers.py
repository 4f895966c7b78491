"""Identifiers: exact text, or refused because something destroyed them."""

import random
import string

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.columns import IdColumn
from panther_pipeline.ledger.identifiers import IdReader, read_ids

KEY = "ledger.schema.user_id"


def ids_of(*columns, written_as="text"):
    parts = [pl.Series(name, values) for name, values in zip(("id", "card", "more"), columns, strict=False)]
    return read_ids(parts, IdColumn(columns=[p.name for p in parts], written_as=written_as), key=KEY).to_list()


@pytest.mark.parametrize("id_", ["007", "NA", "null", "None", "nan", "4111111111111111111111", "1e5", " 7", "1.50"])
def test_ids_are_kept_exactly(id_):
    assert ids_of([id_, "x"]) == [id_, "x"]


def test_integer_ids_keep_all_digits():
    ids = [2**63 - 1, -(2**63), 9007199254740993, None]
    assert ids_of(ids) == [None if i is None else str(i) for i in ids]
    assert ids_of(pl.Series([2**64 - 1], dtype=pl.UInt64)) == [str(2**64 - 1)]


@pytest.mark.parametrize("empty", ["", " ", "\t", None])
def test_blank_ids_are_missing(empty):
    assert ids_of([empty, "x"]) == [None, "x"]
    assert ids_of([empty, "x"], ["1", "1"]) == [None, "x-1"]


def test_categories_are_ids_too():
    assert ids_of(pl.Series(["007", "b"], dtype=pl.Categorical)) == ["007", "b"]


@pytest.mark.parametrize("column", [[17850.0, 1.0], [True, False]])
def test_id_columns_that_lose_digits_are_refused(column):
    with pytest.raises(SourceError, match=r"column 'id' \(ledger.schema.user_id\).*must be text or an integer"):
        ids_of(column)
    with pytest.raises(SourceError, match=r"column 'card' \(ledger.schema.user_id\).*must be text or an integer"):
        ids_of(["a", "b"], column)


def test_ids_of_several_columns_are_their_texts_joined():
    assert ids_of([0, 1], [" 2", "03"]) == ["0-2", "1-03"]


def test_ids_of_several_columns_cannot_collide():
    assert len(set(ids_of(["1-2", "1", "1\\"], ["3", "2-3", "2-3"]))) == 3
    assert ids_of(["1-2"], ["3"]) == ["1\\-2-3"]


_PART = st.text(alphabet="12-\\ab", min_size=1, max_size=4)


@given(st.lists(st.tuples(_PART, _PART, _PART), min_size=1, max_size=30, unique=True))
def test_joined_ids_are_as_many_as_their_parts(parts):
    assert len(set(ids_of(*(list(part) for part in zip(*parts, strict=True))))) == len(parts)


def test_ids_written_as_floats_are_refused_or_declared():
    raw = ["17850.0", "13047.0", None]
    with pytest.raises(SourceError, match=r"decimal numbers \(such as 17850.0\) in 2 of 3 rows.*written_as: float"):
        ids_of(raw)
    with pytest.raises(SourceError, match=r"column 'card' .* decimal numbers"):
        ids_of(["a", "b", "c"], raw)
    assert ids_of(raw, written_as="float") == ["17850", "13047", None]


def test_declared_floats_may_be_typed_as_such():
    assert ids_of([17850.0, None], written_as="float") == ["17850", None]
    for damaged in (1e15, float("inf")):
        with pytest.raises(SourceError, match="more than 15 digits"):
            ids_of([17850.0, damaged], written_as="float")


def test_declared_floats_that_are_too_long_are_refused():
    assert ids_of(["123456789012345.0"], written_as="float") == ["123456789012345"]
    with pytest.raises(SourceError, match="more than 15 digits"):
        ids_of(["1234567890123456.0"], written_as="float")


def test_id_columns_in_scientific_notation_are_refused():
    with pytest.raises(SourceError, match="scientific notation in 1 of 2 rows, first in row 2 of them"):
        ids_of(["a", "4.11111E+15"])
    with pytest.raises(SourceError, match=r"column 'card' .* scientific notation"):
        ids_of(["a", "b"], ["4.11111E+15", "x"])


def test_share_of_damaged_ids_does_not_depend_on_batches():
    good, bad = [f"u{i}" for i in range(999)], ["4.11111E+15"]
    for batches in ([good + bad], [bad, good], [good, bad], [good[:500], bad, good[500:]]):
        reader = IdReader(IdColumn(columns=["id"]), key=KEY)
        kept = [reader.read([pl.Series("id", batch)]).to_list() for batch in batches]
        reader.conclude()
        assert kept == batches  # one in a thousand is for quarantine to say


def test_damage_is_told_before_all_is_read():
    reader = IdReader(IdColumn(columns=["id"]), key=KEY)
    reader.read([pl.Series("id", ["1e+15"] * 9 + ["a"] * 490)])
    with pytest.raises(SourceError, match="in 510 of 1000"):
        reader.read([pl.Series("id", ["1e+15"] * 501)])


def rounded_by_spreadsheet(number: int) -> int:
    return int(f"{number:.14e}".replace(".", "").split("e")[0]) * 10 ** (len(str(number)) - 15)


RANDOM = random.Random(5)
CARDS = [RANDOM.randrange(4 * 10**15, 6 * 10**15) for _ in range(500)]
LONG = [RANDOM.randrange(10**18, 9 * 10**18) for _ in range(500)]


@pytest.mark.parametrize(
    "damaged",
    [
        [rounded_by_spreadsheet(number) for number in CARDS],
        [rounded_by_spreadsheet(number) for number in LONG],
        [int(float(number)) for number in LONG],
        [int(float(number * 10 + 1)) for number in CARDS],
    ],
)
def test_rounded_ids_are_refused(damaged):
    for column in (damaged, [str(id_) for id_ in damaged], [f"{i}" for i in damaged] + ["u1", None]):
        with pytest.raises(SourceError, match=r"different ids have become one"):
            ids_of(column)


@pytest.mark.parametrize(
    "sound",
    [
        CARDS,
        LONG,
        [RANDOM.getrandbits(64) for _ in range(5000)],
        [RANDOM.getrandbits(63) for _ in range(5000)],
        [1_700_000_000_000_000 + 1000 * i for i in range(500)],  # microseconds, in steps of a millisecond
        [1_700_000_000_000_000_000 + 10**9 * i for i in range(500)],  # nanoseconds, in steps of a second
        [i << 22 for i in range(400_000_000_000, 400_000_000_500)],  # a time and a counter that stays 0
        [10 * i for i in range(500)],
        CARDS[:19],
    ],
)
def test_sound_long_ids_raise_no_false_alarm(sound):
    texts = [str(id_) for id_ in sound]
    assert ids_of(texts) == texts
    assert ids_of([text.zfill(20) for text in texts])[0] == texts[0].zfill(20)
    assert ids_of(pl.Series(sound, dtype=pl.UInt64)) == texts


@given(st.lists(st.text(alphabet=string.printable, max_size=8), max_size=20))
def test_text_ids_are_themselves_or_missing(ids):
    assert ids_of(pl.Series(ids, dtype=pl.String)) == [id_ if id_.strip() else None for id_ in ids]
