"""Bins and categories of one field, fitted on the values of training events."""

import math

import numpy as np
import polars as pl

from panther_pipeline.tokenizer.config import FieldConfig
from panther_pipeline.tokenizer.fields import FittedField

_UNITS = {"amount": 100, "gap": 1_000_000}  # configuration speaks of major units and seconds


def fit_field(config: FieldConfig, counts: pl.DataFrame, min_count: int) -> FittedField:
    """Fit bins or categories.

    Args:
        config: what to fit.
        counts: value and count of the field's values (`sources.read_column`) in training events only, in any order;
            not read for fixed edges.
        min_count: a category seen less often is OTHER.
    """
    categories = edges = None
    if config.kind == "categorical":
        categories = _fit_categories(counts, config.max_categories or 1, min_count)
    else:
        edges = _fit_edges(config, counts)
    column = config.column or config.name
    return FittedField(name=config.name, source=config.source, column=column, categories=categories, edges=edges)


def _fit_categories(counts: pl.DataFrame, max_categories: int, min_count: int) -> list[str]:
    frequent = counts.filter(pl.col("count") >= min_count).drop_nulls()
    return frequent.sort(["count", "value"], descending=[True, False])["value"].head(max_categories).to_list()


class _Ordered:
    """The sorted training values, each as often as it occurs, without being written out."""

    def __init__(self, values: np.ndarray, counts: np.ndarray) -> None:
        order = np.argsort(values, kind="stable")
        self.values, self.ends = values[order], np.cumsum(counts[order])

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def __getitem__(self, position: int) -> int | float:
        """The value at a position, 0 <= position < len."""
        return self.values[np.searchsorted(self.ends, position, side="right")].item()

    def part(self, wanted: np.ndarray) -> "_Ordered":
        """Only the values for which `wanted` holds."""
        counts = np.diff(self.ends, prepend=0)
        return _Ordered(self.values[wanted], counts[wanted])


def _fit_edges(config: FieldConfig, counts: pl.DataFrame) -> list[int] | list[float]:
    is_integer = config.source != "number"
    if config.kind == "fixed":
        scaled = [edge * _UNITS.get(config.source, 1) for edge in config.edges or []]
        edges = [round(edge) for edge in scaled] if is_integer else scaled
        lowest = None
    else:
        ordered = _known_values(config, counts, pl.Int64 if is_integer else pl.Float64)
        fit = _quantile_edges if config.kind == "quantile" else _log_edges
        edges = fit(ordered, config.num_bins or 2)
        if config.significant_digits is not None:
            edges = [_round(edge, config.significant_digits) for edge in edges]
        lowest = ordered[0] if len(ordered) else None
    # An edge at or below the lowest training value would make a bin that training never saw.
    # Rounding up the largest float leaves infinity.
    kept = sorted({edge for edge in edges if (lowest is None or edge > lowest) and math.isfinite(edge)})
    # The first event of a user has the gap -1 and so a bin of its own, below zero.
    return [0, *(edge for edge in kept if edge > 0)] if config.source == "gap" else kept


def _known_values(config: FieldConfig, counts: pl.DataFrame, dtype: pl.DataType) -> _Ordered:
    counts = counts.drop_nulls()
    values = counts["value"].cast(dtype).to_numpy()
    ordered = _Ordered(values, counts["count"].to_numpy())
    return ordered.part(ordered.values >= 0 if config.source == "gap" else np.isfinite(ordered.values))


def _quantile_edges(ordered: _Ordered, num_bins: int) -> list:
    """Bins with equally many values; zero is an edge if both signs occur, so no bin mixes them."""
    negative, rest = ordered.part(ordered.values < 0), ordered.part(ordered.values >= 0)
    if not len(negative) or not len(rest):
        return _equal_counts(ordered, num_bins)
    bins_negative = min(max(1, round(num_bins * len(negative) / len(ordered))), num_bins - 1)
    zero = ordered.values.dtype.type(0).item()
    return [*_equal_counts(negative, bins_negative), zero, *_equal_counts(rest, num_bins - bins_negative)]


def _equal_counts(ordered: _Ordered, num_bins: int) -> list:
    # An edge is the lowest value of the bin above it: an observed value, so integers stay integers.
    return [ordered[k * len(ordered) // num_bins] for k in range(1, num_bins)] if len(ordered) else []


def _log_edges(ordered: _Ordered, num_bins: int) -> list:
    """Bins of equal width in log between the 1st and 99th percentile of the positive values."""
    positive = ordered.part(ordered.values > 0)
    if not len(positive):
        return []
    low, high = positive[len(positive) // 100], positive[len(positive) - 1 - len(positive) // 100]
    with np.errstate(over="ignore"):  # the largest float may round to infinity, which is dropped later
        edges = np.geomspace(float(low), float(high), num_bins - 1)
    return [round(edge) for edge in edges.tolist()] if ordered.values.dtype.kind == "i" else edges.tolist()


def _round(value: int | float, digits: int) -> int | float:
    if isinstance(value, float):
        return float(f"{value:.{digits - 1}e}")
    unit = 10 ** max(0, len(str(abs(value))) - digits)
    return (value + unit // 2) // unit * unit
