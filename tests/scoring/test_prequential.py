"""Refitted and ageing models: each knows what its shift knows, and nothing later."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from panther_pipeline.ledger.splits import SplitConfig, parse_instant
from panther_pipeline.scoring.prequential import score_shifts
from panther_pipeline.scoring.scores import SCORE_SCHEMA
from panther_pipeline.scoring.shifts import PrequentialConfig, plan_shifts
from panther_pipeline.scoring.task import assemble_fraud_task
from panther_pipeline.scoring.trees import fit_tree_baselines

MODELS = ["trees_both", "panther_head"]
CONFIG = PrequentialConfig(num_shifts=3, step_days=5, test_days=5, models=MODELS, seeds=[0])


@pytest.fixture(scope="module")
def shifts(ledger, task_config, splits):
    earlier = SplitConfig(**splits.model_dump() | {"train_end": "2024-01-10", "valid_end": "2024-01-16"})
    return plan_shifts(ledger, CONFIG, task_config, earlier)


@pytest.fixture(scope="module")
def run(shifts, head_config, tree_config):
    head = head_config.model_copy(update={"max_epochs": 2})
    trees = tree_config.model_copy(update={"num_rounds": 10})

    def score(ledger, features, embeddings):
        return score_shifts(ledger, features, embeddings, shifts, CONFIG, head, trees)

    return score


@pytest.fixture(scope="module")
def scores(run, ledger, features, embeddings):
    return run(ledger, features, embeddings)


def of(scores, split: str, model: str | None = None) -> np.ndarray:
    chosen = scores.filter(split=split) if model is None else scores.filter(split=split, model=model)
    return chosen["score"].to_numpy()


def test_every_model_scores_every_window_refitted_and_not(scores, shifts, ledger):
    assert dict(scores.schema) == SCORE_SCHEMA
    expected = MODELS + [f"{model}_aged" for model in MODELS]
    for shift in shifts:
        rows = scores.filter(split=shift.name)
        assert rows["model"].unique(maintain_order=True).to_list() == expected
        bounds = [parse_instant(bound) for bound in (shift.splits.valid_end, shift.splits.test_end)]
        window = ledger.filter(pl.col("event_time").is_between(*bounds, closed="left"))
        assert set(rows.filter(model="trees_both")["event_id"]) == set(window["event_id"])


def test_models_of_the_first_shift_are_those_of_the_fraud_task(
    scores, shifts, ledger, features, embeddings, tree_config
):
    task = assemble_fraud_task(ledger, features, embeddings, shifts[0].task, shifts[0].splits)
    alone = fit_tree_baselines(task, tree_config.model_copy(update={"num_rounds": 10})).filter(
        split="test", model="trees_both", seed=0
    )
    assert alone["score"].to_numpy().tobytes() == of(scores, "test+0d", "trees_both").tobytes()


@pytest.mark.parametrize("model", MODELS)
def test_aged_model_is_the_first_one_for_ever(scores, model):
    assert np.array_equal(of(scores, "test+0d", model), of(scores, "test+0d", f"{model}_aged"))
    for later in ("test+5d", "test+10d"):
        assert not np.array_equal(of(scores, later, model), of(scores, later, f"{model}_aged"))


def test_nothing_after_a_window_moves_its_scores(run, scores, shifts, ledger, features, embeddings):
    is_future = ledger["event_time"] >= parse_instant(shifts[1].splits.test_end)
    changed = ledger.with_columns(
        label=pl.when(is_future).then(1 - pl.col("label")).otherwise("label"),
        label_time=pl.when(is_future).then(pl.col("event_time")).otherwise("label_time"),
        counterparty=pl.when(is_future).then(pl.lit("new")).otherwise("counterparty"),
    )
    columns = [pl.when(is_future).then(pl.col(name) + 9).otherwise(name).alias(name) for name in ("amount", "hour")]
    vectors = embeddings["embedding"].to_numpy() + 5 * is_future.to_numpy()[:, None]
    moved = embeddings.with_columns(embedding=pl.Series(vectors, dtype=embeddings.schema["embedding"]))
    again = run(changed, features.with_columns(columns), moved)
    for seen in ("test+0d", "test+5d"):
        assert of(again, seen).tobytes() == of(scores, seen).tobytes()
    assert of(again, "test+10d").tobytes() != of(scores, "test+10d").tobytes()


def test_labels_not_yet_known_move_no_score(run, scores, shifts, ledger, features, embeddings):
    is_unknown = ledger["label_time"] >= parse_instant(shifts[1].splits.valid_end)
    assert (ledger["event_time"].filter(is_unknown) < parse_instant(shifts[1].splits.valid_end)).any()
    changed = ledger.with_columns(label=pl.when(is_unknown).then(1 - pl.col("label")).otherwise("label"))
    again = run(changed, features, embeddings)
    for seen in ("test+0d", "test+5d"):
        assert of(again, seen).tobytes() == of(scores, seen).tobytes()
    assert of(again, "test+10d").tobytes() != of(scores, "test+10d").tobytes()


def test_shift_without_known_frauds_is_left_out(run, shifts, ledger, features, embeddings, caplog):
    late = parse_instant(shifts[1].splits.valid_end) - timedelta(days=1)
    waiting = ledger.with_columns(
        label_time=pl.when(pl.col("label") == 1)
        .then(pl.max_horizontal("label_time", pl.lit(late)))
        .otherwise("label_time")
    )
    scores = run(waiting, features, embeddings)
    assert "test+0d: fit or calibration rows lack frauds" in caplog.text
    assert scores["split"].unique(maintain_order=True).to_list() == ["test+5d", "test+10d"]
    assert np.array_equal(of(scores, "test+5d", "trees_both"), of(scores, "test+5d", "trees_both_aged"))


def test_no_shifts_give_the_table_without_rows(ledger, features, embeddings, head_config, tree_config):
    scores = score_shifts(ledger, features, embeddings[:0], [], CONFIG, head_config, tree_config)
    assert scores.is_empty()
    assert dict(scores.schema) == SCORE_SCHEMA
