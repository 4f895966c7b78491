"""Money: exact cents or a reason, however it is written."""

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from panther_pipeline.ledger.columns import AmountColumn
from panther_pipeline.ledger.money import read_amounts, read_money
from panther_pipeline.ledger.reasons import Reason


def read_one_amount(text):
    reading = read_money(pl.Series("a", [text]))
    return reading.values[0], reading.problem[0]


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


def amounts(cells, **config):
    """(cents, problem) of each row; `cells` is a list of amounts or a dict of columns."""
    rows = pl.DataFrame(cells if isinstance(cells, dict) else {"a": cells})
    reading = read_amounts(rows, AmountColumn(column="a", **config))
    return list(zip(reading.values.to_list(), reading.problem.to_list(), strict=True))


NOT_A_NUMBER = (None, "amount_not_a_number")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("$-99.00", (-9900, None)), ("-$99.00", (-9900, None)), ("$134.09", (13409, None)), ("$ 5", (500, None)),
        ("+$5.5", (550, None)), ("134.09", (13409, None)), ("-$-99.00", NOT_A_NUMBER), ("$$5", NOT_A_NUMBER),
        ("5$", NOT_A_NUMBER), ("€5", NOT_A_NUMBER), ("$", NOT_A_NUMBER), ("$1.005", (None, "amount_not_in_cents")),
        ("$NaN", (None, "amount_not_finite")), ("$1e999", (None, "amount_not_finite")), ("", (None, None)),
    ],
)  # fmt: skip
def test_prefix_is_taken_off_on_either_side_of_the_sign(text, read):
    assert amounts([text, "$1.00"], prefix="$") == [read, (100, None)]


@pytest.mark.parametrize(
    ("text", "thousands", "decimal", "read"),
    [
        ("1.234,56", ".", ",", 123456), ("1.234.567,89", ".", ",", 123456789), ("-1.234,5", ".", ",", -123450),
        ("1.234", ".", ",", 123400), ("1,23", ".", ",", 123), ("1234,56", ".", ",", 123456),
        ("1.23", ".", ",", None), ("12.34,56", ".", ",", None), ("1.234,567", ".", ",", "amount_not_in_cents"),
        ("1 234,56", " ", ",", 123456), ("12 34,56", " ", ",", None), ("1  234", " ", ",", None),
        ("1,234.56", ",", ".", 123456), ("1,23,456", ",", ".", None), ("1,2345", ",", ".", None),
        ("1234,567", ",", ".", None), (",123", ",", ".", None), ("0,123", ",", ".", None), ("1,234,", ",", ".", None),
        ("1,234.56,7", ",", ".", None), ("1'234.56", "'", ".", 123456), ("12,34", "", ",", 1234),
        ("12.34", "", ",", None), ("1,2,3", "", ",", None), ("-,5", "", ",", -50),
    ],
)  # fmt: skip
def test_thousands_and_decimal_marks_are_read_as_declared(text, thousands, decimal, read):
    expected = (read, None) if isinstance(read, int) else (None, read or "amount_not_a_number")
    assert amounts([text], thousands=thousands, decimal=decimal) == [expected]


@given(st.integers(-(10**13), 10**13), st.sampled_from([",", ".", " ", "'", ""]), st.sampled_from([".", ","]))
def test_grouped_money_equals_what_was_written(cents, thousands, decimal):
    if thousands == decimal:
        return
    text = f"{abs(cents) // 100:,}".replace(",", thousands) + f"{decimal}{abs(cents) % 100:02}"
    text = f"{'-' if cents < 0 else ''}€{text}"
    assert amounts([text], prefix="€", thousands=thousands, decimal=decimal) == [(cents, None)]


def test_marks_that_mean_two_things_are_refused():
    with pytest.raises(ValidationError, match=r"decimal and thousands are both '\.'"):
        AmountColumn(column="a", thousands=".")


