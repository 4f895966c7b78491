"""Read one source column exactly: ids, instants, money, numbers, labels. Vectorised; nothing is guessed.

Each reader gives the values and, row by row, what was wrong: a reason code, or null. An empty cell is null
and no problem here: whether a value may be missing is for quarantine to say.
"""

from typing import NamedTuple

import polars as pl

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.reasons import Reason
from panther_pipeline.ledger.schema import LabelColumn, TimeColumn

# Digits are [0-9] throughout: \d would take those of every script.
# Excel and float round trips write long ids as "4.12345E+15"; the digits after that are lost for good.
SCIENTIFIC_ID = r"^[+-]?[0-9](\.[0-9]+)?[eE]\+[0-9]+$"
_MOST_DESTROYED_IDS = 0.01  # above this share the whole column is at fault, not single rows
_PLAIN_DECIMAL = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)$"
_ISO_TIME = (  # day, hours and minutes, seconds, offset from UTC
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ]([0-9]{2}:[0-9]{2})"
    r"(:[0-9]{2}(?:\.[0-9]{1,9})?)?(Z|[+-](?:0[0-9]|1[0-4]):?[0-5][0-9])?)?$"
)
_LONG_NUMBER = r"[0-9](?:[ -]?[0-9]){11,}"
_MOST_CENTS = 10**17  # far below the int64 limit, so that no sum of two amounts overflows


class Reading(NamedTuple):
    """A column as read."""

    values: pl.Series
    problem: pl.Series  # text: a Reason, or null


def read_text(column: pl.Series) -> pl.Series:
    """Text with surrounding white space removed; an empty cell becomes null."""
    text = column.cast(pl.String).str.strip_chars()
    return text.replace("", None)


def read_ids(column: pl.Series, *, key: str) -> pl.Series:
    """Identifiers as exact text: '007', 'NA' and 'null' stay what they are; integers keep all digits.

    Args:
        column: text or integers.
        key: the configuration key that names the column, for the error.

    Raises:
        SourceError: a column of floats, or one whose ids are written in scientific notation: digits are lost
            already.
    """
    where = f"column '{column.name}' ({key})"
    if column.dtype.is_integer() or column.dtype == pl.Null:
        return column.cast(pl.String)
    if not isinstance(column.dtype, pl.String | pl.Categorical | pl.Enum):
        raise SourceError(
            f"{where} holds {column.dtype} values: an id must be text or an integer, since a float "
            "keeps 15 digits only and turns 007 into 7.0. Read the column as text in the catalog "
            "(for CSV: `infer_schema: false`)."
        )
    ids = column.cast(pl.String)
    destroyed = ids.str.contains(SCIENTIFIC_ID).fill_null(False)
    if destroyed.sum() > _MOST_DESTROYED_IDS * max(ids.drop_nulls().len(), 1):
        raise SourceError(
            f"{where} is written in scientific notation in {destroyed.sum()} of {ids.len()} rows, first "
            f"in row {destroyed.arg_max()}: the digits after it are lost, so different ids have become one. "
            "Export the file again with this column as text."
        )
    return pl.select(pl.when(ids.str.strip_chars() != "").then(ids)).to_series().rename(column.name)


def read_times(column: pl.Series, config: TimeColumn) -> Reading:
    """Instants in UTC, microseconds.

    Args:
        column: datetimes, dates, text, or integers that `config.format` describes (such as 931107).
        config: format of text; the zone of naive times.

    Returns:
        datetime[us, UTC]; problems time_unparsable, time_ambiguous (clocks were set back) and
        time_nonexistent.

    Raises:
        SourceError: numbers without a format.
    """
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone:
        return Reading(column.dt.convert_time_zone("UTC").dt.cast_time_unit("us"), _nothing(column))
    if isinstance(column.dtype, pl.Datetime | pl.Date):
        present, naive, offset_us = column.is_not_null(), column.cast(pl.Datetime("us")), None
    else:
        if column.dtype.is_numeric() and not (column.dtype.is_integer() and config.format):
            raise SourceError(
                f"column '{column.name}' (ledger.schema.event_time.column) holds {column.dtype} values: "
                "a time must be a datetime, or text or an integer described by "
                "ledger.schema.event_time.format."
            )
        text = read_text(column)
        present = text.is_not_null()
        naive, offset_us = _parse_text_times(text, config.format)
        if isinstance(naive.dtype, pl.Datetime) and naive.dtype.time_zone:  # a format with %z
            return Reading(
                naive.dt.convert_time_zone("UTC"),
                _problem_where(present & naive.is_null(), Reason.TIME_UNPARSABLE),
            )
    first = naive.dt.replace_time_zone(config.zone, ambiguous="earliest", non_existent="null")
    instants = naive.dt.replace_time_zone(config.zone, ambiguous="null", non_existent="null").dt.convert_time_zone(
        "UTC"
    )
    if offset_us is not None:  # the text states its own offset: the declared zone does not apply
        stated = naive.dt.replace_time_zone("UTC") - offset_us
        instants = pl.select(pl.when(offset_us.is_not_null()).then(stated).otherwise(instants)).to_series()
    problem = pl.select(
        pl.when(~present | instants.is_not_null()).then(None)
        .when(naive.is_null()).then(pl.lit(Reason.TIME_UNPARSABLE.value))
        .when(first.is_null()).then(pl.lit(Reason.TIME_NONEXISTENT.value))
        .otherwise(pl.lit(Reason.TIME_AMBIGUOUS.value))
    ).to_series()  # fmt: skip
    return Reading(instants.rename(column.name), problem)


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
    text = read_text(column)
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
    return Reading(cents.rename(column.name), checked["problem"])


