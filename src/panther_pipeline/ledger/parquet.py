"""Parquet files as a source, scanned lazily."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.source import TableSource


def open_parquet(files: Sequence[Path], *, name: str) -> TableSource:
    """One table of many files with the same columns, in their sorted order.

    Raises:
        SourceError: a file is no Parquet or damaged, or its columns or their types differ from the first file's.
    """
    files = sorted(files)
    schemas = [_read_schema(path) for path in files]
    for path, schema in zip(files, schemas, strict=True):
        if differing := sorted({key for key, _ in set(schema.items()) ^ set(schemas[0].items())}):
            raise SourceError(
                f"{path}: columns {differing} differ from those of {files[0]} in name or type. "
                "Files of one source need the same columns."
            )
    return TableSource(pl.scan_parquet(files, glob=False), name=name)


def _read_schema(path: Path) -> dict[str, pl.DataType]:
    try:
        return pl.read_parquet_schema(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(f"{path} cannot be read as Parquet: {error}. Copy or export it again.") from error