@pytest.mark.parametrize("prefix", ["$", "€", "EUR", "R$", "^", " ", "<", "(+", "\\", "#"])
def test_prefix_is_taken_literally(prefix):
    assert amounts([f"{prefix}5.00", f"-{prefix}5.00"], prefix=prefix) == [(500, None), (-500, None)]


def test_typed_amounts_need_no_marks():
    assert amounts([1.5, -2.0], prefix="$", thousands=",") == [(150, None), (-200, None)]
    assert amounts([3, None]) == [(300, None), (None, None)]


SIGN = {"column": "type", "negative": ["VYDAJ", "D"], "positive": ["PRIJEM"]}


def test_sign_stands_in_another_column():
    rows = {"a": ["5", "5", "5", "5", "-5", "0", "-0.00", None, "x"],
            "type": ["VYDAJ", " PRIJEM", "else", None, "D", "D", "D", "else", "else"]}  # fmt: skip
    unknown = (None, "amount_sign_unknown")
    expected = [(-500, None), (500, None), unknown, unknown, unknown, (0, None), (0, None), (None, None), NOT_A_NUMBER]
    assert amounts(rows, sign=SIGN) == expected


def test_sign_that_means_both_is_refused():
    with pytest.raises(ValidationError, match=r"none twice; in both: \['D'\]"):
        AmountColumn(column="a", sign={"column": "type", "negative": ["D"], "positive": ["D"]})


def test_price_times_quantity_is_exact():
    rows = {"a": ["2.55", "0.29", "2.55", "2.55", "2.55", None, None, "x", "1.005"],
            "n": ["6", "-3", "1.5", None, "six", "six", "2", "six", "2"]}  # fmt: skip
    expected = [(1530, None), (-87, None), NOT_A_NUMBER, (None, None), NOT_A_NUMBER, (None, None), (None, None)]
    assert amounts(rows, times="n") == [*expected, NOT_A_NUMBER, (None, "amount_not_in_cents")]
    assert amounts({"a": [2.55], "n": [6]}, times="n") == [(1530, None)]


def test_product_beyond_any_amount_is_out_of_range():
    rows = {"a": ["999999999999.99", "999999999999.99", "1"], "n": ["999999999", "-999999999", "+7"]}
    assert amounts(rows, times="n") == [(None, "amount_out_of_range")] * 2 + [(700, None)]


@given(st.integers(-(10**9), 10**9), st.integers(-(10**6), 10**6))
def test_products_equal_decimal_arithmetic(cents, factor):
    text = f"{Decimal(cents) / 100:.2f}"
    assert amounts({"a": [text], "n": [str(factor)]}, times="n") == [(cents * factor, None)]


def test_other_currencies_are_refused():
    rows = {"a": ["5", "5", "5", "", "x"], "c": ["EUR", "USD", None, "USD", "USD"]}
    other = (None, "currency_not_allowed")
    expected = [(500, None), other, other, (None, None), NOT_A_NUMBER]
    assert amounts(rows, currency={"column": "c", "only": "EUR"}) == expected


def test_all_declarations_work_together():
    rows = {"a": ["€1.234,50", "€1.234,50", "€1.234,50"], "type": ["D", "PRIJEM", "D"], "n": ["2", "2", "-2"],
            "c": ["EUR", "EUR", "EUR"]}  # fmt: skip
    config = {"prefix": "€", "thousands": ".", "decimal": ",", "times": "n", "sign": SIGN}
    found = amounts(rows, **config, currency={"column": "c", "only": "EUR"})
    assert found == [(-246900, None), (246900, None), (None, "amount_sign_unknown")]


def test_usual_and_unusual_writing_are_read_alike():
    usual = ["12.34", "-0.05", "0.00", None, "9999999999999.99"]
    mixed = read_money(pl.Series("a", [*usual, "+1"]))
    assert read_money(pl.Series("a", usual)).values.to_list() == mixed.values.to_list()[:-1]
    assert mixed.values[-1] == 100
