"""A public ledger as its environment reads it, and its raw files as csv and pandas do."""

import csv
import gzip
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl
import pytest
from kedro.io import AbstractDataset

from panther_pipeline.ledger.faults import QuarantineRules, find_faults
from panther_pipeline.ledger.mapping import map_events
from panther_pipeline.ledger.ordering import order_events
from panther_pipeline.ledger.profiles import map_profiles, map_user_labels
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.ledger.splits import SPLIT_NAMES, SplitConfig, assign_split
from panther_pipeline.units import epoch_us


@dataclass(frozen=True)
class Ledger:
    """What ingestion and validation make of an environment; nothing is written."""

    catalog: dict[str, Any]
    parameters: dict[str, Any]

    def load(self, entry: str) -> Any:
        return AbstractDataset.from_config(entry, self.catalog[entry]).load()

    @cached_property
    def schema(self) -> LedgerSchema:
        return LedgerSchema(**self.parameters["ledger"]["schema"])

    @cached_property
    def mapped(self) -> tuple[pl.DataFrame, dict[str, Any]]:
        events, account = map_events(self.load("raw_transactions"), self.schema)
        return events.collect(), account

    @property
    def events(self) -> pl.DataFrame:
        """In file order: row n of the table is row n of the files."""
        return self.mapped[0]

    @cached_property
    def faults(self) -> pl.DataFrame:
        return find_faults(self.events, self.schema, QuarantineRules(**self.parameters["validation"]["rules"]))

    @cached_property
    def valid_events(self) -> pl.DataFrame:
        return order_events(self.events.lazy(), self.faults, self.schema).collect()

    @cached_property
    def profiles(self) -> pl.DataFrame:
        return map_profiles(self.load("raw_profiles"), self.schema)

    @cached_property
    def user_labels(self) -> pl.DataFrame:
        return map_user_labels(self.load("raw_user_labels"), self.schema)

    def count_by_reason(self) -> dict[str, int]:
        return dict(self.faults["reason"].value_counts().rows())

    def count_by_split(self) -> dict[str, int]:
        events = self.valid_events
        config = SplitConfig(**self.parameters["ledger"]["splits"])
        splits = pl.Series(assign_split(epoch_us(events["event_time"]), events["user_id"], config))
        return {SPLIT_NAMES[split]: count for split, count in splits.value_counts().rows()}


@pytest.fixture(scope="session")
def read_ledger(shared_data, load_config):
    """The ledger of an environment, from the public files."""

    def read(env: str) -> Ledger:
        loader = load_config(env, runtime_params={"data_root": str(shared_data)})
        return Ledger(loader["catalog"], loader["parameters"])

    return read


@pytest.fixture(scope="session")
def read_lines(shared_data):
    """The lines of a raw file, its header first."""

    def read(path: str) -> list[str]:
        content = (shared_data / path).read_bytes()
        return (gzip.decompress(content) if path.endswith(".gz") else content).decode().splitlines()

    return read


@pytest.fixture(scope="session")
def read_raw(read_lines):
    """The rows of a raw file as text, by Python's own reader."""

    def read(path: str, delimiter: str = ",") -> list[dict[str, str]]:
        return list(csv.DictReader(read_lines(path), delimiter=delimiter))

    return read


@pytest.fixture(scope="session")
def assert_fits():
    """Parameters of a ledger build, and every source of the tokenizer's fields is there."""
    from panther_pipeline.tokenizer.config import VocabularyConfig
    from panther_pipeline.training.config import LossConfig, TrainingConfig

    def check(ledger: Ledger) -> None:
        vocabulary = VocabularyConfig(**ledger.parameters["tokenizer"]["vocabulary"])
        LossConfig(**ledger.parameters["pretraining"]["loss"])
        TrainingConfig(**ledger.parameters["pretraining"]["training"])
        columns = {f.column or f.name for f in vocabulary.fields if f.source in ("category", "number")}
        assert columns <= set(ledger.valid_events.columns)
        if any(field.source == "amount" for field in vocabulary.fields):
            assert ledger.schema.amount

    return check
