"""What the promises about ledgers share: a schema to bend, the way from a source to the log, a digest of content."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from panther_pipeline.ledger.delimited import DelimitedSource
from panther_pipeline.ledger.faults import QuarantineRules, find_faults
from panther_pipeline.ledger.mapping import map_events
from panther_pipeline.ledger.ordering import order_events
from panther_pipeline.ledger.quarantine import quarantine_events
from panther_pipeline.ledger.schema import LedgerSchema

SCHEMA: dict[str, Any] = {
    "user_id": "user", "event_id": "id",
    "event_time": {"column": "time", "format": None, "zone": "UTC", "earliest": "1900-01-01", "latest": "2199-12-31"},
    "tie_break": ["id"], "amount": "amount", "amount_range": [-1e15, 1e15], "counterparty": "shop",
    "attributes": [{"name": "category", "column": "kind", "kind": "category"}], "label": None, "forbidden": {},
    "profiles": None, "user_labels": None,
}  # fmt: skip
RULES = QuarantineRules(required=[], max_id_chars=64)


@dataclass(frozen=True, kw_only=True)
class Settled:
    """A ledger after ingestion and validation."""

    raw: Any
    schema: LedgerSchema
    account: dict[str, Any]
    events: pl.DataFrame
    faults: pl.DataFrame
    valid_events: pl.DataFrame

    @cached_property
    def quarantined(self) -> pl.DataFrame:
        return quarantine_events(self.events, self.faults, self.raw, self.account, self.schema).collect()

    @property
    def log(self) -> pl.DataFrame:
        """The event log without the numbers of its rows, which say where it came from and nothing else."""
        return self.valid_events.drop("source_row")


@pytest.fixture(scope="session")
def make_schema():
    def make(**changes: Any) -> LedgerSchema:
        return LedgerSchema(**{**SCHEMA, **changes})

    return make


@pytest.fixture(scope="session")
def settle(make_schema):
    """From a source, a table or a folder of CSV files to the log, under a schema changed as for `make_schema`."""

    def settle(raw: Any, range_rows: int = 1 << 21, **changes: Any) -> Settled:
        schema = make_schema(**changes)
        if isinstance(raw, Path):
            raw = DelimitedSource(list(raw.glob("*.csv")), name="payments")
        lazy, account = map_events(raw, schema)
        events = lazy.collect()
        faults = find_faults(events, schema, RULES)
        valid = order_events(events, faults, schema, range_rows).collect()
        return Settled(raw=raw, schema=schema, account=account, events=events, faults=faults, valid_events=valid)

    return settle


@pytest.fixture(scope="session")
def digest():
    """SHA-256 of a table's content: names, types and values, row by row."""

    def digest(table: pl.DataFrame) -> str:
        return hashlib.sha256(f"{table.schema}\n{table.write_csv()}".encode()).hexdigest()

    return digest
