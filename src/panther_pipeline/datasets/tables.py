"""Several sources under one catalog entry: the events of a ledger, and the tables that are looked up for them."""

from collections.abc import Mapping
from typing import Any

from kedro.io import AbstractDataset, DatasetError


class TablesDataset(AbstractDataset[None, dict[str, Any]]):
    """Loads a dictionary of tables by name; each is an entry of its own, written as any in the catalog.

    Relative file paths are below the project, as everywhere in the catalog: Kedro makes every `filepath` of an entry
    absolute, however deep it stands.

    Args:
        tables: name → entry with `type` and what that class takes; the schema calls the table by this name.
        metadata: for Kedro-Viz.

    Raises:
        DatasetError: there is no table, or an entry cannot be made; names the table.

    Example:
        raw_profiles:
          type: panther_pipeline.datasets.TablesDataset
          tables:
            clients: {type: panther_pipeline.datasets.DelimitedDataset, filepath: data/01_raw/mine/clients.csv}
            regions: {type: panther_pipeline.datasets.DelimitedDataset, filepath: data/01_raw/mine/regions.csv}
    """

    def __init__(self, *, tables: Mapping[str, dict[str, Any]], metadata: dict[str, Any] | None = None):
        if not tables:
            raise DatasetError("tables is empty. Name one at least, or use EmptyTableDataset to say so.")
        shapeless = [name for name, entry in tables.items() if not isinstance(entry, Mapping) or "type" not in entry]
        if shapeless:
            raise DatasetError(f"tables {shapeless} have no `type`. Write each as an entry of the catalog.")
        self._datasets = {name: AbstractDataset.from_config(name, dict(entry)) for name, entry in tables.items()}
        self.metadata = metadata

    def load(self) -> dict[str, Any]:
        return {name: dataset.load() for name, dataset in self._datasets.items()}

    def save(self, data: None) -> None:
        raise DatasetError("Sources are read, never written.")

    def _exists(self) -> bool:
        return all(dataset.exists() for dataset in self._datasets.values())

    def _describe(self) -> dict[str, Any]:
        return {"tables": {name: dataset._describe() for name, dataset in self._datasets.items()}}
