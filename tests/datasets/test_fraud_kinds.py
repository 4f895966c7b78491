"""Kinds of fraud as a catalog entry."""

import polars as pl
import pytest
from kedro.io import DataCatalog
from kedro.io.core import DatasetError

from panther_pipeline.datasets import FraudKindsDataset

COLUMNS = {"event_id": "payment", "kind": "scenario", "names": {"1": "stolen"}}


def test_entry_loads_ids_and_kinds_alone(tmp_path):
    file = tmp_path / "payments.parquet"
    pl.DataFrame({"payment": [1, 2], "scenario": [0, 1], "amount": [5, 6]}).write_parquet(file)
    source = {"type": "polars.LazyPolarsDataset", "filepath": str(file), "file_format": "parquet"}
    entry = {"type": "panther_pipeline.datasets.FraudKindsDataset", "source": source, **COLUMNS}
    catalog = DataCatalog.from_config({"fraud_kinds": entry})
    assert catalog.load("fraud_kinds").rows(named=True) == [{"event_id": "2", "kind": "stolen"}]
    assert catalog.exists("fraud_kinds")
    with pytest.raises(DatasetError, match="never written"):
        catalog.save("fraud_kinds", pl.DataFrame({"event_id": []}))


def test_source_without_type_is_refused():
    with pytest.raises(DatasetError, match="type"):
        FraudKindsDataset(source={"filepath": "a.parquet"}, **COLUMNS)


def test_ids_are_those_of_the_events_unless_cards_are_allowed(tmp_path, card_key):
    file = tmp_path / "payments.parquet"
    pl.DataFrame({"payment": [4111111111111111], "scenario": [1]}).write_parquet(file)
    source = {"type": "polars.LazyPolarsDataset", "filepath": str(file), "file_format": "parquet"}
    ids = {setting: FraudKindsDataset(source=source, card_numbers=setting, **COLUMNS).load()["event_id"][0]
           for setting in ("tokenize", "allow")}  # fmt: skip
    assert ids == {"tokenize": card_key.token("4111111111111111"), "allow": "4111111111111111"}
    with pytest.raises(DatasetError, match="allowed: tokenize, allow"):
        FraudKindsDataset(source=source, card_numbers="hash", **COLUMNS)
