"""Fraud records of a table of scores."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.metrics.config import BootstrapConfig, FraudMetricsConfig
from panther_pipeline.metrics.fraud import card_precision, measure_fraud_scores
from panther_pipeline.metrics.records import FIELDS, find_value

CONFIG = BootstrapConfig(num_resamples=100, seed=0)
START = datetime(2024, 1, 1, tzinfo=UTC)


def one_model(model: str, seed: int, skill: float, num: int = 600) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    label = (rng.random(num) < 0.1).astype(np.int8)
    noise = np.random.default_rng(hash_free(model) + seed).random(num)
    return pl.DataFrame(
        {
            "event_id": [f"e{i}" for i in range(num)],
            "row": np.arange(num),
            "user_id": [f"u{i}" for i in rng.integers(0, 40, num)],
            "event_time": [START + timedelta(hours=int(h)) for h in rng.integers(0, 96, num)],
            "label": label,
            "amount_cents": rng.integers(1, 9000, num),
            "event_seq": np.arange(num) // 10,
            "cold": np.arange(num) % 3 == 0,
            "split": "test",
            "model": model,
            "seed": seed,
            "score": (noise + skill * label) / (1 + skill),
        }
    )


def hash_free(text: str) -> int:
    return sum(text.encode())


@pytest.fixture(scope="module")
def scores() -> pl.DataFrame:
    skills = {"trees_features": 0.3, "trees_both": 0.6, "panther_head": 0.9}
    return pl.concat([one_model(model, seed, skill) for model, skill in skills.items() for seed in (0, 1)])


@pytest.fixture(scope="module")
def records(scores):
    return measure_fraud_scores(scores, CONFIG)


def test_value_is_the_mean_over_seeds(records, scores):
    record = find_value(records, model="trees_both", metric="average_precision")
    expected = [
        average_precision_score(table["label"], table["score"])
        for _, table in scores.filter(pl.col("model") == "trees_both").group_by("seed")
    ]
    assert record["value"] == pytest.approx(np.mean(expected), abs=1e-12)
    assert (record["seeds"], record["n"], record["split"]) == (2, 600, "test")


def test_records_are_flat_and_intervals_hold_their_value(records):
    for record in records:
        assert set(record) == set(FIELDS)
        if record["low"] is not None:
            assert record["low"] <= record["high"]
        if record["metric"] in ("average_precision", "roc_auc"):
            assert record["low"] < record["value"] < record["high"]


def test_difference_is_paired(records):
    difference = find_value(records, model="panther_head", metric="average_precision_difference_vs_trees_features")
    head, trees = (find_value(records, model=m, metric="average_precision") for m in ("panther_head", "trees_features"))
    assert difference["value"] == pytest.approx(head["value"] - trees["value"])
    assert difference["low"] > 0


def test_model_against_its_copy_differs_by_nothing(scores):
    copy = scores.filter(pl.col("model") == "trees_both").with_columns(model=pl.lit("panther_head"))
    twins = pl.concat([scores.filter(pl.col("model") == "trees_both"), copy])
    record = find_value(measure_fraud_scores(twins, CONFIG), metric="roc_auc_difference_vs_trees_both")
    assert (record["value"], record["low"], record["high"]) == (0.0, 0.0, 0.0)


def test_interval_of_clustered_rows_is_wider(scores):
    """Ten copies of each event of a user tell nothing new: the interval must not shrink."""
    one = scores.filter((pl.col("model") == "trees_both") & (pl.col("seed") == 0))
    many = pl.concat([one] * 10).with_columns(row=pl.int_range(pl.len()))
    widths = []
    for table in (one, many):
        record = find_value(measure_fraud_scores(table, CONFIG), metric="roc_auc")
        widths.append(record["high"] - record["low"])
    assert widths[1] == pytest.approx(widths[0], rel=1e-6)


def test_scores_of_different_events_are_refused(scores):
    broken = pl.concat([scores, one_model("trees_embeddings", 0, 0.1, num=500)])
    with pytest.raises(ConfigurationError, match="trees_embeddings"):
        measure_fraud_scores(broken, CONFIG)


def test_nothing_is_measured_without_test_rows(scores):
    assert measure_fraud_scores(scores.clear(), CONFIG) == []
    assert measure_fraud_scores(scores.with_columns(split=pl.lit("calibration")), CONFIG) == []


def test_metrics_without_fraud_are_left_out(scores):
    records = measure_fraud_scores(scores.with_columns(label=pl.lit(0, pl.Int8)), CONFIG)
    assert not find_value(records, metric="average_precision")
    assert find_value(records, metric="brier")


def card_table(rows) -> pl.DataFrame:
    return pl.DataFrame(
        [{"event_time": START + timedelta(days=d), "user_id": u, "label": y, "score": s} for d, u, y, s in rows]
    )


def test_card_precision_takes_the_highest_score_of_a_card():
    scores = card_table([(0, "a", 1, 0.1), (0, "a", 0, 0.9), (0, "b", 0, 0.8), (0, "c", 1, 0.2)])
    assert card_precision(scores, 1) == 1.0
    assert card_precision(scores, 2) == 0.5


def test_card_precision_counts_a_found_card_once():
    scores = card_table([(0, "a", 1, 0.9), (1, "a", 1, 0.9), (1, "b", 0, 0.5)])
    assert card_precision(scores, 1) == pytest.approx((1 + 0) / 2)


def test_card_precision_divides_by_the_budget():
    assert card_precision(card_table([(0, "a", 1, 0.9)]), 100) == pytest.approx(0.01)


PARTS = {"test_short_history": pl.col("event_seq") < 20, "test_cold": pl.col("cold")}


@pytest.mark.parametrize("part", PARTS)
def test_cold_starts_are_measured_apart(scores, part):
    records = measure_fraud_scores(scores, CONFIG, FraudMetricsConfig(short_history=20))
    apart = [r for r in records if r["split"] == part]
    alone = measure_fraud_scores(scores.filter(PARTS[part]), CONFIG)
    is_share_of_cards = "card_precision@100".__eq__  # of a hundred cards of the whole ledger
    assert apart == [{**r, "split": part} for r in alone if not is_share_of_cards(r["metric"])]
    assert [r for r in records if r["split"] == "test"] == measure_fraud_scores(scores, CONFIG)


def test_part_with_a_handful_of_frauds_is_not_measured(scores):
    rare = scores.with_columns(label=(pl.col("row") % 30 == 0).cast(pl.Int8), cold=pl.col("row") < 250)
    for part in PARTS.values():
        assert 0 < rare.filter(part, label=1)["row"].n_unique() < 10
    splits = {r["split"] for r in measure_fraud_scores(rare, CONFIG, FraudMetricsConfig(short_history=20))}
    assert splits == {"test"}


def test_one_user_has_no_interval(scores):
    alone = scores.filter(user_id=scores["user_id"][0])
    records = measure_fraud_scores(alone.with_columns(label=(pl.col("row") % 20 == 0).cast(pl.Int8)), CONFIG)
    assert records
    assert {r["low"] for r in records} == {None}


def test_no_cold_start_gives_no_records(scores):
    late = scores.with_columns(pl.col("event_seq") + 100, cold=False)
    assert {r["split"] for r in measure_fraud_scores(late, CONFIG, FraudMetricsConfig(short_history=20))} == {"test"}


def test_share_of_the_teachers_lead_is_a_record_of_the_student():
    skills = {"panther_head": 0.2, "head_attention": 0.7, "head_distilled": 0.4}
    heads = pl.concat([one_model(model, 0, skill) for model, skill in skills.items()])
    records = measure_fraud_scores(heads, CONFIG)
    plain, teacher, student = (
        find_value(records, model=m, metric="average_precision")["value"]
        for m in ("panther_head", "head_attention", "head_distilled")
    )
    share = find_value(records, model="head_distilled", metric="average_precision_gap_recovered")
    assert share["value"] == pytest.approx((student - plain) / (teacher - plain))
    assert share["low"] < share["value"] < share["high"]
    lead = find_value(records, model="head_attention", metric="average_precision_difference_vs_panther_head")
    assert lead["value"] == pytest.approx(teacher - plain)
