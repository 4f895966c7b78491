"""What a group did in a window of time before an instant: exact, by Polars, in one pass over sorted facts.

Windows are closed on the left and open on the right, [t-w, t): nothing at t itself is seen. Sums are of integers, so no
fact outside a window can move a bit of it through rounding.

Shape letters: N rows of the ledger, P facts and questions in order of (group, time).
"""

from functools import cached_property

import numpy as np
import polars as pl

from panther_pipeline.features.config import EVER
from panther_pipeline.units import DAY_US

_EVER_US = 2**60  # longer than any ledger, and what is left of it after a subtraction still fits an int64
_ORDER = ["group", "time"]
_CLOSED = "left"  # [t-w, t): what happens at t is not known when the event at t is decided


def code_groups(*values_N: pl.Series) -> pl.Series:
    """Number the distinct combinations; null where one of the values is null, which belongs to no group.

    Returns:
        Int64 (N,). The numbers have no meaning beyond equality.
    """
    table = pl.DataFrame([values.rename(str(ix)) for ix, values in enumerate(values_N)])
    complete = pl.all_horizontal(pl.all().is_not_null())
    return table.select(pl.when(complete).then(pl.struct(pl.all())).rank("dense").cast(pl.Int64)).to_series()


class Windows:
    """Facts of each group in order of time, and the instants at which the N rows ask about them."""

    def __init__(self, facts: pl.DataFrame, questions: pl.DataFrame | None = None) -> None:
        """Sort once.

        Args:
            facts: group (Int64, null = in no group), time (Int64 microseconds) and the columns to aggregate.
            questions: group and time of each row of the ledger; None = the facts ask, each about those before it.
        """
        asked = facts if questions is None else questions
        table = asked.with_row_index("row")
        if questions is not None:
            table = pl.concat([table, facts], how="diagonal")
        self._table = table.filter(pl.col("group").is_not_null()).sort(_ORDER)
        places = self._table.select("row", place=pl.int_range(pl.len())).drop_nulls("row")
        rows = asked.with_row_index("row").select("row")
        self._facts: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._position_N = rows.join(places, on="row", how="left", maintain_order="left")["place"]

    def look_back(self, days: int | None, **aggregates: pl.Expr) -> pl.DataFrame:
        """Aggregate what each row sees in its window.

        Args:
            days: length of the window; `EVER` for everything before.
            aggregates: named expressions over the columns of the facts.

        Returns:
            One row per row of the ledger; all null for a row in no group.
        """
        return self._align(self._roll(days, **aggregates))

    def count_distinct(self, days: int | None, column: str) -> pl.Series:
        """How many values of a column each row sees in its window; nulls are no value.

        Of the facts of one value in a window, count the first: that whose predecessor lies before the window. Windows
        only move forward, so each fact counts in neighbouring windows, and is added and taken off at two borders.
        """
        size_P = self._roll(days, size=pl.len())["size"].to_numpy().astype(np.int64)
        end_P = self._end_P
        start_P = end_P - size_P
        if column not in self._facts:  # the same for all windows, and a sort
            self._facts[column] = self._find_facts(column)
        fact_P, before_P = self._facts[column]
        enters_P = np.searchsorted(end_P, fact_P, side="right")
        enters_P = np.maximum(enters_P, np.searchsorted(start_P, before_P, side="right"))
        leaves_P = np.maximum(enters_P, np.searchsorted(start_P, fact_P, side="right"))
        steps_P = np.bincount(enters_P, minlength=len(size_P) + 1) - np.bincount(leaves_P, minlength=len(size_P) + 1)
        return self._align(pl.DataFrame({"count": np.cumsum(steps_P)[:-1]})).to_series()

    @cached_property
    def _end_P(self) -> np.ndarray:
        """Where the windows of each place end: at the first place of the same group and instant."""
        is_first_P = np.any(np.diff(self._table.select(_ORDER).to_numpy(), axis=0, prepend=-1) != 0, axis=1)
        return np.maximum.accumulate(np.where(is_first_P, np.arange(len(is_first_P)), 0))

    def _find_facts(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """Places where the column has a value, and where the group had that value before: a place, or -1."""
        table = self._table.select("group", column, place=pl.int_range(pl.len())).drop_nulls(column)
        table = table.sort("group", column, "place")
        is_same = (pl.col("group") == pl.col("group").shift(1)) & (pl.col(column) == pl.col(column).shift(1))
        before = pl.when(is_same).then(pl.col("place").shift(1)).otherwise(-1)
        return table["place"].to_numpy(), table.select(before).to_series().to_numpy()

    def _roll(self, days: int | None, **aggregates: pl.Expr) -> pl.DataFrame:
        period_us = _EVER_US if days is EVER else days * DAY_US
        rolled = self._table.rolling("time", period=f"{period_us}i", group_by="group", closed=_CLOSED).agg(**aggregates)
        assert rolled.select(_ORDER).equals(self._table.select(_ORDER)), "Polars gave windows in another order"
        return rolled.drop(_ORDER)

    def _align(self, values: pl.DataFrame) -> pl.DataFrame:
        return values.select(pl.all().gather(self._position_N))
