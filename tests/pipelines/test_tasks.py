"""Labels of users and merchant risk, as the `finetune` pipeline has them, on an in-memory catalog."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from panther_pipeline.cache.embed import EventEmbeddingConfig
from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.metrics.merchant_risk import MERCHANT_MODELS
from panther_pipeline.metrics.user_label import CONSTANT, USER_LABEL_MODELS
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.pipelines.finetune.merchant_risk import create_merchant_risk_pipeline
from panther_pipeline.pipelines.finetune.user_label import create_user_label_pipeline
from panther_pipeline.scoring.trees import TreeConfig
from panther_pipeline.tasks.merchant_risk.config import MerchantRiskConfig
from panther_pipeline.tasks.user_label.aggregates import HistoryConfig
from panther_pipeline.tasks.user_label.fit import ModelsConfig
from panther_pipeline.tasks.user_label.protocol import ProtocolConfig
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.units import epoch_us

USER_LABEL_BLOCKS = {"history": HistoryConfig, "protocol": ProtocolConfig, "models": ModelsConfig}
MERCHANT_BLOCKS = {"rows": MerchantRiskConfig, "trees": TreeConfig}
SPLITS = SplitConfig(
    protocol="time", train_end="2024-01-16", valid_end="2024-01-24", test_end=None,
    embargo_days=0.0, test_share=None, valid_share=None, held_out_user_share=0.0
)  # fmt: skip


def read_user_label_blocks(load_config, env: str = "base") -> dict:
    parameters = load_config(env)["parameters"]["finetuning"]["user_label"]
    assert set(parameters) == set(USER_LABEL_BLOCKS)
    return {name: block(**parameters[name]) for name, block in USER_LABEL_BLOCKS.items()}


def read_merchant_blocks(load_config, env: str = "base") -> dict:
    parameters = load_config(env)["parameters"]["finetuning"]["merchant_risk"]
    assert set(parameters) == set(MERCHANT_BLOCKS)
    return {name: block(**parameters[name]) for name, block in MERCHANT_BLOCKS.items()}


def user_label_inputs(load_config, valid_events: pl.DataFrame) -> dict:
    """Two labels of every user, an untrained backbone, and fewer folds than ship."""
    lengths_U = valid_events["user_id"].rle().struct.field("len").to_numpy().astype(np.int64)
    users, count = valid_events["user_id"].unique().sort(), valid_events.height
    sequences = TokenSequences(
        user_ids=users.to_list(), offsets_U1=np.append(0, np.cumsum(lengths_U)), token_ids_N=np.ones(count, np.int32),
        attribute_ids_NF=np.ones((count, 1), np.int32), time_us_N=epoch_us(valid_events["event_time"]),
        split_N=np.zeros(count, np.int8), profile_ids_UP=np.zeros((len(users), 0), np.int32), vocab_size=3,
        attribute_names=["a"], attribute_sizes=[3], profile_names=[], profile_sizes=[], tokenizer_digest="t",
    )  # fmt: skip
    sizes = {"vocab_size": 3, "attribute_sizes": [3], "profile_sizes": []}
    model = ModelConfig(dim=8, num_layers=1, num_heads=1, max_events=8, num_prototypes=2)
    labels = pl.concat(
        pl.DataFrame({"user_id": users}).with_columns(
            pl.lit(datetime(2024, 1, day, tzinfo=UTC)).cast(pl.Datetime("us", "UTC")).alias("as_of"),
            pl.Series("label", np.arange(len(users)) % 4 == 0, dtype=pl.Int8),
        )
        for day in (15, 30)
    )
    blocks = read_user_label_blocks(load_config)
    fewer = {"num_folds": 2, "num_repeats": 1}
    blocks["protocol"] = blocks["protocol"].model_copy(update=fewer)
    trees = blocks["models"].trees.model_copy(update={"num_rounds": [3]})
    blocks["models"] = blocks["models"].model_copy(update={"num_inner_folds": 2, "trees": trees})
    return {
        "user_labels": labels,
        "profiles": pl.DataFrame({"user_id": users, "region": ["north", "south"] * (len(users) // 2)}),
        "token_sequences": sequences,
        "backbone": Backbone(model, **sizes, tokenizer_digest="t", tokenizer_kind="structured").eval(),
        "params:embedding.events": EventEmbeddingConfig(since=None, refresh="each_event", batch_size=16),
        **{f"params:finetuning.user_label.{name}": block for name, block in blocks.items()},
    }


def run_pipeline(load_config, valid_events: pl.DataFrame, **changes) -> DataCatalog:
    torch.set_num_threads(1)
    merchant = read_merchant_blocks(load_config)
    merchant["rows"] = merchant["rows"].model_copy(update={"windows_days": [2, 5], "horizon_days": 2, "every_days": 1})
    merchant["trees"] = merchant["trees"].model_copy(update={"seeds": [0], "num_rounds": 10})
    count = valid_events.height
    rng = np.random.default_rng(1)
    inputs = {
        "valid_events": valid_events,
        "params:ledger.splits": SPLITS,
        **user_label_inputs(load_config, valid_events),
        "event_surprises": pl.DataFrame({"surprise": rng.random(count), "cosine": rng.random(count)}),
        **{f"params:finetuning.merchant_risk.{name}": block for name, block in merchant.items()},
        **changes,
    }
    pipeline = create_user_label_pipeline() + create_merchant_risk_pipeline()
    assert pipeline.inputs() == set(inputs)
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()})
    for name in pipeline.all_outputs():
        catalog[name] = MemoryDataset(copy_mode="assign")
    SequentialRunner().run(pipeline, catalog)
    return catalog


def test_tasks_score_with_every_model(load_config, labelled_events):
    catalog = run_pipeline(load_config, labelled_events)
    labels = catalog.load("user_label_scores")
    assert set(labels["model"]) == set(USER_LABEL_MODELS) - {CONSTANT}
    assert labels.group_by("model").len()["len"].unique().to_list() == [100]
    assert labels["score"].is_between(0, 1).all()
    assert set(catalog.load("merchant_risk_scores")["model"]) == set(MERCHANT_MODELS)


def test_tasks_end_well_on_a_ledger_without_labels(load_config, labelled_events, caplog):
    bare = labelled_events.with_columns(label=pl.lit(None, pl.Int8), label_time=pl.lit(None, pl.Datetime("us", "UTC")))
    nobody = pl.DataFrame(schema={"user_id": pl.String, "as_of": pl.Datetime("us", "UTC"), "label": pl.Int8})
    catalog = run_pipeline(load_config, bare, user_labels=nobody)
    assert catalog.load("user_label_scores").is_empty()
    assert [r.message for r in caplog.records if "labels of users" in r.message] == [
        "This ledger has no labels of users (ledger.schema.user_labels): nothing is fitted on them."
    ]
    assert catalog.load("merchant_risk_scores").is_empty()


def test_shipped_parameters_of_the_tasks_are_valid(environments, load_config):
    for env in environments:
        assert read_user_label_blocks(load_config, env)
        assert read_merchant_blocks(load_config, env)
