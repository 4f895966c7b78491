"""The rules as such; what a request or a frame makes of each is in their own tests."""

from decimal import Decimal

import pytest

from panther_pipeline.online.event_values import (
    RefusedValueError,
    check_instant,
    check_number,
    in_units,
    read_amount,
    read_category,
    read_id,
    read_instant,
    write_instant,
)

DAY = 86_400_000_000


@pytest.mark.parametrize(
    ("read", "value", "reason", "allowed"),
    [
        (read_id, 7, "not_text", "text, as in the ledger"),
        (read_id, "u" * 129, "wrong_length", "1 to 128 characters"),
        (read_id, "a\x85b", "control_character", "no control characters"),
        (read_id, " u-4711", "malformed_id", "without white space"),
        (read_id, "4.12345E+15", "malformed_id", "not a rounded number"),
        (read_category, "c" * 257, "wrong_length", "1 to 256 characters"),
        (read_category, "a\ud800", "control_character", "writable in UTF-8"),
        (check_number, True, "not_a_number", "a number of at most"),
        (check_number, "1", "not_a_number", "a number of at most"),
        (check_number, float("nan"), "out_of_range", "a number of at most"),
        (check_number, Decimal("NaN"), "out_of_range", "a number of at most"),
        (check_number, -(10**19), "out_of_range", "a number of at most"),
        (read_instant, "2023-11-14T22:13:19", "not_an_instant_with_offset", "seconds and an offset"),
        (read_instant, "2023-02-29T00:00:00Z", "no_such_instant", "there is no such instant"),
    ],
)
def test_value_is_refused_with_a_code_and_in_words(read, value, reason, allowed):
    with pytest.raises(RefusedValueError, match=allowed) as refused:
        read(value)
    assert refused.value.reason == reason
    assert not isinstance(value, str) or len(value) < 3 or value not in str(refused.value)


@pytest.mark.parametrize(
    ("amount", "reason"), [(12.5, "not_an_amount"), ("0.125", "not_an_amount"), ("2.01", "out_of_range")]
)
def test_amount_is_refused_with_its_range_in_words(amount, reason):
    with pytest.raises(RefusedValueError, match=r"at most 2 decimals, -0\.05 to 2\.00$") as refused:
        read_amount(amount, -5, 200)
    assert refused.value.reason == reason


@pytest.mark.parametrize("cents", [-(10**17 - 1), -1, 0, 29, 10**17 - 1])
def test_amounts_are_read_as_they_are_written(cents):
    assert read_amount(in_units(cents), -(10**17), 10**17) == cents


@pytest.mark.parametrize("time_us", [-1, 0, 1, 1_700_000_000_000_001])
def test_instants_are_read_as_they_are_written(time_us):
    assert read_instant(write_instant(time_us)) == time_us


def test_instant_outside_the_ledger_is_refused_with_both_ends():
    check_instant(0, 0, DAY)
    check_instant(DAY, 0, DAY)
    with pytest.raises(RefusedValueError, match=r"between 1970-01-01T00:00:00\+00:00 and 1970-01-02T00:00:00\+00:00"):
        check_instant(DAY + 1, 0, DAY)
