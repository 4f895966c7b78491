"""Money as integer cents, exactly: what the text says, its sign from another column, price times quantity."""

import re

import polars as pl

from panther_pipeline.ledger.cells import text_of
from panther_pipeline.ledger.columns import AmountColumn
from panther_pipeline.ledger.reasons import Reason
from panther_pipeline.ledger.values import Reading, no_problem

_PLAIN_DECIMAL = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)$"
_USUAL = r"^-?[0-9]{1,13}\.[0-9]{2}$"  # what nearly every export writes; digits alone are then the cents
_WHOLE = r"^[+-]?[0-9]{1,9}$"  # a quantity
_MOST_CENTS = 10**17  # far below the int64 limit, so that no sum of two amounts overflows


def read_amounts(rows: pl.DataFrame, config: AmountColumn) -> Reading:
    """The amount of each row in signed cents.

    Args:
        rows: a batch with the columns of `config.columns`.
        config: how the text is written, where its sign and its factor stand, which currency is allowed.

    Returns:
        int64 cents; problems as of `read_money`, and amount_not_a_number (a factor that is no whole number),
        amount_sign_unknown (a value in neither list, or a sign both in the text and in the sign column),
        currency_not_allowed.
    """
    column = rows[config.column]
    if not column.dtype.is_numeric() and (config.prefix or config.thousands or config.decimal != "."):
        column = _plain_text(text_of(column), config)
    reading = read_money(column)
    if config.times:
        reading = _multiply(reading, rows[config.times])
    if config.sign:
        reading = _apply_sign(reading, text_of(rows[config.sign.column]), config)
    if config.currency:
        other = (text_of(rows[config.currency.column]) != config.currency.only).fill_null(True)
        reading = _fail_where(reading, other & reading.values.is_not_null(), Reason.CURRENCY_NOT_ALLOWED)
    return reading


def read_money(column: pl.Series) -> Reading:
    """Amounts as int64 cents. Text and decimals are exact; floats are rounded half to even.

    Returns:
        int64 cents; problems amount_not_a_number, amount_not_finite, amount_not_in_cents (more than two
        decimals) and amount_out_of_range (beyond 10**15 units, which int64 sums could not hold safely).

    Example:
        >>> read_money(pl.Series(["0.29", "-1234.5", "1.005", "12,3"])).values.to_list()
        [29, -123450, None, None]
    """
    if column.dtype.is_float():
        return _read_float_money(column)
    text = text_of(column)
    is_usual = text.str.contains(_USUAL).fill_null(True)  # an empty cell is no problem here
    if is_usual.all():
        return Reading(_usual_cents(text).rename(column.name), no_problem(column))
    odd = (~is_usual).arg_true()
    rest = _read_any_money(text[odd])
    cents = _usual_cents(text.set(~is_usual, None)).scatter(odd, rest.values)
    return Reading(cents.rename(column.name), no_problem(column).scatter(odd, rest.problem))


def _usual_cents(text: pl.Series) -> pl.Series:
    return text.str.replace(".", "", literal=True).cast(pl.Int64)


def _read_any_money(text: pl.Series) -> Reading:
    parts = pl.DataFrame({"text": text}).select(
        "text",
        plain=pl.col("text").str.contains(_PLAIN_DECIMAL),
        number=pl.col("text").str.replace_all("_", "x").cast(pl.Float64, strict=False),
        negative=pl.col("text").str.starts_with("-"),
        whole=pl.col("text").str.extract(r"^[+-]?0*([0-9]*)").replace("", "0"),
        fraction=pl.col("text").str.extract(r"\.([0-9]*)$").fill_null("").str.strip_chars_end("0"),
    )
    whole = pl.col("whole").cast(pl.Int64, strict=False)
    magnitude = pl.when(pl.col("whole").str.len_bytes() <= 15).then(
        whole * 100 + pl.col("fraction").str.pad_end(2, "0").cast(pl.Int64, strict=False)
    )
    checked = parts.with_columns(
        problem=pl.when(pl.col("text").is_null()).then(None)
        .when(pl.col("plain") & (pl.col("fraction").str.len_bytes() > 2))
        .then(pl.lit(Reason.AMOUNT_NOT_IN_CENTS.value))
        .when(pl.col("plain") & magnitude.is_null()).then(pl.lit(Reason.AMOUNT_OUT_OF_RANGE.value))
        .when(pl.col("plain")).then(None)
        .when(~pl.col("number").is_finite()).then(pl.lit(Reason.AMOUNT_NOT_FINITE.value))
        .otherwise(pl.lit(Reason.AMOUNT_NOT_A_NUMBER.value)),
        signed=pl.when(pl.col("negative")).then(-magnitude).otherwise(magnitude),
    )  # fmt: skip
    cents = checked.select(pl.when(pl.col("plain") & pl.col("problem").is_null()).then("signed")).to_series()
    return Reading(cents.rename(text.name), checked["problem"])


