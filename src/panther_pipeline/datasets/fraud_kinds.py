"""The kinds of a ledger's frauds, from a column that nothing but the report may read."""

from collections.abc import Mapping
from typing import Any, Literal

import polars as pl
from kedro.io import AbstractDataset, DatasetError

from panther_pipeline.ledger.fraud_kinds import select_fraud_kinds


class FraudKindsDataset(AbstractDataset[None, pl.DataFrame]):
    """Loads (event_id, kind) of the known frauds of a source, and nothing else of it.

    The kind is the label in other words. So it has an entry of its own that `evaluate` alone reads, and stays a
    forbidden column of the ledger's schema: no event, feature, token or model ever holds it.

    Args:
        source: an entry whose load gives a polars frame, with `type` and what that class takes.
        event_id: column of event ids.
        kind: column of the kind.
        names: value of that column, as text → what reports call it; rows with other values are no fraud of a kind.
        card_numbers: as `ledger.schema.card_numbers` of the ledger: tokenize or allow.
        metadata: for Kedro-Viz.

    Raises:
        DatasetError: the source cannot be made.

    Example:
        fraud_kinds:
          type: panther_pipeline.datasets.FraudKindsDataset
          source: {type: polars.LazyPolarsDataset, filepath: data/01_raw/mine.parquet, file_format: parquet}
          event_id: payment
          kind: fraud_type
          names: {"1": stolen_card, "2": fake_shop}
    """

    def __init__(
        self,
        *,
        source: Mapping[str, Any],
        event_id: str,
        kind: str,
        names: Mapping[str, str],
        card_numbers: Literal["tokenize", "allow"] = "tokenize",
        metadata: dict[str, Any] | None = None,
    ):
        if "type" not in source:
            raise DatasetError("source has no `type`. Write it as an entry of the catalog.")
        if card_numbers not in ("tokenize", "allow"):
            raise DatasetError(f"card_numbers is {card_numbers!r}; allowed: tokenize, allow.")
        self._source = AbstractDataset.from_config("source", dict(source))
        self._columns = {"event_id": event_id, "kind": kind, "names": dict(names), "card_numbers": card_numbers}
        self.metadata = metadata

    def load(self) -> pl.DataFrame:
        return select_fraud_kinds(self._source.load(), **self._columns)

    def save(self, data: None) -> None:
        raise DatasetError("Kinds of fraud are read from their source, never written.")

    def _exists(self) -> bool:
        return self._source.exists()

    def _describe(self) -> dict[str, Any]:
        return {**self._columns, "source": self._source._describe()}
