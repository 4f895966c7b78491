"""Whether a column holds what the schema says; told as soon as it is clear that it does not."""

from collections.abc import Mapping

import polars as pl

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.cells import text_of
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.ledger.values import Reading, mask_values

_SHOWN_CELLS = 3
_ENOUGH_CELLS = 1000  # so many filled cells without one that can be read: the wrong column is mapped
_KEYS = {
    "user_id": ("user_id", "a user id"),
    "event_time": ("event_time.column", "a time"),
    "amount_cents": ("amount", "an amount"),
    "label": ("label.column", "a label"),
}
_MAY_BE_EMPTY = ("label",)  # as may an attribute; a user, a time or an amount that is always empty is a mistake


class Evidence:
    """Counts, per declared column, of filled cells and of those that could be read."""

    def __init__(self, schema: LedgerSchema) -> None:
        self._keys = dict(_KEYS)
        if not schema.is_timed:
            self._keys["event_time"] = ("event_time.order", "a whole number, 0 or more,")
        self._keys |= {a.name: (f"attributes.{a.name}", "a number") for a in schema.attributes if a.kind == "number"}
        self._rows = 0
        self._filled = dict.fromkeys(self._keys, 0)
        self._read = dict.fromkeys(self._keys, 0)
        self._seen: dict[str, pl.Series] = {}

    def add(self, cells: Mapping[str, pl.Series], readings: Mapping[str, Reading]) -> None:
        """Count a batch; raises when a column has shown enough cells and none could be read."""
        height = readings["user_id"].values.len()
        self._rows += height
        for name in self._keys.keys() & cells.keys():
            self._read[name] += height - readings[name].values.null_count()
            if self._read[name]:
                continue
            filled = text_of(cells[name]).drop_nulls().len()
            if filled or name not in self._seen:
                self._seen[name] = cells[name]
            self._filled[name] += filled
            if self._filled[name] >= _ENOUGH_CELLS:
                self._refuse(name)

    def conclude(self) -> None:
        """Raise when the source was empty, or a column never could be read."""
        if not self._rows:
            raise SourceError(
                "raw_transactions has no rows. Check the path in the catalog and that the export is complete."
            )
        for name in self._seen:
            may_be_empty = name in _MAY_BE_EMPTY or name not in _KEYS
            if not self._read[name] and (self._filled[name] or not may_be_empty):
                self._refuse(name)

    def _refuse(self, name: str) -> None:
        key, noun = self._keys[name]
        column = self._seen[name]
        samples = mask_values(text_of(column).drop_nulls().head(_SHOWN_CELLS)).to_list()
        shown = f"for example {samples}" if samples else "all cells are empty"
        raise SourceError(
            f"not one of {self._rows} rows has {noun} in column '{column.name}' (type {column.dtype}; {shown}). "
            f"Probably ledger.schema.{key} names the wrong column, or its format is another one."
        )