def _plain_text(text: pl.Series, config: AmountColumn) -> pl.Series:
    """The declared way of writing turned into a plain decimal; what does not follow it stays unreadable."""
    if config.prefix:
        text = text.str.replace(rf"^([+-]?)\s*{re.escape(config.prefix)}\s*([+-]?)(.)", "${1}${2}${3}")
    decimal, thousands = re.escape(config.decimal), re.escape(config.thousands)
    if config.thousands:
        grouped = text.str.contains(rf"^[+-]?[1-9][0-9]{{0,2}}({thousands}[0-9]{{3}})+({decimal}[0-9]*)?$")
        taken_out = text.str.replace_all(config.thousands, "", literal=True)
        text = pl.select(pl.when(grouped).then(taken_out).otherwise(text)).to_series().rename(text.name)
    if config.decimal != ".":
        # A point that is left over here is no decimal sign: 1.234 must not become 1.23 and a bit.
        text = text.str.replace_all(".", "x", literal=True).str.replace(config.decimal, ".", literal=True)
    return text


def _multiply(reading: Reading, factor: pl.Series) -> Reading:
    text = text_of(factor)
    whole = text.str.contains(_WHOLE).fill_null(False)
    number = pl.select(pl.when(whole).then(text)).to_series().cast(pl.Int64)
    too_large = (reading.values.cast(pl.Float64) * number.cast(pl.Float64)).abs() >= _MOST_CENTS
    product = pl.select(pl.when(~too_large).then(reading.values * number)).to_series().rename(reading.values.name)
    result = Reading(product, reading.problem)
    has_both = text.is_not_null() & reading.values.is_not_null()
    result = _fail_where(result, has_both & ~whole, Reason.AMOUNT_NOT_A_NUMBER)
    return _fail_where(result, too_large.fill_null(False), Reason.AMOUNT_OUT_OF_RANGE)


def _apply_sign(reading: Reading, text: pl.Series, config: AmountColumn) -> Reading:
    negative, positive = text.is_in(config.sign.negative), text.is_in(config.sign.positive)
    signed = pl.select(pl.when(negative).then(-reading.values).otherwise(reading.values)).to_series()
    unknown = ~(negative | positive).fill_null(False) | (reading.values < 0).fill_null(False)
    result = Reading(signed.rename(reading.values.name), reading.problem)
    # An amount that is empty or unreadable has that fault alone.
    return _fail_where(result, unknown & reading.values.is_not_null(), Reason.AMOUNT_SIGN_UNKNOWN)


def _fail_where(reading: Reading, fails: pl.Series, reason: Reason) -> Reading:
    if not fails.any():
        return reading
    values = pl.select(pl.when(~fails).then(reading.values)).to_series().rename(reading.values.name)
    first = pl.coalesce(reading.problem, pl.lit(reason.value))
    return Reading(values, pl.select(pl.when(fails).then(first).otherwise(reading.problem)).to_series())


def _read_float_money(column: pl.Series) -> Reading:
    # Half to even, so that rounding has no drift; a float such as 0.29 is 28.999..., hence rounding at all.
    cents = (column.cast(pl.Float64) * 100).round(0, mode="half_to_even")
    usable = column.is_finite() & (cents.abs() < _MOST_CENTS)
    if usable.all():
        return Reading(cents.cast(pl.Int64).rename(column.name), no_problem(column))
    finite = column.is_finite()
    problem = pl.select(
        pl.when(~finite).then(pl.lit(Reason.AMOUNT_NOT_FINITE.value))
        .when(~usable).then(pl.lit(Reason.AMOUNT_OUT_OF_RANGE.value))
    ).to_series()  # fmt: skip
    values = pl.select(pl.when(usable).then(cents)).to_series().cast(pl.Int64)
    return Reading(values.rename(column.name), problem)