def read_numbers(column: pl.Series) -> Reading:
    """Attributes declared as number, float64; what is not a finite number is attribute_not_a_number."""
    source = column if column.dtype.is_numeric() else read_text(column)
    numbers = source.cast(pl.Float64, strict=False)
    bad = source.is_not_null() & ~numbers.is_finite().fill_null(False)
    values = pl.select(pl.when(~bad).then(numbers)).to_series()
    return Reading(values.rename(column.name), _problem_where(bad, Reason.ATTRIBUTE_NOT_A_NUMBER))


def read_categories(column: pl.Series, *, key: str) -> pl.Series:
    """Categories as text without surrounding white space; integers keep all digits, an empty cell is null.

    Raises:
        SourceError: a column of floats, whose text ('5411.0') depends on who wrote it.
    """
    if column.dtype.is_float() or column.dtype.is_nested():
        raise SourceError(
            f"column '{column.name}' ({key}) holds {column.dtype} values: a category must be text or an "
            "integer. Declare it as `kind: number`, or read it as text in the catalog."
        )
    return read_text(column)


def read_labels(column: pl.Series, config: LabelColumn) -> Reading:
    """Labels as int8 1, 0 or null (empty: not known); a value in neither list is label_unknown_value."""
    whole = column.dtype.is_float() and bool((column.drop_nulls() % 1 == 0).all())
    text = read_text(column.cast(pl.Int64) if whole else column)  # 0.0 and 1.0 are read as 0 and 1
    positive, negative = text.is_in(config.positive), text.is_in(config.negative)
    values = pl.select(pl.when(positive).then(1).when(negative).then(0).cast(pl.Int8)).to_series()
    unknown = text.is_not_null() & values.is_null()
    return Reading(values.rename(column.name), _problem_where(unknown, Reason.LABEL_UNKNOWN_VALUE))


def mask_values(column: pl.Series) -> pl.Series:
    """Values as they may be shown: runs of 12 digits or more (card numbers) masked, cut to 40 characters."""
    text = column.cast(pl.String, strict=False)
    return text.str.replace_all(_LONG_NUMBER, "[masked]").str.slice(0, 40)


def _parse_text_times(text: pl.Series, format: str | None) -> tuple[pl.Series, pl.Series | None]:
    """Naive times, and for ISO text the stated offset from UTC (null where none is stated)."""
    if format:
        return text.str.to_datetime(format, time_unit="us", strict=False), None
    day, clock, seconds, offset = (pl.col("parts").struct.field(str(i)) for i in (1, 2, 3, 4))
    full = pl.concat_str([day, pl.lit(" "), clock.fill_null("00:00"), seconds.fill_null(":00")])
    digits = offset.str.replace_all(r"[Z:+-]", "").str.pad_end(4, "0")
    minutes = digits.str.slice(0, 2).cast(pl.Int64) * 60 + digits.str.slice(2, 2).cast(pl.Int64)
    sign = pl.when(offset.str.starts_with("-")).then(-1).otherwise(1)
    times = pl.DataFrame({"parts": text.str.extract_groups(_ISO_TIME)}).select(
        naive=full.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False),
        offset=pl.duration(minutes=sign * minutes, time_unit="us"),
    )
    return times["naive"], times["offset"]


def _read_float_money(column: pl.Series) -> Reading:
    # Half to even, so that rounding has no drift; a float such as 0.29 is 28.999..., hence rounding at all.
    cents = (column.cast(pl.Float64) * 100).round(0, mode="half_to_even")
    finite = column.is_finite()
    small = cents.abs() < _MOST_CENTS
    problem = pl.select(
        pl.when(~finite).then(pl.lit(Reason.AMOUNT_NOT_FINITE.value))
        .when(~small).then(pl.lit(Reason.AMOUNT_OUT_OF_RANGE.value))
    ).to_series()  # fmt: skip
    values = pl.select(pl.when(finite & small).then(cents)).to_series().cast(pl.Int64)
    return Reading(values.rename(column.name), problem)


def _problem_where(bad: pl.Series, reason: Reason) -> pl.Series:
    return pl.select(pl.when(bad).then(pl.lit(reason.value)).otherwise(pl.lit(None, dtype=pl.String))).to_series()


def _nothing(column: pl.Series) -> pl.Series:
    return pl.repeat(None, column.len(), dtype=pl.String, eager=True)
