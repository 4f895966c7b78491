"""The small ledger of tests/fixtures/personal_merchants.py, and how its heads are trained."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from panther_pipeline.model.backbone import Backbone
from panther_pipeline.tasks.next_value.config import NextValueConfig
from panther_pipeline.tokenizer.fields import FittedField
from panther_pipeline.tokenizer.sequences import TokenSequences

MERCHANTS = runpy.run_path(str(Path(__file__).parents[2] / "fixtures" / "personal_merchants.py"))
CONFIG = NextValueConfig(
    attributes=["category", "counterparty"], max_values=100, copy_past=True, max_events=10_000,
    max_valid_events=10_000, batch_size=32, max_epochs=4, patience=2, learning_rate=0.02, seed=0,
)  # fmt: skip


@pytest.fixture(scope="session")
def config() -> NextValueConfig:
    return CONFIG


@pytest.fixture(scope="session")
def sequences() -> TokenSequences:
    return MERCHANTS["make_sequences"]()


@pytest.fixture(scope="session")
def events(sequences) -> pl.DataFrame:
    return MERCHANTS["make_events"](sequences)


@pytest.fixture(scope="session")
def backbone(sequences) -> Backbone:
    return MERCHANTS["make_backbone"](sequences)


@pytest.fixture(scope="session")
def factored(sequences) -> Backbone:
    return MERCHANTS["make_backbone"](sequences, "factored")


@pytest.fixture(scope="session")
def tokenizer():
    """As much of one as the marginal reads."""
    category = FittedField(
        name="what", source="category", column="category", categories=MERCHANTS["CATEGORIES"][2:], edges=None
    )
    amount = FittedField(name="amount", source="amount", column="amount", categories=None, edges=[0])
    return SimpleNamespace(fields=[category, amount])


@pytest.fixture(scope="session")
def ledger():
    """Another ledger of the same kind, by the lengths of its histories."""

    def make(lengths: tuple[int, ...]) -> tuple[TokenSequences, pl.DataFrame]:
        sequences = MERCHANTS["make_sequences"](lengths=lengths)
        return sequences, MERCHANTS["make_events"](sequences)

    return make
