"""Ways of writing numbers and times."""

import polars as pl
import pytest

from panther_pipeline.ledger.draft.numbers import find_number_style
from panther_pipeline.ledger.draft.profile import profile_column
from panther_pipeline.ledger.draft.times import find_time_style


def ones(values: list[str]) -> tuple[pl.Series, pl.Series]:
    return pl.Series(values), pl.Series([1] * len(values))


@pytest.mark.parametrize(
    ("values", "prefix", "decimal", "thousands"),
    [
        (["1.50", "-20.00", "3"], "", ".", ""),
        (["1,50", "-20,00", "1234,5"], "", ",", ""),
        (["1.234,56", "7,00"], "", ",", "."),
        (["$1,234.56", "$-7.00", "-$3.10"], "$", ".", ","),
        (["EUR 12,00", "EUR 7,10"], "EUR", ",", ""),
        (["1'234.50", "7.00"], "", ".", "'"),
        (["1 234,50", "7,00"], "", ",", " "),
    ],
)
def test_numbers_are_read_as_written(values, prefix, decimal, thousands):
    style = find_number_style(*ones(values))
    assert (style.prefix, style.decimal, style.thousands) == (prefix, decimal, thousands)
    assert not style.is_ambiguous


@pytest.mark.parametrize("values", [["1.234", "56.789"], ["1,234", "56,789"]])
def test_three_digits_behind_a_sign_are_ambiguous(values):
    assert find_number_style(*ones(values)).is_ambiguous


@pytest.mark.parametrize("values", [["DE12", "DE13"], ["M1", "M2"], ["a", "b"], ["1-2", "3-4"]])
def test_ids_are_no_numbers(values):
    assert find_number_style(*ones(values)) is None


@pytest.mark.parametrize(
    ("values", "format"),
    [
        (["2024-01-31", "2024-02-01"], None),
        (["2024-01-31T10:00:00Z", "2024-02-01T10:00:00+02:00"], None),
        (["31.01.2024", "01.02.2024"], "%d.%m.%Y"),
        (["31.01.24 10:15", "01.02.24 11:00"], "%d.%m.%y %H:%M"),
        (["01/31/2024", "02/01/2024"], "%m/%d/%Y"),
        (["31/01/2024", "01/02/2024"], "%d/%m/%Y"),
        (["01/31/2024 10:15 PM", "02/01/2024 01:05 AM"], "%m/%d/%Y %I:%M %p"),
        (["31-Jan-2024", "01-Feb-2024"], "%d-%b-%Y"),
        (["930101", "991231"], "%y%m%d"),
        (["20240131", "20240201"], "%Y%m%d"),
        (["931107 00:00:00", "940101 00:00:00"], "%y%m%d %H:%M:%S"),
        (["1700000000", "1700000999"], "epoch_s"),
        (["1700000000123", "1700000999123"], "epoch_ms"),
    ],
)
def test_times_are_read_as_written(values, format):
    style = find_time_style(*ones(values))
    assert style is not None
    assert style.format == format


def test_day_and_month_that_may_be_swapped_have_an_alternative():
    assert find_time_style(*ones(["01/02/2024", "03/04/2024"])).alternative == "%d/%m/%Y"
    assert find_time_style(*ones(["01/22/2024", "03/04/2024"])).alternative is None


@pytest.mark.parametrize("values", [["1234567", "7654321"], ["10", "20"], ["4111111111111111", "4222222222222222"]])
def test_plain_numbers_are_no_times(values):
    assert find_time_style(*ones(values)) is None


def test_profile_counts_and_masks():
    ids = profile_column(pl.Series("card", [f"41111111111{i:05d}" for i in range(100)]))
    assert ids.is_unique
    assert ids.examples() == ["9999999999999999"]
    column = profile_column(pl.Series("amount", ["1.50", "NA", "", None, "2.50", " "]))
    assert (column.num_rows, column.num_filled, column.sentinels) == (6, 2, ["NA"])
    assert profile_column(pl.Series("who", ["17850.0", "13047.0"])).is_float_id
