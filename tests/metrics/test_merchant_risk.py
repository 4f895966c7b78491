"""Precision of the flagged counterparties, by hand and by loops; intervals over counterparties, not rows."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.metrics.config import BootstrapConfig, MerchantRiskMetricsConfig
from panther_pipeline.metrics.merchant_risk import measure_merchant_scores
from panther_pipeline.metrics.records import find_value

NUM_INSTANTS, NUM_PLACES = 4, 50
BOOTSTRAP = BootstrapConfig(num_resamples=200, seed=0)
FLAGGED = MerchantRiskMetricsConfig(num_flagged=[5])


def make_scores(seeds: int = 2) -> pl.DataFrame:
    """The better of two models has less noise; every counterparty keeps its risk over the instants."""
    rng = np.random.default_rng(0)
    num = NUM_INSTANTS * NUM_PLACES
    place = np.tile(np.arange(NUM_PLACES), NUM_INSTANTS)
    label = (np.repeat(rng.random((1, NUM_PLACES)), NUM_INSTANTS, axis=0).ravel() < 0.2).astype(np.int8)
    rows = pl.DataFrame(
        {
            "counterparty": [f"m{i:02d}" for i in place],
            "as_of": [datetime(2024, 1, 1 + i, tzinfo=UTC) for i in range(NUM_INSTANTS) for _ in range(NUM_PLACES)],
            "label": label,
            "known_frauds": place % 3,
            "split": ["test"] * num,
        }
    )
    noises = {"trees_activity": 1.0, "trees_both": 0.5}
    return pl.concat(
        rows.with_columns(
            model=pl.lit(model),
            seed=pl.lit(seed, pl.Int64),
            score=pl.Series(1 / (1 + np.exp(-label + noise * rng.normal(size=num)))),
        )
        for model, noise in noises.items()
        for seed in range(seeds)
    )


@pytest.fixture(scope="module")
def records() -> list[dict]:
    return measure_merchant_scores(make_scores(), BOOTSTRAP, FLAGGED)


def test_values_are_means_over_seeds_of_scikit_learns_and_of_counting(records):
    for (model,), tables in make_scores().group_by("model"):
        found = [measure_by_hand(table) for _, table in tables.group_by("seed")]
        for metric in found[0]:
            record = find_value(records, model=model, metric=metric, split="test")
            assert record["value"] == pytest.approx(np.mean([values[metric] for values in found])), metric
            assert (record["n"], record["seeds"]) == (200, 2)


def measure_by_hand(table: pl.DataFrame) -> dict[str, float]:
    label, score = table["label"].to_numpy(), table["score"].to_numpy()
    ranked = label[np.argsort(-score)]
    return {
        "average_precision": average_precision_score(label, score),
        "roc_auc": roc_auc_score(label, score),
        "precision@1%": ranked[:2].mean(),
        "recall@1%": ranked[:2].sum() / label.sum(),
        "precision@5": ranked[: 5 * NUM_INSTANTS].mean(),
        "recall@5": ranked[: 5 * NUM_INSTANTS].sum() / label.sum(),
    }


def test_difference_is_that_of_the_two_models_with_a_paired_interval(records):
    both, activity = (
        find_value(records, model=model, metric="average_precision", split="test")
        for model in ("trees_both", "trees_activity")
    )
    difference = find_value(records, metric="average_precision_difference_vs_trees_activity", split="test")
    assert difference["value"] == pytest.approx(both["value"] - activity["value"])
    assert 0 < difference["low"] < difference["value"] < difference["high"]


def test_interval_is_over_counterparties_and_not_over_rows(records):
    rows_apart = make_scores().with_columns(counterparty=pl.col("counterparty") + pl.col("as_of").cast(pl.String))
    apart = measure_merchant_scores(rows_apart, BOOTSTRAP, FLAGGED)
    key = {"model": "trees_both", "metric": "precision@5", "split": "test"}
    widths = [find_value(r, **key)["high"] - find_value(r, **key)["low"] for r in (records, apart)]
    assert widths[0] > 1.3 * widths[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda own: own[1:],
        lambda own: own.with_columns(counterparty=pl.col("counterparty").replace("m03", "m99")),
        lambda own: own.with_columns(label=1 - pl.col("label")),
    ],
)
def test_models_that_score_other_rows_are_refused(change):
    scores = make_scores()
    is_own = (pl.col("model") == "trees_both") & (pl.col("seed") == 1)
    mixed = pl.concat(
        [scores.filter(~is_own), change(scores.filter(is_own)).select(scores.columns).cast(scores.schema)]
    )
    with pytest.raises(ConfigurationError, match="trees_both with seed or repeat 1 scores other counterparties"):
        measure_merchant_scores(mixed, BOOTSTRAP, FLAGGED)


def test_counterparties_without_a_known_fraud_are_measured_apart(records):
    rows = make_scores().filter(known_frauds=0).with_columns(split=pl.lit("test"))
    alone = measure_merchant_scores(rows, BOOTSTRAP, FLAGGED)
    for record in (r for r in records if r["split"] == "test_unsuspected"):
        assert find_value(alone, model=record["model"], metric=record["metric"], split="test") == record | {
            "split": "test"
        }
    few = make_scores().with_columns(known_frauds=pl.lit(1))
    assert {r["split"] for r in measure_merchant_scores(few, BOOTSTRAP, FLAGGED)} == {"test"}


def test_more_flags_than_counterparties_are_left_out():
    flagged = MerchantRiskMetricsConfig(num_flagged=[5, NUM_PLACES + 1])
    names = {r["metric"] for r in measure_merchant_scores(make_scores(1), BOOTSTRAP, flagged)}
    assert "precision@5" in names
    assert f"precision@{NUM_PLACES + 1}" not in names


def test_scores_without_fraud_or_without_rows_give_no_ranking_metrics():
    assert measure_merchant_scores(make_scores().clear(), BOOTSTRAP, FLAGGED) == []
    honest = make_scores(1).with_columns(label=pl.lit(0, pl.Int8))
    assert measure_merchant_scores(honest, BOOTSTRAP, FLAGGED) == []
    assert measure_merchant_scores(make_scores().with_columns(split=pl.lit("calibration")), BOOTSTRAP, FLAGGED) == []
