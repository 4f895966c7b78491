"""Recall by kind of fraud, and its share of the oracle's."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from panther_pipeline.metrics.config import BootstrapConfig
from panther_pipeline.metrics.curves import RankedRows, recall_at_share
from panther_pipeline.metrics.fraud_kinds import measure_fraud_kinds
from panther_pipeline.metrics.records import find_value

CONFIG = BootstrapConfig(num_resamples=100, seed=0)
NUM = 4000


def scored(model: str, score: np.ndarray, seed: int = 0) -> pl.DataFrame:
    label = np.zeros(NUM, dtype=np.int8)
    label[:40] = 1
    return pl.DataFrame(
        {
            "event_id": [f"e{i}" for i in range(NUM)], "row": np.arange(NUM),
            "user_id": [f"u{i % 50}" for i in range(NUM)], "event_time": datetime(2024, 1, 1, tzinfo=UTC),
            "label": label, "amount_cents": 100, "event_seq": 0, "split": "test", "model": model, "seed": seed,
            "score": score,
        }
    )  # fmt: skip


# Forty frauds: the first 15 are takeovers, the next 20 tests, the last 5 of a kind too rare to be measured.
KINDS = pl.DataFrame(
    {"event_id": [f"e{i}" for i in range(40)], "kind": ["takeover"] * 15 + ["test"] * 20 + ["rare"] * 5}
)


def noise(seed: int, ahead: slice = slice(0)) -> np.ndarray:
    score = np.random.default_rng(seed).random(NUM)
    score[ahead] += 1
    return score


@pytest.fixture(scope="module")
def records() -> list[dict]:
    oracle = scored("oracle", np.where(np.arange(NUM) < 40, 1.0, 0.0))
    models = [scored("head", noise(seed, slice(10, 25)), seed) for seed in (1, 2)]
    return measure_fraud_kinds(pl.concat([*models, oracle]), KINDS, CONFIG)


def test_recall_counts_one_kind_among_alerts_for_all(records):
    # 40 alerts: the 15 frauds ahead, five takeovers and ten tests, and 25 others at random.
    takeover = find_value(records, model="head", metric="recall@1%_of_takeover")
    assert 5 / 15 <= takeover["value"] < 8 / 15
    assert takeover["low"] <= takeover["value"] <= takeover["high"]
    assert (takeover["n"], takeover["seeds"], takeover["split"]) == (15, 2, "test")
    # 4 alerts among 15 frauds of random order, of which 5 are takeovers: less than 4 of 15.
    assert find_value(records, model="head", metric="recall@0.1%_of_takeover")["value"] <= 4 / 15


def test_oracle_spreads_few_alerts_over_equally_certain_kinds(records):
    for kind in ("takeover", "test"):
        assert find_value(records, model="oracle", metric=f"recall@0.1%_of_{kind}")["value"] == pytest.approx(4 / 40)
        assert find_value(records, model="oracle", metric=f"recall@1%_of_{kind}")["value"] == 1.0


def test_share_is_the_paired_ratio(records):
    for metric in ("recall@1%_of_takeover", "recall@0.1%_of_test"):
        head, oracle = (find_value(records, model=model, metric=metric)["value"] for model in ("head", "oracle"))
        share = find_value(records, model="head", metric=f"{metric}_share_of_oracle")
        assert share["value"] == pytest.approx(head / oracle)
        assert share["low"] <= share["value"] <= share["high"]
    assert not find_value(records, model="oracle", metric="recall@1%_of_test_share_of_oracle")


def test_share_of_the_oracle_itself_would_be_exactly_one():
    oracle = scored("oracle", np.where(np.arange(NUM) < 40, 1.0, noise(3)))
    twin = oracle.with_columns(model=pl.lit("head"))
    share = find_value(
        measure_fraud_kinds(pl.concat([twin, oracle]), KINDS, CONFIG), metric="recall@0.1%_of_test_share_of_oracle"
    )
    assert (share["value"], share["low"], share["high"]) == (1.0, 1.0, 1.0)


def test_kinds_with_few_frauds_are_left_out(records):
    assert not [r for r in records if "rare" in r["metric"]]


@pytest.mark.parametrize(("budget", "share"), [("0.1%", 0.001), ("1%", 0.01)])
@pytest.mark.parametrize("ties", [False, True])
def test_recall_is_that_of_a_ranking_whose_only_frauds_are_the_kind(budget, share, ties):
    score = np.round(noise(5, slice(0, 30)), 1) if ties else noise(5, slice(0, 30))
    found = measure_fraud_kinds(scored("head", score), KINDS, CONFIG)
    is_test = np.isin(np.arange(NUM), np.arange(15, 35)).astype(np.int8)
    expected = recall_at_share(share)(RankedRows.of(score, is_test).curve())
    assert find_value(found, metric=f"recall@{budget}_of_test")["value"] == pytest.approx(expected)


def test_without_an_oracle_there_is_no_share():
    found = measure_fraud_kinds(scored("head", noise(1)), KINDS, CONFIG)
    assert {r["metric"] for r in found} == {f"recall@{b}_of_{k}" for b in ("0.1%", "1%") for k in ("takeover", "test")}


def test_nothing_is_measured_where_nothing_is_known(caplog):
    scores = scored("head", noise(1))
    assert measure_fraud_kinds(scores, pl.DataFrame(), CONFIG) == []
    assert measure_fraud_kinds(scores.clear(), KINDS, CONFIG) == []
    assert caplog.text == ""
    foreign = KINDS.with_columns(pl.col("event_id") + "x")
    assert measure_fraud_kinds(scores, foreign, CONFIG) == []
    assert "no recall by kind" in caplog.text
