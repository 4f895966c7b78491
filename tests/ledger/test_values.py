"""Reading one column: exact or refused, never nearly right."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.columns import Attribute, LabelColumn, OrderColumn, TimeColumn
from panther_pipeline.ledger.values import (
    mask_long_numbers,
    mask_values,
    read_attribute,
    read_categories,
    read_labels,
    read_numbers,
    read_order,
    read_times,
)

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "America/Sao_Paulo",
]


def times(values, *, zone="UTC", format=None, dtype=None):
    column = TimeColumn(column="t", format=format, zone=zone, earliest="1900-01-01", latest="2200-01-01")
    return read_times(pl.Series("t", values, dtype=dtype), column)


@pytest.mark.parametrize("zone", ZONES)
def test_local_times_match_the_zone_database(zone):
    instants = [datetime(2024, 1, 1) + timedelta(hours=7, minutes=30) * k for k in range(1168)]
    reading = times(instants, zone=zone)
    for local, utc, problem in zip(instants, reading.values, reading.problem, strict=True):
        early, late = (local.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1))
        exists = early.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == local
        expected = None if early == late and exists else "time_ambiguous" if exists else "time_nonexistent"
        assert problem == expected
        assert utc == (early if expected is None else None)


def test_clock_changes_are_ambiguous_or_nonexistent():
    local = ["2024-03-10 02:30:00", "2024-11-03 01:30:00", "2024-11-03 02:00:00", None, "soon"]
    reading = times(local, zone="America/New_York")
    assert reading.problem.to_list() == ["time_nonexistent", "time_ambiguous", None, None, "time_unparsable"]
    assert reading.values.to_list() == [None, None, datetime(2024, 11, 3, 7, tzinfo=UTC), None, None]


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2024-02-29", "2024-02-28T23:00:00"), ("2024-02-29 10:00", "2024-02-29T09:00:00"),
        ("2024-02-29T10:00:01.5", "2024-02-29T09:00:01.500000"), ("2024-02-29T10:00:00Z",
        "2024-02-29T10:00:00"),
        ("2024-02-29T10:00:00-05:30", "2024-02-29T15:30:00"), ("2024-10-27T02:30:00+0200",
        "2024-10-27T00:30:00"),
        ("1969-07-20 21:17:40", "1969-07-20T20:17:40"), ("2100-03-01 00:00:00", "2100-02-28T23:00:00"),
    ],
)  # fmt: skip
def test_iso_text_is_read_in_the_declared_zone_or_its_own(text, utc):
    reading = times([text], zone="Europe/Berlin")
    assert (reading.values[0], reading.problem[0]) == (datetime.fromisoformat(utc).replace(tzinfo=UTC), None)


@pytest.mark.parametrize(
    "text",
    [
        "2023-02-29", "24-02-29", "2024-13-45 27:61:00", "2024-01-01T10:00:00+99:00", "1e9", "2024-01-01 10:00:60",
        "2024-01-01 10", "2024-1-1", "٢٠٢٤-01-01", "2024-01-01 10:00:00 then",
    ],
)  # fmt: skip
def test_other_text_is_unparsable(text):
    assert times([text]).problem.to_list() == ["time_unparsable"]


def test_declared_formats_and_types_are_read():
    noon = datetime(2024, 3, 1, 12, tzinfo=UTC)
    assert times(["01.03.2024 12:00"], format="%d.%m.%Y %H:%M").values[0] == noon
    assert times(["01.03.2024 14:00 +0200"], format="%d.%m.%Y %H:%M %z").values[0] == noon
    assert times([931107], format="%y%m%d").values[0] == datetime(1993, 11, 7, tzinfo=UTC)
    assert times([date(2024, 3, 1)]).values[0] == noon.replace(hour=0)
    assert times([noon.replace(tzinfo=None)], dtype=pl.Datetime("ns")).values[0] == noon
    aware = times([noon], dtype=pl.Datetime("ms", "Asia/Tokyo"), zone="America/New_York").values
    assert aware.dtype == pl.Datetime("us", "UTC")
    assert aware[0] == noon
    with pytest.raises(SourceError, match="holds Float64 values"):
        times([1.5], format="%s")


def read_with(format, *values):
    reading = times(list(values), format=format)
    return [p or t.replace(tzinfo=None).isoformat(" ") for t, p in zip(reading.values, reading.problem, strict=True)]


def test_packed_dates_need_all_their_digits():
    bad = "time_unparsable"
    seventh = "1993-11-07 00:00:00"
    assert read_with("%y%m%d", "931107", "51107", "9311070", "93117", "93-11-07") == [seventh, bad, bad, bad, bad]
    assert read_with("%y%m%d %H:%M:%S", "931107 00:00:00", "51107 00:00:00", "931107") == [seventh, bad, bad]
    assert read_with("%Y%m%d", "19931107", "1993117") == [seventh, bad]


def test_packed_dates_in_integers_get_their_zeros_back():
    assert read_with("%y%m%d", 931107, 51107, 101) == [
        "1993-11-07 00:00:00", "2005-11-07 00:00:00", "2000-01-01 00:00:00",
    ]  # fmt: skip
    assert read_with("%y%m%d", 931131, 9311070, -31107) == ["time_unparsable"] * 3
    assert read_with("%Y%m%d", 19931107) == ["1993-11-07 00:00:00"]


def test_parts_apart_need_no_zeros():
    found = read_with("%Y %m %d %H:%M", "2002 9 1 06:21", "2002 11 30 6:05", "2002 9 31 06:21")
    assert found == ["2002-09-01 06:21:00", "2002-11-30 06:05:00", "time_unparsable"]
    assert read_with("%d/%m/%Y %I:%M %p", "1/2/2024 5:06 PM") == ["2024-02-01 17:06:00"]


def test_seconds_since_1970_are_read_from_text_and_integers():
    assert read_with("%s", "1700000000", "0") == ["2023-11-14 22:13:20", "1970-01-01 00:00:00"]
    assert read_with("%s", 1700000000) == ["2023-11-14 22:13:20"]


def test_formats_that_cannot_be_read_are_refused_at_once():
    with pytest.raises(ValueError, match="format '%Y-%m-%d %H' cannot be read"):
        times(["2024-01-01 05"], format="%Y-%m-%d %H")


def test_numbers_without_a_format_are_no_times():
    with pytest.raises(SourceError, match="holds Int64 values"):
        times([931107])


def test_order_is_a_clock_of_seconds():
    reading = read_order(pl.Series("n", [0, 5, -1, None]), OrderColumn(order="n"))
    assert reading.values.to_physical().to_list() == [0, 5_000_000, None, None]
    assert reading.problem.to_list() == [None, None, "time_unparsable", None]


def test_map_renames_only_what_it_names():
    config = Attribute(name="k", column="k", kind="category", map={"a": "b", "b": "c", "7": "seven"})
    found = [read_attribute(pl.Series("k", cells), config, key="k").values for cells in ([" a", "b", "x", ""], [7, 8])]
    assert [values.to_list() for values in found] == [["b", "c", "x", None], ["seven", "8"]]


def test_events_one_second_apart_keep_their_gap():
    gap = times(["2100-01-01 00:00:00", "2100-01-01 00:00:01"]).values.to_physical().diff()[1]
    assert gap == 1_000_000


def test_labels_are_positive_negative_unknown_or_refused():
    config = LabelColumn(column="y", positive=["1", "Yes"], negative=["0", "No"], known_after_days=0)
    text = read_labels(pl.Series("y", ["1", "No", "", None, "maybe"]), config)
    assert text.values.to_list() == [1, 0, None, None, None]
    assert text.problem.to_list() == [None, None, None, None, "label_unknown_value"]
    assert read_labels(pl.Series("y", [1.0, 0.0, None]), config).values.to_list() == [1, 0, None]
    assert read_labels(pl.Series("y", [1, 0, 2]), config).problem.to_list() == [
        None,
        None,
        "label_unknown_value",
    ]


def test_numbers_and_categories_are_read():
    numbers = read_numbers(pl.Series("n", ["1.5", " 2 ", "", "x", "inf"]))
    assert numbers.values.to_list() == [1.5, 2.0, None, None, None]
    assert numbers.problem.to_list() == [None, None, None, "attribute_not_a_number", "attribute_not_a_number"]
    assert read_categories(pl.Series("c", [5411, None]), key="k").to_list() == ["5411", None]
    assert read_categories(pl.Series("c", [" food ", " ", "NA"]), key="k").to_list() == ["food", None, "NA"]
    with pytest.raises(SourceError, match="kind: number"):
        read_categories(pl.Series("c", [5411.0]), key="k")


@pytest.mark.parametrize(
    "card", ["4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "x4111111111111111y"]
)
def test_card_numbers_are_masked(card):
    shown = mask_values(pl.Series("v", [card, "a" * 100]))
    assert "1111" not in shown[0]
    assert len(shown[1]) == 40


def test_mask_covers_every_long_number_of_a_line():
    grouped = pl.Series(["4111.1111.1111.1111", "4111\u00a01111\u00a01111\u00a01111"])
    assert mask_long_numbers(grouped).to_list() == ["[masked]", "[masked]"]
    line = mask_long_numbers(pl.Series(["a;4111 1111 1111 1111;b;5500000000000004;99.50;2024-01-01"]))[0]
    assert line == "a;[masked];b;[masked];99.50;2024-01-01"
