"""The running code as a source, so that what a report says about it is an input like any other."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from panther_pipeline.code_version import read_code_version


class CodeVersionDataset(AbstractDataset[None, dict[str, str]]):
    """Commit and package versions (panther_pipeline.code_version).

    Args:
        filepath: a folder of the project, "." for the root; Kedro makes it absolute.
        metadata: for Kedro-Viz.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None):
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> dict[str, str]:
        return read_code_version(self._filepath)

    def save(self, data: None) -> None:
        raise DatasetError("The version of the code is read, never written.")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
