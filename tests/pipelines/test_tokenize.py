"""The `tokenize` pipeline on an in-memory catalog, and the parameters that ship."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.pipelines.tokenize import create_pipeline
from panther_pipeline.tokenizer.config import VocabularyConfig

OUTPUTS = {"tokenizer", "token_sequences", "vocabulary", "coverage_report", "coverage_plot"}
PARAMETER_FILES = ["base/parameters/tokenizer.yml", "handbook/parameters_ledger.yml"]


class KeptDataset(MemoryDataset):
    """Stays loaded after its last reader, so that the test can look at it."""

    def _release(self) -> None:
        pass


def read_config(project_root, file: str) -> VocabularyConfig:
    return VocabularyConfig(**yaml.safe_load((project_root / "conf" / file).read_text())["tokenizer"]["vocabulary"])


@pytest.fixture
def valid_events() -> pl.DataFrame:
    rng = np.random.default_rng(3)
    days = np.sort(rng.integers(0, 300, (20, 50)), axis=1).ravel()
    return pl.DataFrame(
        {
            "user_id": np.repeat([f"u{i:02d}" for i in range(20)], 50),
            "event_seq": np.tile(np.arange(50), 20),
            "event_time": pl.Series(days * 86_400_000_000).cast(pl.Duration("us")) + datetime(2024, 1, 1, tzinfo=UTC),
            "amount_cents": rng.integers(-2_000, 20_000, 1000),
            "category": rng.choice(["groceries", "fuel", "rent"], 1000),
            "channel": rng.choice(["card", "online"], 1000),
        }
    )


@pytest.mark.parametrize("file", PARAMETER_FILES)
def test_tokenize_makes_all_its_outputs(project_root, valid_events, file):
    splits = SplitConfig(
        protocol="time",
        train_end="2024-08-01",
        valid_end="2024-09-01",
        test_end=None,
        embargo_days=0.0,
        test_share=None,
        valid_share=None,
        held_out_user_share=0.0,
    )
    inputs = {
        "valid_events": valid_events.lazy(),
        "profiles": pl.DataFrame(),
        "params:tokenizer.vocabulary": read_config(project_root, file),
        "params:ledger.splits": splits,
    }
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()})
    pipeline = create_pipeline()
    assert pipeline.inputs() == set(inputs)
    assert pipeline.all_outputs() == OUTPUTS
    for name in OUTPUTS:
        catalog[name] = KeptDataset(copy_mode="assign")
    SequentialRunner().run(pipeline, catalog)
    tokenizer, sequences = catalog.load("tokenizer"), catalog.load("token_sequences")
    assert sequences.tokenizer_digest == tokenizer.digest
    assert sequences.num_events == len(valid_events)
    assert catalog.load("vocabulary").height == tokenizer.vocab_size
    assert catalog.load("coverage_report")["splits"][0]["split"] == "train"
    assert len(catalog.load("coverage_plot").data) == 3


@pytest.mark.parametrize("file", PARAMETER_FILES)
def test_shipped_parameters_explain_themselves(project_root, file):
    config = read_config(project_root, file)
    assert any(field.source == "amount" for field in config.fields)
    assert config.max_dropped < len(config.fields)
