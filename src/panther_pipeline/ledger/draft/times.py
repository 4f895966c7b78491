"""How a column writes its times."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from panther_pipeline.ledger.columns import TimeColumn
from panther_pipeline.ledger.draft.numbers import MOSTLY
from panther_pipeline.ledger.values import read_times

_ANY = {"zone": "UTC", "earliest": "0001-01-02", "latest": "9998-12-31"}
_DAYS = ("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%Y.%m.%d", "%d-%b-%Y", "%d %b %Y",
         "%b %d, %Y", "%d.%m.%y", "%m/%d/%y", "%d/%m/%y", "%d-%b-%y", "%Y%m%d", "%y%m%d")  # fmt: skip
_CLOCKS = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", " %H:%M:%S%.f", ", %H:%M:%S", ", %H:%M")
_WHOLE = ("%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%d", "%y%m%d")  # of texts that are digits only
_DIGITS = {"%Y%m%d%H%M%S": 14, "%Y%m%d%H%M": 12, "%Y%m%d": 8, "%y%m%d": 6}
_OFFSETS = ("%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%d %H:%M:%S%.f %z", "%d/%b/%Y:%H:%M:%S %z")
_EPOCHS = {"epoch_s": 10, "epoch_ms": 13, "epoch_us": 16}
_EPOCH_YEARS = range(1990, 2051)
_YEARS = range(1900, 2101)
_CLOCK = r"^(?:[01]?[0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]+)?)?$"
_SWAPPED = {"%d/%m": "%m/%d", "%m/%d": "%d/%m", "%d-%m": "%m-%d", "%m-%d": "%d-%m", "%d.%m": "%m.%d"}


@dataclass(frozen=True, kw_only=True)
class TimeStyle:
    """A way of writing times, and the times there are."""

    format: str | None  # as TimeColumn takes it
    earliest: datetime
    latest: datetime
    has_clock: bool
    has_zone: bool = False  # the text, type or number says which instant it is, whatever the zone
    alternative: str | None = None  # another format that reads as many: day and month may be swapped


def parse(column: pl.Series, format: str | None, zone: str = "UTC") -> pl.Series:
    """Instants, null where the text is no time of this format."""
    return read_times(column, TimeColumn(columns=["column"], format=format, **{**_ANY, "zone": zone})).values


def find_time_style(values: pl.Series, counts: pl.Series) -> TimeStyle | None:
    """The format in which nearly all of these different texts are times; null when there is none."""
    some = values.head(60)
    if not some.str.contains(r"^[^a-zA-Z]*[0-9]").mean() and not some.str.contains(r"[0-9]{4}").mean():
        return None
    reading = [f for f in _candidates(some) if parse(some, f).null_count() <= (1 - MOSTLY) * some.len() + 1]
    shares = {f: _share_read(values, counts, f) for f in reading}
    shares = {f: share for f, share in shares.items() if share >= MOSTLY}
    if not shares:
        return None
    best = max(shares.values())
    format = next(f for f in shares if shares[f] >= best - 1e-9)
    return _describe(values, format, _alternative(format, shares, best))


def find_typed_style(column: pl.Series) -> TimeStyle | None:
    """The style of a column of datetimes or dates."""
    times = parse(column, None).drop_nulls()
    if times.is_empty():
        return None
    has_zone = isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None
    return _style_of(times, None, has_zone=has_zone)


def is_clock(values: pl.Series) -> bool:
    """Whether the texts are times of the day, such as 06:21."""
    return bool(values.len()) and values.str.contains(_CLOCK).mean() >= MOSTLY


def clock_format(values: pl.Series) -> str:
    colons = values.str.count_matches(":", literal=True).max()
    fraction = "%.f" if values.str.contains(".", literal=True).any() else ""
    return "%H:%M:%S" + fraction if colons == 2 else "%H:%M"


def count_steps_back(times: pl.Series) -> int:
    """How often a time is earlier than the one before it in the file."""
    steps = times.drop_nulls().diff().drop_nulls()
    return int((steps.cast(pl.Int64) < 0).sum())


def _candidates(some: pl.Series) -> Sequence[str | None]:
    if some.str.contains(r"^[0-9]+(\.0+)?$").all():
        lengths = some.str.len_chars()
        found = [f for f, digits in _EPOCHS.items() if (lengths == digits).all()]
        return [*(f for f in _WHOLE if (lengths == _DIGITS[f]).all()), *found]
    return [None, *(f"{day}{clock}" for day in _DAYS for clock in _CLOCKS), *_OFFSETS]


def _share_read(values: pl.Series, counts: pl.Series, format: str | None) -> float:
    times = parse(values, format)
    years = _EPOCH_YEARS if format in _EPOCHS else _YEARS
    plausible = times.dt.year().is_between(years.start, years.stop - 1).fill_null(False)
    return (plausible.cast(pl.Float64) * counts).sum() / max(counts.sum(), 1)


def _alternative(format: str | None, shares: dict[str | None, float], best: float) -> str | None:
    for start, swapped in _SWAPPED.items():
        if format and format.startswith(start):
            other = swapped + format.removeprefix(start)
            return other if shares.get(other, 0) >= best - 1e-9 else None
    return None


def _describe(values: pl.Series, format: str | None, alternative: str | None) -> TimeStyle:
    times = parse(values, format).drop_nulls()
    iso_offset = format is None and bool(values.str.contains(r"[0-9](Z|[+-][0-9]{2}:?[0-9]{2})$").mean() > 0.5)
    has_zone = iso_offset or format in _EPOCHS or (format or "").endswith("%z")
    return _style_of(times, format, has_zone=has_zone, alternative=alternative)


def _style_of(times: pl.Series, format: str | None, *, has_zone: bool, alternative: str | None = None) -> TimeStyle:
    has_clock = bool((times.dt.truncate("1d") != times).any())
    return TimeStyle(
        format=format, earliest=times.quantile(0.0005, "lower"), latest=times.quantile(0.9995, "higher"),
        has_clock=has_clock, has_zone=has_zone, alternative=alternative,
    )  # fmt: skip
