"""The next-value nodes of `finetune` and `evaluate` on an in-memory catalog, and the parameters that ship."""

import runpy
from pathlib import Path
from types import SimpleNamespace

from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.metrics.config import BootstrapConfig, RankingConfig
from panther_pipeline.pipelines import evaluate
from panther_pipeline.pipelines.finetune import create_pipeline
from panther_pipeline.pipelines.finetune.next_value import create_next_value_pipeline
from panther_pipeline.tasks.next_value.config import NextValueConfig

EVALUATED = ("rank_next_values", "measure_next_values")


def read_block(load_config, env: str = "base") -> NextValueConfig:
    return NextValueConfig(**load_config(env)["parameters"]["finetuning"]["next_value"])


def run_pipelines(config: NextValueConfig) -> DataCatalog:
    merchants = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "personal_merchants.py"))
    sequences = merchants["make_sequences"]()
    inputs = {
        "valid_events": merchants["make_events"](sequences).lazy(),
        "token_sequences": sequences,
        "backbone": merchants["make_backbone"](sequences),
        "tokenizer": SimpleNamespace(fields=[]),
        "params:finetuning.next_value": config,
        "params:evaluation.ranking": RankingConfig(max_users=None, seed=0, batch_size=8),
        "params:evaluation.bootstrap": BootstrapConfig(num_resamples=100, seed=0),
    }
    pipeline = create_next_value_pipeline() + evaluate.create_pipeline().only_nodes(*EVALUATED)
    assert pipeline.inputs() == set(inputs)
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()})
    for name in pipeline.all_outputs():
        catalog[name] = KeptDataset(copy_mode="assign")
    SequentialRunner().run(pipeline, catalog)
    return catalog


class KeptDataset(MemoryDataset):
    """Stays after the last node that reads it, as a file would."""

    def _release(self) -> None:
        pass


def test_every_attribute_becomes_a_task_of_its_own(load_config):
    config = read_block(load_config).model_copy(update={"max_epochs": 1, "batch_size": 64})
    catalog = run_pipelines(config)
    assert [head.attribute for head in catalog.load("next_value_heads").heads] == ["category", "counterparty"]
    assert {r["task"] for r in catalog.load("next_value_metrics")} == {"next_category", "next_counterparty"}


def test_no_attributes_end_without_heads_ranks_and_records(load_config):
    catalog = run_pipelines(read_block(load_config).model_copy(update={"attributes": []}))
    assert catalog.load("next_value_heads").heads == []
    assert catalog.load("next_value_ranks").is_empty()
    assert catalog.load("next_value_metrics") == []


def test_finetune_makes_the_heads(load_config):
    assert "next_value_heads" in create_pipeline().all_outputs()


def test_shipped_attributes_are_ones_that_their_ledger_has(environments, load_config):
    for env in environments:
        schema = LedgerSchema(**load_config(env)["parameters"]["ledger"]["schema"])
        known = {attribute.name for attribute in schema.attributes if attribute.kind == "category"}
        known |= {"counterparty"} if schema.counterparty else set()
        assert set(read_block(load_config, env).attributes or []) <= known, env
