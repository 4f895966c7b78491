"""A small ledger to bend: its schema, and rows as text."""

from typing import Any

import polars as pl
import pytest

from panther_pipeline.ledger.quarantine import QuarantineRules
from panther_pipeline.ledger.schema import LedgerSchema

SCHEMA: dict[str, Any] = {
    "user_id": "who", "event_id": "id",
    "event_time": {"column": "when", "format": None, "zone": "UTC", "earliest": "2024-01-01",
    "latest": "2024-12-31"},
    "tie_break": ["id"], "amount": "amount", "amount_range": [-1000, 1000], "counterparty": "shop",
    "attributes": [{"name": "category", "column": "kind", "kind": "category"}],
    "label": {"column": "fraud", "positive": ["1"], "negative": ["0"], "known_after_days": 7},
    "forbidden": {"leak": "says who cheated"}, "profile_user_id": "who",
    "profile_attributes": [{"name": "region", "column": "region", "kind": "category"}],
}  # fmt: skip
ROW = {
    "who": "u1", "id": "1", "when": "2024-03-01 12:00:00", "amount": "12.34", "shop": "s1", "kind": "food",
    "fraud": "0", "leak": "1",
}  # fmt: skip


@pytest.fixture(scope="session")
def make_schema():
    def make(**changes: Any) -> LedgerSchema:
        values = {**SCHEMA, **{key: value for key, value in changes.items() if "__" not in key}}
        for key, value in changes.items():
            if "__" in key:
                block, field = key.split("__")
                values[block] = {**values[block], field: value}
        return LedgerSchema(**values)

    return make


@pytest.fixture(scope="session")
def make_rows():
    """A table of text: each argument overrides cells of a good row; event ids are numbered unless given."""

    def make(*changes: dict[str, Any]) -> pl.DataFrame:
        rows = [{**ROW, "id": str(i), **change} for i, change in enumerate(changes)]
        return pl.DataFrame(rows, schema=dict.fromkeys(ROW, pl.String))

    return make


@pytest.fixture(scope="session")
def rules() -> QuarantineRules:
    return QuarantineRules(required=[], max_id_chars=64)
