"""`evaluate` on an in-memory catalog, with the parameters of every environment."""

import inspect
import json
import re
import runpy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from panther_pipeline.metrics.config import (
    BootstrapConfig,
    CostConfig,
    FraudMetricsConfig,
    MerchantRiskMetricsConfig,
    RankingConfig,
)
from panther_pipeline.metrics.merchant_risk import MERCHANT_MODELS
from panther_pipeline.metrics.records import FIELDS
from panther_pipeline.metrics.user_label import USER_LABEL_MODELS
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.pipelines.evaluate import create_pipeline
from panther_pipeline.report.candidate import RegistryConfig
from panther_pipeline.report.model_card import CardConfig
from panther_pipeline.report.motifs import MotifConfig
from panther_pipeline.report.prototypes import PrototypeConfig
from panther_pipeline.report.timeline import TimelineConfig
from panther_pipeline.tasks.next_value.head import NextValueHeads
from panther_pipeline.tokenizer.config import FieldConfig, VocabularyConfig
from panther_pipeline.tokenizer.counting import TupleCounter
from panther_pipeline.tokenizer.vocabulary import Vocabulary, fit_vocabulary

BLOCKS = {
    "ranking": RankingConfig,
    "bootstrap": BootstrapConfig,
    "motifs": MotifConfig,
    "prototypes": PrototypeConfig,
    "timeline": TimelineConfig,
    "card": CardConfig,
    "costs": CostConfig,
    "fraud": FraudMetricsConfig,
    "merchant_risk": MerchantRiskMetricsConfig,
    "registry": RegistryConfig,
}
VALUES = {
    "registry": {
        "enabled": True,
        "name": "panther_test",
        "metric": "average_precision",
        "split": "test",
        "alias": "champion",
        "min_gain": 0.0,
        "incomparable": "keep",
        "versions": "every_run",
    },
    "fraud": {"short_history": 5},
    "costs": {"review": 5.0, "missed_share": 1.0, "missed_fixed": 0.0},
    "ranking": {"max_users": None, "seed": 0, "batch_size": 8, "exclude_seen": False},
    "bootstrap": {"num_resamples": 100, "seed": 0},
    "motifs": {"num_motifs": 6, "min_count": 2, "min_users": 1, "min_lift": 1.0, "max_alike": 3},
    "prototypes": {
        "num_tokens": 5,
        "num_nearest": 2,
        "min_events": 1,
        "max_windows": 10,
        "batch_size": 4,
        "seed": 0,
    },
    "timeline": {"enabled": True, "user_id": None, "max_events": 50, "num_expected": 3, "batch_size": 4},
    "card": {"title": "Model card", "ledger": "unit"},
    "merchant_risk": {"num_flagged": [5]},
}


class KeptDataset(MemoryDataset):
    """Stays after the last node that reads it, as a file would."""

    def _release(self) -> None:
        pass


@pytest.fixture(scope="module")
def sequences():
    path = Path(__file__).parents[1] / "fixtures" / "histories.py"
    drawn = runpy.run_path(str(path))["random_sequences"]()
    vocabulary = fit_tokens(drawn)
    return replace(drawn, token_ids_N=vocabulary.encode(drawn.attribute_ids_NF), vocab_size=vocabulary.size)


def fit_tokens(sequences) -> Vocabulary:
    config = VocabularyConfig(
        fields=[FieldConfig(name="x", source="amount", kind="quantile", num_bins=2)], zone="UTC", max_tokens=None,
        coverage_target=None, min_count=40, max_dropped=1, profile_max_categories=2, profile_num_bins=2,
    )  # fmt: skip
    ranks = [np.arange(size) for size in sequences.attribute_sizes]
    return fit_vocabulary(TupleCounter.of(sequences.attribute_ids_NF, sequences.attribute_sizes), ranks, [1, 0], config)


def make_backbone(sequences, tokenizer_kind="structured", **changes) -> Backbone:
    config = ModelConfig(
        **{"dim": 16, "num_layers": 1, "num_heads": 2, "max_events": 16, "num_prototypes": 4, **changes}
    )
    sizes = {"attribute_sizes": sequences.attribute_sizes, "profile_sizes": sequences.profile_sizes}
    return Backbone(
        config,
        vocab_size=sequences.vocab_size,
        **sizes,
        tokenizer_digest="tokenizer",
        tokenizer_kind=tokenizer_kind,
    ).eval()


