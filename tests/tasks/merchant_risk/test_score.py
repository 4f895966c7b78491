"""All models score the same rows; deviations that foretell fraud are found, by trees and by their median alone."""

import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from panther_pipeline.metrics.merchant_risk import MERCHANT_MODELS
from panther_pipeline.tasks.merchant_risk.score import SCORE_SCHEMA, score_rows


@pytest.fixture(scope="module")
def scores(rows, config, trees) -> pl.DataFrame:
    return score_rows(rows, config, trees)


def test_every_model_and_seed_scores_every_later_row(scores, rows):
    assert dict(scores.schema) == SCORE_SCHEMA
    later = rows.filter(pl.col("part") != "fit").select("counterparty", "as_of", "label")
    models = set()
    for (model, seed), table in scores.group_by("model", "seed", maintain_order=True):
        assert table.select(later.columns).equals(later)
        models.add((model, seed))
    trees = {(model, seed) for model in MERCHANT_MODELS if model.startswith("trees") for seed in (0, 1)}
    assert models == trees | {(model, 0) for model in MERCHANT_MODELS if not model.startswith("trees")}


def test_scores_are_probabilities_calibrated_before_the_test(scores):
    calibration = scores.filter(split="calibration")
    assert scores["score"].is_between(0, 1).all()
    for (model,), table in calibration.group_by("model"):
        assert table["score"].mean() == pytest.approx(table["label"].mean(), rel=0.02), model


def test_planted_deviations_are_found_by_trees_and_median(scores):
    test = scores.filter(split="test", seed=0)
    auc = {m: roc_auc_score(t["label"], t["score"]) for (m,), t in test.group_by("model")}
    assert auc["no_skill"] == 0.5
    assert min(auc["deviation_median"], auc["trees_deviations"], auc["trees_both"]) > 0.6


def test_median_orders_rows_without_looking_at_labels(scores, rows, config, trees):
    frauds = pl.when(pl.col("part") == "calibration").then("label").otherwise((pl.col("label") == 0).cast(pl.Int8))
    turned = score_rows(rows.with_columns(label=frauds), config, trees.model_copy(update={"seeds": [0]}))
    median = [table.filter(model="deviation_median", split="test")["score"] for table in (scores, turned)]
    assert median[0].equals(median[1])


def test_each_model_reads_its_own_features_alone(rows, config, trees, scores):
    noise = rows.with_columns(pl.col("^deviation_.*$").shuffle(seed=1))
    one = trees.model_copy(update={"seeds": [0]})
    changed = score_rows(noise, config, one)
    same = {
        model: changed.filter(model=model)["score"].equals(scores.filter(model=model, seed=0)["score"])
        for model in MERCHANT_MODELS
    }
    assert same == {model: "deviation" not in model and model != "trees_both" for model in MERCHANT_MODELS}


@pytest.mark.parametrize("part", ["fit", "calibration"])
def test_one_class_gives_no_scores_and_a_warning(rows, config, trees, caplog, part):
    label = pl.when(pl.col("part") == part).then(0).otherwise("label").cast(pl.Int8)
    scores = score_rows(rows.with_columns(label=label), config, trees)
    assert scores.is_empty()
    assert dict(scores.schema) == SCORE_SCHEMA
    assert "lack counterparties with fraud" in caplog.text


def test_feature_that_no_fit_row_has_is_left_out(rows, config, trees):
    missing = pl.when(pl.col("part") != "fit").then("deviation_surprise_z_median_change_9d")
    one = trees.model_copy(update={"seeds": [0]})
    empty, gone = (
        score_rows(table, config, one)
        for table in (
            rows.with_columns(missing.alias("deviation_surprise_z_median_change_9d")),
            rows.drop("deviation_surprise_z_median_change_9d"),
        )
    )
    assert empty.equals(gone)


def test_no_rows_give_no_scores_and_no_second_warning(rows, config, trees, caplog):
    assert score_rows(rows.clear().select("counterparty", "as_of", "part", "label"), config, trees).is_empty()
    assert caplog.text == ""
