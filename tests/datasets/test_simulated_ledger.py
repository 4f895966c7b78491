"""The simulated ledger as a Kedro dataset."""

import polars as pl
import pytest
from kedro.io import DataCatalog
from kedro.io.core import DatasetError

from panther_pipeline.datasets import simulated_ledger
from panther_pipeline.datasets.simulated_ledger import SimulatedLedgerDataset
from panther_pipeline.ledger.simulator import SimulationTruth

SIMULATION = {"num_users": 30, "start": "2024-01-01", "end": "2024-03-01", "seed": 5}


def dataset(part: str = "transactions", **changes) -> SimulatedLedgerDataset:
    return SimulatedLedgerDataset(part=part, simulation={**SIMULATION, **changes})


def test_catalog_entry_loads_every_part():
    kind = "panther_pipeline.datasets.simulated_ledger.SimulatedLedgerDataset"
    parts = ("transactions", "profiles", "oracle", "truth", "fraud_kinds")
    catalog = DataCatalog.from_config({p: {"type": kind, "part": p, "simulation": SIMULATION} for p in parts})
    loaded = {part: catalog.load(part) for part in parts}
    assert set(loaded["transactions"].dtypes) == {pl.Utf8}
    assert loaded["profiles"].height == 30
    assert loaded["oracle"].height == loaded["transactions"].height
    assert isinstance(loaded["truth"], SimulationTruth)
    frauds = loaded["oracle"].filter(pl.col("fraud_kind") != "").unique("transaction_id")
    assert set(loaded["fraud_kinds"].iter_rows()) == set(frauds.select("transaction_id", "fraud_kind").iter_rows())


def test_four_parts_cost_one_simulation(monkeypatch):
    calls = []
    monkeypatch.setattr(simulated_ledger, "simulate_ledger", lambda config: calls.append(config) or _Parts())
    simulated_ledger._simulate_cached.cache_clear()
    for part in ("transactions", "profiles", "oracle", "truth"):
        dataset(part).load()
    assert len(calls) == 1
    dataset(seed=6).load()
    assert len(calls) == 2
    simulated_ledger._simulate_cached.cache_clear()


class _Parts:
    transactions = profiles = oracle = truth = None


def test_nested_fraud_parameters_are_accepted():
    assert dataset(fraud={"takeover_days": 1.0})._describe()["simulation"]["fraud"]["takeover_days"] == 1.0


def test_saving_is_refused_with_a_way_out():
    with pytest.raises(DatasetError, match=r"read-only.*simulation"):
        dataset().save(pl.DataFrame())


def test_unknown_part_names_the_choices():
    with pytest.raises(DatasetError, match="transactions, profiles, oracle, truth"):
        dataset("labels")


def test_every_wrong_parameter_is_named():
    with pytest.raises(DatasetError) as caught:
        dataset(num_users="many", colour="red")
    assert "num_users" in str(caught.value)
    assert "colour" in str(caught.value)


def test_description_names_part_and_seed():
    assert "transactions" in str(dataset())
    assert dataset()._describe()["simulation"]["seed"] == 5
