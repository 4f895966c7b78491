"""The ingest pipeline on in-memory data: the simulated ledger's tables and the handbook's."""

import polars as pl
import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from panther_pipeline.datasets import LongTableDataset
from panther_pipeline.ledger.faults import QuarantineRules, find_faults
from panther_pipeline.ledger.mapping import map_events
from panther_pipeline.ledger.ordering import order_events
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.ledger.simulator import SimulationConfig, simulate_ledger
from panther_pipeline.pipelines.ingest import create_pipeline


def read_schema(project_root, path):
    return LedgerSchema(**yaml.safe_load((project_root / "conf" / path).read_text())["ledger"]["schema"])


@pytest.fixture(scope="module")
def simulated():
    return simulate_ledger(SimulationConfig(num_users=60, start="2024-01-01", end="2024-04-01", seed=3))


def run(raw_transactions, raw_profiles, schema, folder):
    catalog = DataCatalog({
        "raw_transactions": MemoryDataset(raw_transactions),
        "raw_profiles": MemoryDataset(raw_profiles),
        "raw_user_labels": MemoryDataset(pl.DataFrame()),
        "params:ledger.schema": MemoryDataset(schema, copy_mode="assign"),
    })  # fmt: skip
    catalog["events"] = LongTableDataset(filepath=str(folder / "events.parquet"))
    outputs = SequentialRunner().run(create_pipeline(), catalog)
    loaded = {name: dataset.load() for name, dataset in outputs.items()}
    return {**loaded, "events": catalog["events"].load().collect()}


def test_ingest_declares_its_public_datasets():
    pipeline = create_pipeline()
    assert pipeline.inputs() == {"raw_transactions", "raw_profiles", "raw_user_labels", "params:ledger.schema"}
    assert pipeline.outputs() == {"events", "source_account", "profiles", "user_labels"}


def test_ingest_maps_the_simulated_ledger(project_root, simulated, tmp_path):
    schema = read_schema(project_root, "base/parameters/ledger.yml")
    out = run(simulated.transactions, simulated.profiles, schema, tmp_path)
    assert out["events"].height == simulated.transactions.height
    assert out["source_account"]["rows"] == simulated.transactions.height  # complete once the events are written
    assert out["user_labels"].is_empty()
    assert out["profiles"].height == 60
    assert out["profiles"].columns == ["user_id", "age_band", "region", "card_brand", "income_band"]
    assert out["events"]["problem"].null_count() / out["events"].height > 0.98


def test_ingest_of_a_ledger_without_profiles(project_root, tmp_path):
    raw = pl.DataFrame({
        "TRANSACTION_ID": [1], "TX_DATETIME": ["2018-04-01"], "CUSTOMER_ID": [7], "TERMINAL_ID": [3],
        "TX_AMOUNT": [0.29], "TX_FRAUD": [0], "TX_FRAUD_SCENARIO": [0],
    }).with_columns(pl.col("TX_DATETIME").str.to_datetime())  # fmt: skip
    out = run(raw, pl.DataFrame(), read_schema(project_root, "handbook/parameters_ledger.yml"), tmp_path)
    assert out["profiles"].columns == ["user_id"]
    assert out["events"].select("user_id", "amount_cents", "counterparty", "label").row(0) == (
        "7",
        29,
        "3",
        0,
    )


def test_handbook_ledger_is_ingested_whole(project_root, shared_data):
    raw = pl.read_parquet(shared_data / "fraud_handbook" / "transactions.parquet")
    schema = read_schema(project_root, "handbook/parameters_ledger.yml")
    events = map_events(raw, schema)[0].collect()
    faults = find_faults(events, schema, QuarantineRules(required=[], max_id_chars=64))
    accepted = order_events(events, faults, schema).collect()
    assert events.height == 1_754_155 == accepted.height
    assert faults.is_empty()
    assert not [c for frame in (events, accepted) for c in frame.columns if "SCENARIO" in c.upper()]
    assert accepted["label"].sum() == 14_681
    # The source's floats carry dirt such as 57.160000000000004; to the cent they are exact.
    paid = (raw["TX_AMOUNT"] * 100).round().cast(pl.Int64)
    assert accepted["amount_cents"].sum() == paid.sum()
    ordered = raw.sort("CUSTOMER_ID", "TX_DATETIME", "TRANSACTION_ID").select(
        user_id=pl.col("CUSTOMER_ID").cast(pl.String), event_id=pl.col("TRANSACTION_ID").cast(pl.String),
        event_seq=pl.int_range(pl.len(), dtype=pl.Int64).over("CUSTOMER_ID"),
    ).sort("user_id", maintain_order=True)  # fmt: skip
    assert accepted.select("user_id", "event_id", "event_seq").equals(ordered)
