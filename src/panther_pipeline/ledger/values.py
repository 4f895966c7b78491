"""Read one source column exactly: instants, numbers, categories, labels. Vectorised; nothing is guessed.

Each reader gives the values and, row by row, what was wrong: a reason code, or null. An empty cell is null
and no problem here: whether a value may be missing is for quarantine to say.
"""

import re
from functools import cache
from typing import NamedTuple

import polars as pl

from panther_pipeline.cards.numbers import SEPARATOR
from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.cells import text_of
from panther_pipeline.ledger.columns import Attribute, LabelColumn, OrderColumn, TimeColumn
from panther_pipeline.ledger.reasons import Reason

# Digits are [0-9] throughout: \d would take those of every script.
_ISO_TIME = (  # day, hours and minutes, seconds, offset from UTC
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ]([0-9]{2}:[0-9]{2})"
    r"(:[0-5][0-9](?:\.[0-9]{1,9})?)?(Z|[+-](?:0[0-9]|1[0-4]):?[0-5][0-9])?)?$"
)
# Formats of whole numbers that count from 1970-01-01 UTC: what one of them is, in microseconds.
EPOCH_FORMATS = {
    "epoch_us": 1, "epoch_ms": 1000, "epoch_s": 1_000_000, "epoch_h": 3_600_000_000, "epoch_d": 86_400_000_000,
}  # fmt: skip
_MOST_EPOCH_US = 253_402_300_800_000_000  # the year 10000, beyond which no date is
_DIGITS_OF_CODE = {"%Y": 4, "%j": 3} | dict.fromkeys(("%y", "%m", "%d", "%H", "%I", "%M", "%S"), 2)
# What nearly every export writes: seconds, and no offset.
_USUAL_ISO_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,9})?$"
_MOST_ORDER = 3_000_000_000  # far beyond the longest history, within the instants that can be told
_LONG_NUMBER = rf"[0-9](?:(?:{SEPARATOR})?[0-9]){{11,}}"