def fraud_scores(num: int = 200) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    events = pl.DataFrame(
        {
            "event_id": [f"e{i}" for i in range(num)],
            "row": np.arange(num),
            "user_id": [f"u{i % 20:03d}" for i in range(num)],
            "event_time": [datetime(2024, 11, 1 + i % 20, tzinfo=UTC) for i in range(num)],
            "label": (rng.random(num) < 0.2).astype(np.int8),
            "amount_cents": rng.integers(1, 9999, num),
            "event_seq": [i // 20 for i in range(num)],
            "cold": [i % 20 < 10 for i in range(num)],
            "split": ["test"] * num,
        }
    )
    models = ("trees_features", "trees_embeddings", "trees_both", "panther_head")
    return pl.concat(
        events.with_columns(model=pl.lit(model), seed=pl.lit(0, pl.Int64), score=pl.Series(rng.random(num)))
        for model in models
    )


def user_label_scores(num: int = 60) -> pl.DataFrame:
    rng = np.random.default_rng(2)
    labels = pl.DataFrame(
        {
            "user_id": [f"u{i:03d}" for i in range(num)],
            "as_of": [datetime(2024, 11, 1, tzinfo=UTC)] * num,
            "label": (np.arange(num) % 3 == 0).astype(np.int8),
            "split": ["out_of_fold"] * num,
        }
    )
    return pl.concat(
        labels.with_columns(model=pl.lit(model), repeat=pl.lit(repeat), score=pl.Series(rng.random(num)))
        for model in USER_LABEL_MODELS[1:]
        for repeat in range(2)
    )


def merchant_risk_scores(num: int = 60) -> pl.DataFrame:
    rng = np.random.default_rng(3)
    rows = pl.DataFrame(
        {
            "counterparty": [f"m{i % 20:02d}" for i in range(num)],
            "as_of": [datetime(2024, 11, 1 + i // 20, tzinfo=UTC) for i in range(num)],
            "label": (rng.random(num) < 0.3).astype(np.int8),
            "known_frauds": rng.integers(0, 2, num),
            "split": ["test"] * num,
        }
    )
    return pl.concat(
        rows.with_columns(model=pl.lit(model), seed=pl.lit(0, pl.Int64), score=pl.Series(rng.random(num)))
        for model in MERCHANT_MODELS
    )


def run_evaluate(sequences, **changes) -> dict:
    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    usage = {"num_events": 10, "whole_rate": 0.9, "coverage": 0.95, "unk_rate": 0.05}
    inputs = {
        "backbone": make_backbone(sequences),
        "token_sequences": sequences,
        "tokenizer": SimpleNamespace(
            names=[f"token {i}" for i in range(sequences.vocab_size)],
            name_tuples=lambda ids_NF: ["|".join(map(str, ids)) for ids in ids_NF],
            fields=[],
            digest="tokenizer",
            vocabulary=fit_tokens(sequences),
        ),
        "valid_events": pl.DataFrame(
            {
                "event_id": [f"e{i}" for i in range(sequences.num_events)],
                "label": pl.Series([None] * sequences.num_events, dtype=pl.Int8),
            }
        ),
        "params:ledger.schema": SimpleNamespace(is_timed=True),
        "ledger_oracle": pl.DataFrame(),
        "ledger_truth": pl.DataFrame(),
        "fraud_kinds": pl.DataFrame(),
        "fraud_scores": fraud_scores(),
        "user_label_scores": user_label_scores(),
        "merchant_risk_scores": merchant_risk_scores(),
        "user_embeddings": pl.DataFrame(
            {
                "user_id": sequences.user_ids,
                "embedding": pl.Series(
                    rng.random((sequences.num_users, 16), np.float32), dtype=pl.Array(pl.Float32, 16)
                ),
                "num_events": np.diff(sequences.offsets_U1),
            }
        ),
        "validation_report": {
            "counts": {"rows_in": 9, "accepted": 8, "quarantined": 1},
            "reasons": {"duplicate": 1},
        },
        "coverage_report": {"splits": [{"split": "train", **usage}]},
        "training_plot": go.Figure(),
        "coverage_plot": go.Figure(),
        "params:evaluation.user_map.seed": 0,
        "params:pretraining.training.seed": 77,
        "code_version": {"commit": "abc123", "changed": "true"},
        "transfer_report": {"source": "older_bank", "train_end": "2023-06-01"},
        "next_value_heads": NextValueHeads([], dim=16, backbone_digest=""),
        **{f"params:evaluation.{name}": BLOCKS[name](**values) for name, values in VALUES.items()},
        **changes,
    }
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()})
    kept = (
        "next_transaction_ranks", "metrics", "alert_budgets", "motifs", "prototype_weights", "prototype_summary",
        "user_timeline", "model_card", "model_candidate",
    )  # fmt: skip
    for name in kept:
        catalog[name] = KeptDataset(copy_mode="assign")
    SequentialRunner().run(create_pipeline(), catalog)
    return {name: catalog.load(name) for name in kept}


@pytest.fixture(scope="module")
def outputs(sequences) -> dict:
    return run_evaluate(sequences)


def test_evaluate_measures_every_model_of_both_tasks(outputs):
    metrics = outputs["metrics"]
    assert all(tuple(record) == FIELDS for record in metrics)
    json.dumps(metrics, allow_nan=False)
    tasks = ("next_transaction", "fraud", "merchant_risk")
    models = {task: {r["model"] for r in metrics if r["task"] == task} for task in tasks}
    assert models["next_transaction"] == {
        "popularity",
        "repeat_last",
        "personal_frequency",
        "markov",
        "panther",
        "panther_structured",
    }
    assert models["fraud"] == {"trees_features", "trees_embeddings", "trees_both", "panther_head"}
    assert models["merchant_risk"] == set(MERCHANT_MODELS)
    keys = [tuple(r[key] for key in ("task", "model", "metric", "split")) for r in metrics]
    assert len(keys) == len(set(keys))


def test_evaluate_offers_the_served_head_to_the_registry(outputs):
    wanted = {"task": "fraud", "model": "panther_head", "metric": "average_precision", "split": "test"}
    (record,) = [r for r in outputs["metrics"] if wanted.items() <= r.items()]
    offered = json.loads(json.dumps(outputs["model_candidate"], allow_nan=False))
    assert float(offered["tags"]["value"]) == record["value"]
    assert offered["tags"]["seed"] == "77"
    assert offered["registry"] == VALUES["registry"]


def test_evaluate_measures_labels_of_users_and_shows_them(outputs):
    found = [r for r in outputs["metrics"] if r["task"] == "user_label"]
    assert {r["model"] for r in found} == set(USER_LABEL_MODELS)
    assert {(r["split"], r["n"], r["seeds"]) for r in found} == {("out_of_fold", 60, 2)}
    assert "60 labels, 33.3% of them positive" in outputs["model_card"]


def test_evaluate_measures_cold_starts_apart(outputs):
    counts = {r["split"]: r["n"] for r in outputs["metrics"] if r["task"] == "fraud"}
    assert counts == {"test": 200, "test_short_history": 100, "test_cold": 100}
    for heading in ("Users with a short history", "Users never seen in training"):
        assert heading in outputs["model_card"]


def test_evaluate_tabulates_and_draws_alert_budgets(outputs):
    assert outputs["alert_budgets"]["model"].n_unique() == 4
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', outputs["model_card"], re.S).group(1))
    assert len(figures["plot-alert_budget"]["data"]) == 4 * 5


def test_evaluate_averages_prototype_weights_per_token(outputs, sequences):
    table = outputs["prototype_weights"]
    sums = table.group_by("length", "pattern").agg(pl.col("weight").sum())
    assert np.allclose(sums["weight"], 1.0, atol=1e-5)
    tokens = table.filter(length=1)
    assert (tokens["pattern"] == tokens["last_token_id"].cast(pl.String).str.replace("^", "token ")).all()
    assert set(table.filter(pl.col("length") > 1)["pattern"]) <= set(outputs["motifs"]["name"])


def test_evaluate_draws_the_motifs_and_one_users_timeline(outputs):
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', outputs["model_card"], re.S).group(1))
    drawn = figures["plot-motifs"]["data"][0]["z"]
    assert len(drawn) == outputs["prototype_weights"].filter(pl.col("length") > 1)["pattern"].n_unique() > 0
    timeline = outputs["user_timeline"]
    assert timeline["user_id"].n_unique() == 1
    assert len(figures["plot-timeline"]["data"][0]["y"]) == len(timeline) > 0
    assert len(outputs["prototype_summary"]) == 4
    json.dumps(outputs["prototype_summary"], allow_nan=False)


def test_evaluate_writes_a_card_with_the_numbers_and_the_identity_of_the_run(outputs, sequences):
    card = outputs["model_card"]
    hit = next(
        r for r in outputs["metrics"] if r["model"] == "panther" and r["metric"] == "hr@10" and r["split"] == "test"
    )
    assert f"{hit['value']:.4f}" in card
    assert make_backbone(sequences).digest[:16] in card
    assert "abc123 with local changes" in card
    assert "<dd>77</dd>" in card


def test_evaluate_is_the_same_twice(outputs, sequences):
    again = run_evaluate(sequences)
    assert again["metrics"] == outputs["metrics"]
    assert again["model_card"] == outputs["model_card"]
    assert again["next_transaction_ranks"].equals(outputs["next_transaction_ranks"])


def test_evaluate_runs_for_a_ledger_without_labels_and_a_backbone_without_prototypes(sequences):
    outputs = run_evaluate(
        sequences,
        fraud_scores=fraud_scores().clear(),
        user_label_scores=user_label_scores().clear(),
        merchant_risk_scores=merchant_risk_scores().clear(),
        backbone=make_backbone(sequences, mixer="attention"),
    )
    assert {record["task"] for record in outputs["metrics"]} == {"next_transaction"}
    assert outputs["prototype_weights"].is_empty()
    assert outputs["prototype_summary"] == []
    assert outputs["model_card"].count("This backbone has no prototypes") == 2
    assert "Not measured" in outputs["model_card"]


def test_evaluate_of_a_factored_backbone_measures_combinations_and_no_tokens(sequences):
    outputs = run_evaluate(sequences, backbone=make_backbone(sequences, "factored"))
    ours = {(r["model"], r["metric"]) for r in outputs["metrics"] if r["model"].startswith("panther_factored")}
    assert ours == {("panther_factored", m) for m in ("bits_per_transaction", "tuple_hr@1", "tuple_hr@10")}
    assert not any(record["model"] == "panther" for record in outputs["metrics"])
    assert "panther_factored" in outputs["model_card"]
    assert len(outputs["prototype_weights"])
    assert outputs["user_timeline"]["token"].str.contains(r"^\d\|\d$").all()


def test_evaluate_says_among_what_tokens_were_ranked(outputs, sequences):
    new = run_evaluate(
        sequences, **{"params:evaluation.ranking": RankingConfig(**VALUES["ranking"] | {"exclude_seen": True})}
    )
    for found, candidates in ((outputs, "all tokens"), (new, "tokens new to the user")):
        said = {(r["task"], r["metric"].startswith(("tuple_", "bits")), r["candidates"]) for r in found["metrics"]}
        assert said == {
            ("next_transaction", False, candidates),
            ("next_transaction", True, "all combinations"),
            ("fraud", False, None),
            ("user_label", False, None),
            ("merchant_risk", False, None),
        }
        assert f"transactions, each ranked among {candidates};" in found["model_card"]


def test_nodes_are_named_after_their_functions_and_document_themselves():
    for node in create_pipeline().nodes:
        assert node.name == node.func.__name__
        assert inspect.getdoc(node.func)


def test_parameters_of_every_environment_build(environments, load_config):
    for env in environments:
        block = load_config(env)["parameters"]["evaluation"]
        assert set(block) == {*BLOCKS, "user_map"}
        for name, config in BLOCKS.items():
            assert set(block[name]) == set(config.model_fields)
            config(**block[name])
