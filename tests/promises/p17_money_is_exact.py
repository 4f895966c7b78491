"""P17: money is exact to the cent and finite, or quarantined; a million amounts add up to what `Decimal` says."""

from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from panther_pipeline.ledger import money
from panther_pipeline.ledger.values import Reading, no_problem

NUM_AMOUNTS = 1_000_000
WRITINGS = {
    "12.34": {"column": "amount"},
    "$-1,234.56": {"column": "amount", "prefix": "$", "thousands": ","},
    "-1.234,56": {"column": "amount", "decimal": ",", "thousands": "."},
    "a binary float": {"column": "amount"},
    "price times quantity": {"column": "amount", "times": "quantity"},
}


def make_table(amounts: pl.Series, **more: pl.Series) -> pl.DataFrame:
    table = pl.DataFrame({"amount": amounts, **more}).with_row_index("id").cast({"id": pl.String})
    return table.with_columns(user=pl.lit("u"), time=pl.lit("2024-01-01"), shop=pl.lit("s"), kind=pl.lit("k"))


def written(writing: str, seed: int = 17, number: int = NUM_AMOUNTS) -> tuple[pl.DataFrame, int]:
    """A ledger of random amounts, and their sum in cents after `Decimal`."""
    rng = np.random.default_rng(seed)
    # Many magnitudes, for small amounts beside large ones are where float sums lose cents.
    cents = np.round(10 ** rng.uniform(0, 8, number)).astype(np.int64) * rng.choice([-1, 1], number)
    texts = [f"{'-' * (c < 0)}{abs(c) // 100}.{abs(c) % 100:02}" for c in cents.tolist()]
    factors = rng.integers(1, 1000, number) if writing == "price times quantity" else np.ones(number, dtype=np.int64)
    total = sum(Decimal(text) * factor for text, factor in zip(texts, factors.tolist(), strict=True))
    if writing == "$-1,234.56":
        texts = [f"${Decimal(text):,}" for text in texts]
    if writing == "-1.234,56":
        texts = [f"{Decimal(text):,}".translate(str.maketrans(",.", ".,")) for text in texts]
    amounts = pl.Series([float(t) for t in texts]) if writing == "a binary float" else pl.Series(texts)
    return make_table(amounts, quantity=pl.Series(factors)), int(total * 100)


def cents_off(settle, table: pl.DataFrame, total: int, config: dict) -> int:
    log = settle(table, amount=config, tie_break=[]).log
    return abs(log["amount_cents"].sum() - total) + (table.height - log.height)


@pytest.mark.parametrize("writing", WRITINGS)
def test_sum_of_many_amounts_is_that_of_decimals(writing, settle):
    number = NUM_AMOUNTS if writing == "12.34" else NUM_AMOUNTS // 10
    off = cents_off(settle, *written(writing, number=number), WRITINGS[writing])
    print(f"\nP17 {off} cents off in the sum of {number:,} amounts written as {writing} / 0")
    assert off == 0


REFUSED = {
    "NaN": "amount_not_finite", "nan": "amount_not_finite", "inf": "amount_not_finite", "+inf": "amount_not_finite",
    "-inf": "amount_not_finite", "Infinity": "amount_not_finite", "1e999": "amount_not_finite",
    "-1e999": "amount_not_finite", "1e13": "amount_not_a_number", "12,34": "amount_not_a_number",
    "1.234,56": "amount_not_a_number", "1,234.56": "amount_not_a_number", "0x1F": "amount_not_a_number",
    "1_000": "amount_not_a_number", "5 EUR": "amount_not_a_number", "€5": "amount_not_a_number",
    "(5.00)": "amount_not_a_number", "5-": "amount_not_a_number", "٥": "amount_not_a_number",
    ".": "amount_not_a_number",
    "0.001": "amount_not_in_cents", "1" + "0" * 16: "amount_out_of_range", "": "missing_amount", " ": "missing_amount",
}  # fmt: skip
ACCEPTED = {
    "10000000000000": 10**15, "-10000000000000.01": -(10**15) - 1, "-0.01": -1, "-5": -500, "+5": 500, "0": 0,
    "-0.00": 0, "0.10": 10, "1.500": 150, "999999999999999": 99_999_999_999_999_900,
}  # fmt: skip


def test_no_amount_is_accepted_that_is_not_finite_and_exact(settle):
    texts = [*REFUSED, *ACCEPTED]
    settled = settle(make_table(pl.Series(texts)))
    assert dict(zip(texts, settled.quarantined["reason"], strict=False)) == REFUSED
    by_row = settled.valid_events.sort("source_row")["amount_cents"].to_list()
    assert by_row == list(ACCEPTED.values())
    accepted = len(texts) - settled.quarantined.height - len(ACCEPTED)
    print(f"\nP17 {accepted} of {len(REFUSED)} amounts that are none accepted / 0")


def test_no_float_is_accepted_that_is_not_finite(settle):
    floats = [float("nan"), float("inf"), -float("inf"), 1e300, 1e16, 0.29, -0.005, 1e13, None]
    settled = settle(make_table(pl.Series(floats)))
    reasons = settled.quarantined.sort("source_row")["reason"].to_list()
    finite, large = "amount_not_finite", "amount_out_of_range"
    assert reasons == [finite, finite, finite, large, large, "missing_amount"]
    assert settled.valid_events.sort("source_row")["amount_cents"].to_list() == [29, 0, 10**15]


def test_currencies_are_never_mixed(settle):
    currency = pl.Series(["EUR", "USD", "EUR", None, "eur", "EUR "])
    amount = {"column": "amount", "currency": {"column": "currency", "only": "EUR"}}
    settled = settle(make_table(pl.Series(["1.00"] * 6), currency=currency), amount=amount)
    assert settled.valid_events["source_row"].to_list() == [0, 2, 5]
    assert set(settled.quarantined["reason"]) == {"currency_not_allowed"}


def test_guard_notices_money_in_floats(settle, monkeypatch):
    def through_a_float(column):
        cents = (column.cast(pl.Float64) * 100).cast(pl.Int64)  # the sabotage: 0.29 * 100 is 28.999...
        return Reading(cents, no_problem(column))

    table, total = written("12.34", number=1000)
    assert cents_off(settle, table, total, WRITINGS["12.34"]) == 0
    monkeypatch.setattr(money, "read_money", through_a_float)
    assert cents_off(settle, table, total, WRITINGS["12.34"]) > 0