class Reading(NamedTuple):
    """A column as read."""

    values: pl.Series
    problem: pl.Series  # text: a Reason, or null


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
        return Reading(column.dt.convert_time_zone("UTC").dt.cast_time_unit("us"), no_problem(column))
    if isinstance(column.dtype, pl.Datetime | pl.Date):
        present, naive, offset_us = column.is_not_null(), column.cast(pl.Datetime("us")), None
    else:
        if column.dtype.is_numeric() and not (column.dtype.is_integer() and config.format):
            raise SourceError(
                f"column '{column.name}' (ledger.schema.event_time.column) holds {column.dtype} values: "
                "a time must be a datetime, or text or an integer described by "
                "ledger.schema.event_time.format."
            )
        text = text_of(column)
        if column.dtype.is_integer():
            text = text.str.zfill(_digits_of(config.format))  # a number has lost its leading zeros
        present = text.is_not_null()
        naive, offset_us = _parse_text_times(text, config.format)
        if isinstance(naive.dtype, pl.Datetime) and naive.dtype.time_zone:  # a format with %z, or one that counts
            return Reading(
                naive.dt.convert_time_zone("UTC"),
                problem_where(present & naive.is_null(), Reason.TIME_UNPARSABLE),
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


def read_order(column: pl.Series, config: OrderColumn) -> Reading:
    """Instants of a ledger without times: the event numbered n happens n seconds after 1970-01-01 UTC."""
    number = (column if column.dtype.is_integer() else text_of(column)).cast(pl.Int64, strict=False)
    number = number.set(number.is_between(0, _MOST_ORDER).fill_null(False).not_(), None)
    present = column.is_not_null() if column.dtype.is_integer() else text_of(column).is_not_null()
    instants = (number * 1_000_000).cast(pl.Datetime("us", "UTC"))
    return Reading(instants.rename(column.name), problem_where(present & number.is_null(), Reason.TIME_UNPARSABLE))


def read_attribute(column: pl.Series, config: Attribute, *, key: str) -> Reading:
    """A declared attribute: a number, or a category as the schema's map calls it.

    Raises:
        SourceError: a category whose column holds floats.
    """
    if config.extract is not None:
        column = text_of(column).str.extract(config.extract).rename(column.name)
    if config.kind == "number":
        if config.prefix and not column.dtype.is_numeric():
            column = text_of(column).str.strip_prefix(config.prefix).rename(column.name)
        return read_numbers(column)
    values = read_categories(column, key=key)
    if config.map:
        values = values.replace(config.map)
    return Reading(values, no_problem(values))


def read_numbers(column: pl.Series) -> Reading:
    """Attributes declared as number, float64; what is not a finite number is attribute_not_a_number."""
    source = column if column.dtype.is_numeric() else text_of(column)
    numbers = source.cast(pl.Float64, strict=False)
    bad = source.is_not_null() & ~numbers.is_finite().fill_null(False)
    values = pl.select(pl.when(~bad).then(numbers)).to_series()
    return Reading(values.rename(column.name), problem_where(bad, Reason.ATTRIBUTE_NOT_A_NUMBER))


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
    return text_of(column)


def read_labels(column: pl.Series, config: LabelColumn) -> Reading:
    """Labels as int8 1, 0 or null (empty: not known); a value in neither list is label_unknown_value."""
    text = text_of(column)
    if column.dtype.is_float():  # 0.0 and 1.0 are read as 0 and 1, whatever stands in other rows
        text = text.str.replace(r"\.0$", "")
    positive, negative = text.is_in(config.positive), text.is_in(config.negative)
    values = pl.select(pl.when(positive).then(1).when(negative).then(0).cast(pl.Int8)).to_series()
    unknown = text.is_not_null() & values.is_null()
    return Reading(values.rename(column.name), problem_where(unknown, Reason.LABEL_UNKNOWN_VALUE))


def mask_values(column: pl.Series) -> pl.Series:
    """Values as they may be shown: runs of 12 digits or more (card numbers) masked, cut to 40 characters."""
    return mask_long_numbers(column.cast(pl.String, strict=False)).str.slice(0, 40)


def mask_long_numbers(text: pl.Series) -> pl.Series:
    """Text of any length with runs of 12 digits or more (card numbers) masked."""
    return text.str.replace_all(_LONG_NUMBER, "[masked]")


def _parse_text_times(text: pl.Series, format: str | None) -> tuple[pl.Series, pl.Series | None]:
    """Naive times, and for ISO text the stated offset from UTC (null where none is stated)."""
    if format in EPOCH_FORMATS:
        number, unit_us = text.cast(pl.Int64, strict=False), EPOCH_FORMATS[format]
        number = number.set((number.abs() > _MOST_EPOCH_US // unit_us).fill_null(False), None)
        return (number * unit_us).cast(pl.Datetime("us", "UTC")), None
    if format:
        packed = _packed_pattern(format)
        if packed:
            fits = text.str.contains(packed)
            text = text if fits.all() else pl.select(pl.when(fits).then(text)).to_series()
        return text.str.to_datetime(format, time_unit="us", strict=False), None
    if text.str.contains(_USUAL_ISO_TIME).all():  # null counts as true: an empty cell is no problem here
        return _parse_usual_iso(text), None
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


def _parse_usual_iso(text: pl.Series) -> pl.Series:
    """Whole seconds and their fraction apart: polars reads a format with a fraction three times slower."""
    whole = text.str.slice(0, 19).str.replace("T", " ", literal=True)
    instants = whole.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    if (text.str.len_bytes().max() or 0) <= len("2024-01-31 12:00:00"):
        return instants
    fraction_us = text.str.slice(20, 6).str.pad_end(6, "0").cast(pl.Int64)
    return instants + fraction_us.cast(pl.Duration("us"))


@cache
def _packed_pattern(format: str) -> str | None:
    """What text must look like where codes of a format stand side by side; null where none do.

    Such codes need all their digits: 51107 read as %y%m%d would be a day in 2051.
    """
    parts = re.findall(r"%[^A-Za-z%]*[A-Za-z%]|.", format, flags=re.DOTALL)
    is_digits = [part in _DIGITS_OF_CODE for part in parts]
    beside = [before or after for before, after in zip([False, *is_digits], [*is_digits[1:], False], strict=False)]
    is_packed = [a and b for a, b in zip(is_digits, beside, strict=True)]
    if not any(is_packed):
        return None
    patterns = [
        f"[0-9]{{{_DIGITS_OF_CODE[part]}}}" if packed else ".+" if part.startswith("%") else re.escape(part)
        for part, packed in zip(parts, is_packed, strict=True)
    ]
    return f"^{''.join(patterns)}$"


def _digits_of(format: str) -> int:
    """How many digits a time has that is nothing but packed digits; else 0."""
    widths = [_DIGITS_OF_CODE.get(part) for part in re.findall(r"%.|.", format, flags=re.DOTALL)]
    return sum(widths) if len(widths) > 1 and all(widths) else 0


def problem_where(bad: pl.Series, reason: Reason) -> pl.Series:
    return pl.select(pl.when(bad).then(pl.lit(reason.value)).otherwise(pl.lit(None, dtype=pl.String))).to_series()


def no_problem(column: pl.Series) -> pl.Series:
    return pl.repeat(None, column.len(), dtype=pl.String, eager=True)
