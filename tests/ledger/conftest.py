"""A small ledger to bend: its schema, and rows as text."""

from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import settings

from panther_pipeline.ledger.faults import QuarantineRules
from panther_pipeline.ledger.mapping import map_events
from panther_pipeline.ledger.schema import LedgerSchema

# A loaded machine is no fault of the code under test.
settings.register_profile("ledger", deadline=None)
settings.load_profile("ledger")

SCHEMA: dict[str, Any] = {
    "user_id": "who", "event_id": "id",
    "event_time": {"column": "when", "format": None, "zone": "UTC", "earliest": "2024-01-01",
    "latest": "2024-12-31"},
    "tie_break": ["id"], "amount": "amount", "amount_range": [-1000, 1000], "counterparty": "shop",
    "attributes": [{"name": "category", "column": "kind", "kind": "category"}],
    "label": {"column": "fraud", "positive": ["1"], "negative": ["0"], "known_after_days": 7},
    "forbidden": {"leak": "says who cheated"},
    "profiles": {"user_id": "who", "attributes": [{"name": "region", "column": "region", "kind": "category"}]},
    "user_labels": None,
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
def read_events(make_schema):
    """All events of a source at once, under a schema changed as for `make_schema`."""

    def read(raw: Any, **changes: Any) -> pl.DataFrame:
        return map_events(raw, make_schema(**changes))[0].collect()

    return read


@pytest.fixture(scope="session")
def rules() -> QuarantineRules:
    return QuarantineRules(required=[], max_id_chars=64)


@pytest.fixture(scope="session")
def base_schema(project_root) -> LedgerSchema:
    """The schema of the simulated ledger."""
    text = (project_root / "conf/base/parameters/ledger.yml").read_text(encoding="utf-8")
    return LedgerSchema(**yaml.safe_load(text)["ledger"]["schema"])


@pytest.fixture(scope="session")
def base_rules(project_root) -> QuarantineRules:
    text = (project_root / "conf/base/parameters/validation.yml").read_text(encoding="utf-8")
    return QuarantineRules(**yaml.safe_load(text)["validation"]["rules"])
