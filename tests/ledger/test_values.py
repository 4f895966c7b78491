"""Reading one column: exact or refused, never nearly right."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.reasons import Reason
from panther_pipeline.ledger.schema import LabelColumn, TimeColumn
from panther_pipeline.ledger.values import (
    mask_values,
    read_categories,
    read_ids,
    read_labels,
    read_money,
    read_numbers,
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


def read_one_amount(text):
    reading = read_money(pl.Series("a", [text]))
    return reading.values[0], reading.problem[0]


@pytest.mark.parametrize("id_", ["007", "NA", "null", "None", "nan", "4111111111111111111111", "1e5", "17850.0"])
def test_ids_are_kept_exactly(id_):
    assert read_ids(pl.Series("id", [id_, "x"]), key="k").to_list() == [id_, "x"]


def test_integer_ids_keep_all_digits():
    ids = [2**63 - 1, -(2**63), 9007199254740993, None]
    assert read_ids(pl.Series("id", ids), key="k").to_list() == [
        str(2**63 - 1),
        str(-(2**63)),
        "9007199254740993",
        None,
    ]


@pytest.mark.parametrize("empty", ["", " ", "\t", None])
def test_blank_ids_are_missing(empty):
    assert read_ids(pl.Series("id", [empty, "x"]), key="k").to_list() == [None, "x"]


@pytest.mark.parametrize("column", [[17850.0, 1.0], [True, False]])
def test_id_columns_that_lose_digits_are_refused(column):
    with pytest.raises(SourceError, match=r"column 'id' \(ledger.schema.user_id\).*must be text or an integer"):
        read_ids(pl.Series("id", column), key="ledger.schema.user_id")


def test_id_columns_in_scientific_notation_are_refused():
    with pytest.raises(SourceError, match="scientific notation in 1 of 2 rows, first in row 1"):
        read_ids(pl.Series("id", ["a", "4.11111E+15"]), key="k")


@given(st.decimals(min_value=-(10**14), max_value=10**14, places=2), st.sampled_from(["", "+", "0", "00"]))
def test_text_money_equals_decimal_arithmetic(amount, prefix):
    text = f"{amount:f}"
    text = f"-{prefix.lstrip('+')}{text[1:]}" if text.startswith("-") else prefix + text
    assert read_one_amount(text) == (int(amount * 100), None)


@given(st.integers(-(10**12), 10**12))
def test_float_money_finds_the_cents_it_came_from(cents):
    assert read_money(pl.Series("a", [cents / 100])).values[0] == cents


@given(st.text(alphabet="0123456789.,-+eExNainf_ $", max_size=12))
def test_text_money_is_exact_or_has_a_reason(text):
    cents, problem = read_one_amount(text)
    if cents is not None:
        assert problem is None
        assert Decimal(text.strip()) * 100 == cents
    else:
        assert problem in set(Reason) or not text.strip()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("NaN", "amount_not_finite"), ("inf", "amount_not_finite"), ("-inf", "amount_not_finite"),
        ("1e999", "amount_not_finite"), ("12,3x", "amount_not_a_number"), ("1,234.56", "amount_not_a_number"),
        ("$5", "amount_not_a_number"), ("1e3", "amount_not_a_number"), ("1_000", "amount_not_a_number"),
        ("--1", "amount_not_a_number"), (".", "amount_not_a_number"), ("٣", "amount_not_a_number"),
        ("1.005", "amount_not_in_cents"), ("9" * 30, "amount_out_of_range"), ("-" + "9" * 30,
        "amount_out_of_range"),
    ],
)  # fmt: skip
def test_bad_amounts_get_their_reason(text, reason):
    assert read_one_amount(text) == (None, reason)


@pytest.mark.parametrize(
    ("text", "cents"),
    [("5", 500), ("5.", 500), (".5", 50), ("-.05", -5), ("+1.2", 120), (" 4.20 ", 420), ("1.500", 150),
    ("-0.00", 0),
     ("000000000000000000012.3", 1230)],
)  # fmt: skip
def test_plain_decimals_of_any_form_are_read(text, cents):
    assert read_one_amount(text) == (cents, None)


def test_money_of_other_types_is_exact():
    assert read_money(pl.Series("a", [2, None])).values.to_list() == [200, None]
    assert read_money(pl.Series("a", [Decimal("0.29")])).values.to_list() == [29]
    floats = read_money(pl.Series("a", [float("nan"), float("inf"), 1e300, 0.29, None]))
    assert floats.values.to_list() == [None, None, None, 29, None]
    assert floats.problem.to_list() == [
        "amount_not_finite",
        "amount_not_finite",
        "amount_out_of_range",
        None,
        None,
    ]


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


@pytest.mark.parametrize("text", ["2023-02-29", "24-02-29", "2024-13-45 27:61:00", "2024-01-01T10:00:00+99:00", "1e9"])
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
