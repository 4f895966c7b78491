"""The tree baselines."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from panther_pipeline.scoring.scores import SCORE_SCHEMA, collect_scores
from panther_pipeline.scoring.trees import fit_tree_baselines

ROWS = ["trees_features", "trees_embeddings", "trees_both"]


@pytest.fixture(scope="module")
def scores(task, tree_config):
    return fit_tree_baselines(task, tree_config)


def precision(scores, model: str) -> float:
    test = scores.filter(pl.col("model") == model, pl.col("split") == "test", pl.col("seed") == 0)
    return average_precision_score(test["label"], test["score"])


def test_trees_score_three_rows_per_seed(scores):
    assert scores["model"].unique(maintain_order=True).to_list() == ROWS
    assert scores["seed"].unique().sort().to_list() == [0, 1]


def test_trees_on_both_beat_either_alone(scores):
    assert precision(scores, "trees_both") > max(precision(scores, name) for name in ROWS[:2])
    assert precision(scores, "trees_embeddings") > 0.25


def test_trees_are_repeatable_and_seeds_matter(scores, task, tree_config):
    assert fit_tree_baselines(task, tree_config).equals(scores)
    both = scores.filter(scores["model"] == "trees_both")
    assert not both.filter(both["seed"] == 0)["score"].equals(both.filter(both["seed"] == 1)["score"])


def test_shuffled_labels_cannot_be_predicted(task, tree_config):
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(4):
        shuffled = task.events.with_columns(label=rng.permutation(task.label_R))
        scores = fit_tree_baselines(type(task)(**{**vars(task), "events": shuffled}), tree_config)
        test = scores.filter(pl.col("model") == "trees_both", pl.col("split") == "test", pl.col("seed") == 0)
        areas.append(roc_auc_score(test["label"], test["score"]))
    frauds, genuine = (test["label"] == 1).sum(), (test["label"] == 0).sum()
    error = np.sqrt((frauds + genuine + 1) / (12 * frauds * genuine))  # of Mann-Whitney under chance
    assert abs(np.mean(areas) - 0.5) < 3 * error / np.sqrt(4)


def test_task_without_labels_gives_no_tree_scores(unlabelled_task, tree_config):
    scores = fit_tree_baselines(unlabelled_task, tree_config)
    assert scores.is_empty()
    assert dict(scores.schema) == SCORE_SCHEMA


def test_collected_scores_keep_schema_and_rows(scores):
    both = collect_scores(scores, scores.clear())
    assert both.equals(scores)
    assert dict(both.schema) == SCORE_SCHEMA
