"""The validate pipeline on in-memory data, with the rules that ship."""

import polars as pl
import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from panther_pipeline.errors import QuarantineError
from panther_pipeline.ledger.expectations import ExpectationsConfig
from panther_pipeline.ledger.faults import QuarantineRules
from panther_pipeline.ledger.mapping import map_events
from panther_pipeline.ledger.quarantine import GateConfig
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.ledger.simulator import SimulationConfig, simulate_ledger
from panther_pipeline.pipelines.validate import create_pipeline


@pytest.fixture(scope="module")
def parameters(project_root):
    def read(name):
        return yaml.safe_load((project_root / "conf/base/parameters" / name).read_text())

    validation = read("validation.yml")["validation"]
    return {
        "params:ledger.schema": LedgerSchema(**read("ledger.yml")["ledger"]["schema"]),
        "params:validation.rules": QuarantineRules(**validation["rules"]),
        "params:validation.expectations": ExpectationsConfig(**validation["expectations"]),
        "params:validation.gate": GateConfig(**validation["gate"]),
    }


@pytest.fixture(scope="module")
def ledger(parameters):
    simulated = simulate_ledger(SimulationConfig(num_users=60, start="2024-01-01", end="2024-04-01", seed=3))
    lazy, account = map_events(simulated.transactions, parameters["params:ledger.schema"])
    return lazy.collect(), simulated.transactions, account


class KeptDataset(MemoryDataset):
    """Memory that a runner does not release after the last reader: what a file is in the real catalog."""

    def _release(self) -> None:
        pass


def run(ledger, parameters):
    """Everything the pipeline leaves behind, also when it stops in the middle."""
    kept = {
        name: KeptDataset(copy_mode="assign")
        for name in ("quarantined_events", "validation_report", "validation_page", "valid_events")
    }
    events, raw, account = ledger
    inputs = {
        "events": MemoryDataset(events.lazy(), copy_mode="assign"),
        "raw_transactions": MemoryDataset(raw, copy_mode="assign"),
        "source_account": MemoryDataset(account),
        **{k: MemoryDataset(v, copy_mode="assign") for k, v in parameters.items()},
    }
    catalog = DataCatalog({**inputs, **kept})
    try:
        SequentialRunner().run(create_pipeline(), catalog)
    except QuarantineError as error:
        return {name: _collected(d.load()) for name, d in kept.items() if d.exists()}, error
    return {name: _collected(d.load()) for name, d in kept.items()}, None


def _collected(data):
    return data.collect() if isinstance(data, pl.LazyFrame) else data


def test_validate_declares_its_public_datasets():
    pipeline = create_pipeline()
    assert {name for name in pipeline.inputs() if not name.startswith("params:")} == {
        "events", "raw_transactions", "source_account",
    }  # fmt: skip
    assert pipeline.all_outputs() == {
        "event_faults", "quarantined_events", "validation_report", "validation_page", "valid_events",
    }  # fmt: skip


def test_validate_conserves_rows_of_the_simulated_ledger(ledger, parameters):
    out, error = run(ledger, parameters)
    assert error is None
    assert out["valid_events"].height + out["quarantined_events"].height == ledger[0].height
    assert out["quarantined_events"].height > 0
    assert out["quarantined_events"].columns == [
        *ledger[0].columns, "reason", "source_file", "source_line", "original_line",
    ]  # fmt: skip
    assert out["quarantined_events"]["source_row"].is_sorted()
    assert out["validation_report"]["success"] is True
    assert out["validation_page"].startswith("<!doctype html>")


def test_validate_is_idempotent(ledger, parameters):
    first, second = run(ledger, parameters)[0], run(ledger, parameters)[0]
    assert first["valid_events"].equals(second["valid_events"])
    assert first["quarantined_events"].equals(second["quarantined_events"])
    assert first["validation_page"] == second["validation_page"]


def test_too_many_quarantined_rows_stop_the_run_and_leave_the_evidence(ledger, parameters):
    events, raw, account = ledger
    broken = events.with_columns(user_id=pl.when(pl.int_range(pl.len()) % 10 > 0).then("user_id"))
    out, error = run((broken, raw, account), parameters)
    assert "missing_user_id" in str(error)
    assert "valid_events" not in out
    assert out["quarantined_events"].height > events.height / 20
    assert "missing_user_id" in out["validation_page"]
