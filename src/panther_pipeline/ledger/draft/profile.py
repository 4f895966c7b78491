"""What a column holds: filled or empty, how many different values, and which kinds of value it can be read as."""

from dataclasses import dataclass, field

import polars as pl

from panther_pipeline.ledger.cells import text_of
from panther_pipeline.ledger.draft.numbers import MOSTLY, NumberStyle, describe_numbers, find_number_style
from panther_pipeline.ledger.draft.times import TimeStyle, find_time_style, find_typed_style, is_clock
from panther_pipeline.ledger.values import mask_values

SENTINELS = (
    "NA",
    "N/A",
    "n/a",
    "na",
    "NaN",
    "nan",
    "NULL",
    "null",
    "None",
    "none",
    "\\N",
    "?",
    "-",
    "--",
    "#N/A",
    "(null)",
    "<NA>",
)
_SHOWN = 3
_FEW = 40  # values that may be shown as they are; of more only the shape, since they may name people
_MOST_LOOKED_AT = 20_000  # different values that are looked at for their kind


@dataclass(frozen=True, kw_only=True)
class ColumnProfile:
    """A column of the sample."""

    name: str
    dtype: str  # text, integer, float, time, boolean, other
    num_rows: int
    num_filled: int  # without empty cells, blanks and texts that mean a missing value
    num_distinct: int
    top: dict[str, int]  # the most frequent values and how often they come
    sentinels: list[str]  # texts found that usually mean a missing value
    number: NumberStyle | None = None
    time: TimeStyle | None = None
    is_clock: bool = False
    is_float_id: bool = False  # whole numbers written as 17850.0
    has_leading_zeros: bool = False
    mean_chars: float = 0.0
    shapes: list[str] = field(default_factory=list)

    @property
    def share_empty(self) -> float:
        return 1 - self.num_filled / max(self.num_rows, 1)

    @property
    def is_unique(self) -> bool:
        return self.num_filled > 1 and self.num_distinct == self.num_filled

    @property
    def is_whole(self) -> bool:
        return self.number is not None and self.number.is_whole and not self.number.prefix

    @property
    def rows_per_value(self) -> float:
        return self.num_filled / max(self.num_distinct, 1)

    def seen(self) -> str:
        """A line on the column, with values masked where there are many."""
        empty = f"empty in {self.share_empty:.1%}" if self.num_filled < self.num_rows else "never empty"
        if self.num_distinct == self.num_filled > _FEW:
            many = "every value once"
        else:
            many = f"{self.num_distinct:,} different value{'s' if self.num_distinct != 1 else ''}"
        examples = ", ".join(self.examples())
        return f"{many}, {empty}" + (f", for example {examples}" if examples else "")

    def examples(self) -> list[str]:
        values = list(self.top)[:_SHOWN] if self.num_distinct <= _FEW or self.time or self.is_clock else self.shapes
        return [value for value in values if value]


def profile_columns(rows: pl.DataFrame) -> dict[str, ColumnProfile]:
    """Profiles of all columns but source_row, in their order."""
    return {name: profile_column(rows[name]) for name in rows.columns if name != "source_row"}


def profile_column(column: pl.Series) -> ColumnProfile:
    """What one column holds."""
    dtype = _dtype_of(column)
    if dtype == "other":
        return ColumnProfile(
            name=column.name, dtype=dtype, num_rows=column.len(), num_filled=column.drop_nulls().len(), num_distinct=0,
            top={}, sentinels=[],
        )  # fmt: skip
    text = text_of(column)
    counted = text.drop_nulls().alias("value").value_counts(sort=True, name="count")
    found = counted.filter(pl.col("value").is_in(SENTINELS))
    sentinels = found["value"].to_list() if counted.height > found.height or found.height == 1 else []
    counted = counted.filter(~pl.col("value").is_in(sentinels)) if dtype == "text" else counted
    values = counted["value"]
    looked_at = counted if counted.height <= _MOST_LOOKED_AT else counted.sample(_MOST_LOOKED_AT, seed=0)
    return ColumnProfile(
        name=column.name, dtype=dtype, num_rows=column.len(), num_filled=int(counted["count"].sum()),
        num_distinct=counted.height, top=_top(counted), sentinels=sentinels if dtype == "text" else [],
        **_kinds(column, dtype, looked_at["value"], looked_at["count"]),
        has_leading_zeros=bool(values.str.contains(r"^0[0-9]+$").any()) if dtype == "text" else False,
        mean_chars=float(values.str.len_chars().mean() or 0), shapes=_shapes(values),
    )  # fmt: skip


def _dtype_of(column: pl.Series) -> str:
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime | pl.Date):
        return "time"
    if dtype.is_integer():
        return "integer"
    if dtype.is_float() or dtype.is_decimal():
        return "float"
    if dtype == pl.Boolean:
        return "boolean"
    return "text" if isinstance(dtype, pl.String | pl.Categorical | pl.Enum) else "other"


def _kinds(column: pl.Series, dtype: str, values: pl.Series, counts: pl.Series) -> dict[str, object]:
    if dtype == "time":
        return {"time": find_typed_style(column)}
    if values.is_empty() or dtype == "boolean":
        return {}
    if dtype == "float":
        return {"number": describe_numbers(column), "is_float_id": False}
    if dtype == "integer":
        return {"number": describe_numbers(column), "time": find_time_style(values, counts)}
    time = find_time_style(values, counts)
    whole_floats = values.str.contains(r"^[0-9]+\.0+$").mean() >= MOSTLY
    return {
        "number": find_number_style(values, counts), "time": time, "is_clock": is_clock(values),
        "is_float_id": bool(whole_floats),
    }  # fmt: skip


def _top(counted: pl.DataFrame) -> dict[str, int]:
    head = counted.head(60)
    shown = mask_values(head["value"].str.replace(r"^([0-9]{4}-[0-9]{2}-[0-9]{2}.*)\.0+$", "${1}"))
    return dict(zip(shown.to_list(), head["count"].to_list(), strict=True))


def _shapes(values: pl.Series) -> list[str]:
    """How values look: every digit a 9, every letter an A or a."""
    some = values.head(1000).str.slice(0, 30)
    shapes = some.str.replace_all(r"[0-9]", "9").str.replace_all(r"\p{Lu}", "A").str.replace_all(r"\p{Ll}", "a")
    return shapes.value_counts(sort=True, name="count")[shapes.name].head(_SHOWN).to_list()
