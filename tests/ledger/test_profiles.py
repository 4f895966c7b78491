"""What is known of users: profiles, and labels as of a date."""

from datetime import UTC, datetime

import polars as pl
import pytest

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.profiles import map_profiles, map_user_labels

REGION = {"name": "region", "column": "region", "kind": "category"}
AGE = {"name": "age", "column": "age", "kind": "number"}
LABELS = {
    "user_id": "who", "as_of": {"column": "day", "format": "%y%m%d", "zone": "UTC", "earliest": "1990-01-01",
    "latest": "2000-01-01"},
    "column": "status", "positive": ["B", "D"], "negative": ["A", "C"],
}  # fmt: skip


@pytest.fixture
def read_profiles(make_schema):
    def read(raw, *attributes, user_id="who", **more):
        profiles = {"user_id": user_id, "attributes": list(attributes) or [REGION], **more}
        return map_profiles(raw, make_schema(profiles=profiles))

    return read


def test_profiles_are_sorted_text_with_missing_marked(read_profiles):
    raw = pl.DataFrame({"who": ["b", "a", "a", None], "region": [" north", "", "", "x"], "leak": [1, 1, 1, 1]})
    profiles = read_profiles(raw)
    assert profiles.to_dicts() == [
        {"user_id": "a", "region": "(missing)"},
        {"user_id": "b", "region": "north"},
    ]


def test_profile_numbers_stay_numbers_with_missing_null(read_profiles, caplog):
    raw = pl.DataFrame({"who": ["c", "a", "b", "d"], "age": ["41", " 7.5 ", "", "old"]})
    profiles = read_profiles(raw, AGE)
    assert profiles.schema == {"user_id": pl.String, "age": pl.Float64}
    assert profiles["age"].to_list() == [7.5, None, 41.0, None]
    assert "1 of 4 rows hold no number in column 'age'" in caplog.text


def test_profile_column_without_any_number_is_refused(read_profiles):
    raw = pl.DataFrame({"who": ["a", "b"], "age": ["young", "old"]})
    with pytest.raises(SourceError, match=r"ledger\.schema\.profiles\.attributes\.age names the wrong column"):
        read_profiles(raw, AGE)


def test_profile_numbers_that_are_always_empty_are_accepted(read_profiles):
    raw = pl.DataFrame({"who": ["a", "b"], "age": ["", None]})
    assert read_profiles(raw, AGE)["age"].to_list() == [None, None]


def test_ledger_without_profiles_yields_an_empty_table(make_schema):
    profiles = map_profiles(pl.DataFrame(), make_schema(profiles=None))
    assert profiles.schema == {"user_id": pl.String}
    assert profiles.is_empty()


def test_contradicting_or_missing_profiles_are_refused(read_profiles):
    with pytest.raises(SourceError, match="describes 1 users more than once"):
        read_profiles(pl.DataFrame({"who": ["a", "a"], "region": ["x", "y"]}))
    with pytest.raises(SourceError, match=r"raw_profiles lacks 2 declared columns.*no columns at all"):
        read_profiles(pl.DataFrame())


def test_profile_ids_are_read_as_event_ids_are(read_profiles):
    raw = pl.DataFrame({"user": ["1", "1-2", "1"], "card": ["2-3", "3", "4"], "region": ["x", "y", "z"]})
    found = read_profiles(raw, user_id=["user", "card"])
    assert found["user_id"].to_list() == ["1-2\\-3", "1-4", "1\\-2-3"]
    with pytest.raises(SourceError, match=r"lacks 2 declared columns: 'user' \(ledger.schema.profiles.user_id\[0\]\)"):
        read_profiles(raw.drop("user", "card"), user_id=["user", "card"])


def test_profile_tables_are_joined(read_profiles):
    accounts = pl.DataFrame({"who": ["a", "b"], "district": ["7", "8"]})
    districts = pl.DataFrame({"id": [7], "region": ["north"]})
    join = {"table": "districts", "match": {"district": "id"}}
    attribute = {"name": "region", "column": "districts.region", "kind": "category"}
    found = read_profiles({"accounts": accounts, "districts": districts}, attribute, table="accounts", joins=[join])
    assert found.rows() == [("a", "north"), ("b", "(missing)")]


def test_profile_table_must_be_named_where_there_are_several(read_profiles):
    with pytest.raises(SourceError, match="the schema says that 'None' comes first"):
        read_profiles({"a": pl.DataFrame(), "b": pl.DataFrame()})


def test_profiles_without_user_id_are_counted_and_left_out(read_profiles, caplog):
    assert read_profiles(pl.DataFrame({"who": ["a", ""], "region": ["x", "y"]})).height == 1
    assert "1 of 2 rows have no user id" in caplog.text


def test_missing_texts_hold_for_profiles(make_schema):
    raw = pl.DataFrame({"who": ["a"], "region": ["?"]})
    assert map_profiles(raw, make_schema(missing=["?"])).row(0) == ("a", "(missing)")


def test_user_labels_are_dated_and_sorted(make_schema):
    raw = pl.DataFrame({"who": ["b", "a", "a", "a"], "day": [930705, 940101, 930705, 930705], "status": list("BCDD")})
    labels = map_user_labels(raw, make_schema(user_labels=LABELS))
    july, january = datetime(1993, 7, 5, tzinfo=UTC), datetime(1994, 1, 1, tzinfo=UTC)
    assert labels.rows() == [("a", july, 1), ("a", january, 0), ("b", july, 1)]
    assert labels.schema == {"user_id": pl.String, "as_of": pl.Datetime("us", "UTC"), "label": pl.Int8}


def test_ledger_without_user_labels_yields_an_empty_table(make_schema):
    assert map_user_labels(None, make_schema()).is_empty()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"who": ["a", ""]}, "1 of 2 rows have no readable user_id"),
        ({"day": [930705, 939999]}, r"1 of 2 rows have no readable as_of, for example \['939999'\]"),
        ({"status": ["A", "E"]}, r"1 of 2 rows have no readable label, for example \['E'\]"),
        ({"who": ["a", "a"], "day": [930705, 930705], "status": ["A", "B"]}, "1 pairs of user and date"),
    ],
)
def test_unreadable_user_labels_are_refused(make_schema, changes, told):
    raw = {"who": ["a", "b"], "day": [930705, 930706], "status": ["A", "B"]}
    with pytest.raises(SourceError, match=told):
        map_user_labels(pl.DataFrame(raw | changes), make_schema(user_labels=LABELS))


def test_empty_profile_table_is_no_error(read_profiles):
    assert read_profiles(pl.DataFrame({"who": [], "region": []}, schema_overrides={"who": pl.String})).is_empty()


def test_missing_label_columns_are_all_named(make_schema):
    time = LABELS["as_of"] | {"column": ["day", "hour"]}
    with pytest.raises(SourceError, match=r"lacks 2 declared columns: 'day' .*as_of.column\[0\].*'hour'"):
        map_user_labels(pl.DataFrame({"who": [], "status": []}), make_schema(user_labels=LABELS | {"as_of": time}))
