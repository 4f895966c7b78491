import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panther_pipeline.serving.strict_json import MAX_DEPTH, MalformedJson, parse_json


def reason_of(raw: bytes) -> str:
    with pytest.raises(MalformedJson) as refused:
        parse_json(raw)
    return refused.value.reason


def test_parser_reads_decimals_exactly():
    assert parse_json(b'{"a": 0.29, "b": 12, "c": [true, null, "x"]}') == {
        "a": Decimal("0.29"),
        "b": 12,
        "c": [True, None, "x"],
    }
    assert type(parse_json(b"12")) is int
    assert float(parse_json(b"5e-324")) == 5e-324


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"NaN", "not_finite"),
        (b'{"a": Infinity}', "not_finite"),
        (b"[-Infinity]", "not_finite"),
        (b"1e999", "number_too_large"),
        (b"1e-999", "number_too_large"),
        (b"0e999", "number_too_large"),
        (b"9" * 5000, "number_too_large"),
        (b"-" + b"9" * 32, "number_too_large"),
        (b"0." + b"1" * 40, "number_too_large"),
        (b'{"a": 1, "a": 1}', "duplicate_key"),
        (b'{"b": {"a": 1, "\\u0061": 2}}', "duplicate_key"),
        (b'"\\ud800"', "unusable_character"),
        (b'{"\\udfff": 1}', "unusable_character"),
        (b'["\\u0000"]', "unusable_character"),
        (b'"\x00"', "not_json"),
        (b'"\xff"', "not_utf8"),
        (b'"\xed\xa0\x80"', "not_utf8"),
        (b"\xef\xbb\xbf{}", "not_json"),
        ("{}".encode("utf-16"), "not_utf8"),
        (b"", "not_json"),
        (b"{} {}", "not_json"),
        (b"{'a': 1}", "not_json"),
        (b"[1,]", "not_json"),
        (b"01", "not_json"),
        (b"[" * 9 + b"]" * 9, "too_deep"),
        (b'{"a":' * 9 + b"1" + b"}" * 9, "too_deep"),
        (b"[" * 60_000, "too_deep"),
        (b"[" * 60_000 + b"]" * 60_000, "too_deep"),
    ],
)
def test_parser_refuses_what_others_read_in_two_ways(raw, reason):
    assert reason_of(raw) == reason


def test_parser_accepts_what_is_just_deep_enough():
    assert parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert parse_json(b"[" + b"{}," * 100 + b"[]]")  # many brackets, none of them deep
    assert parse_json(b'"\\ud83d\\ude00"') == "😀"  # a pair of surrogates is a character


@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_parser_ends_in_a_value_or_a_reason(raw):
    with contextlib.suppress(MalformedJson):  # anything else would be answered 500
        parse_json(raw)
