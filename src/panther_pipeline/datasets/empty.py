"""What a ledger does not have, said out loud: a table without rows."""

from typing import Any

import polars as pl
from kedro.io import AbstractDataset, DatasetError


class EmptyTableDataset(AbstractDataset[None, pl.DataFrame]):
    """Stands in for an optional source that this ledger lacks.

    Args:
        reason: why there is none, for whoever reads the catalog.
        metadata: for Kedro-Viz.
    """

    def __init__(self, *, reason: str, metadata: dict[str, Any] | None = None):
        self._reason = reason
        self.metadata = metadata

    def load(self) -> pl.DataFrame:
        return pl.DataFrame()

    def save(self, data: None) -> None:
        raise DatasetError(f"Nothing can be saved here: {self._reason}")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"reason": self._reason}
