"""Fraud metrics over shifts: each as it is alone, their mean with users resampled once for all."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from panther_pipeline.metrics.config import BootstrapConfig
from panther_pipeline.metrics.fraud import measure_fraud_scores
from panther_pipeline.metrics.prequential import MEAN_OF_SHIFTS, measure_shifts
from panther_pipeline.metrics.records import FIELDS, find_value

CONFIG = BootstrapConfig(num_resamples=200, seed=0)
NUM, USERS = 300, 30


def window(split: str, skills: dict[str, float], share: float = 0.2) -> pl.DataFrame:
    """The same events in every window, but for their names: what differs between windows is the skill alone."""
    rng = np.random.default_rng(0)
    label, noise = (rng.random(NUM) < share).astype(np.int8), rng.random(NUM)
    common = {
        "event_id": [f"{split}{i}" for i in range(NUM)],
        "row": np.arange(NUM),
        "user_id": [f"u{i:02d}" for i in rng.integers(0, USERS, NUM)],
        "event_time": [datetime(2024, 1, 1, tzinfo=UTC)] * NUM,
        "label": label,
        "amount_cents": rng.integers(1, 9000, NUM),
        "event_seq": np.arange(NUM),
        "split": split,
        "seed": 0,
    }
    return pl.concat(
        pl.DataFrame(common).with_columns(model=pl.lit(model), score=(noise + skill * label) / (1 + skill))
        for model, skill in skills.items()
    )


SKILLS = {"trees_features": 0.3, "panther_head": 0.7, "panther_head_aged": 0.5}


@pytest.fixture(scope="module")
def scores() -> pl.DataFrame:
    return pl.concat([window("test+0d", SKILLS), window("test+7d", {**SKILLS, "panther_head_aged": 0.1})])


@pytest.fixture(scope="module")
def records(scores):
    return measure_shifts(scores, CONFIG)


def test_a_shift_is_measured_as_it_is_alone(records, scores):
    alone = measure_fraud_scores(scores.filter(split="test+7d").with_columns(split=pl.lit("test")), CONFIG)
    for expected in alone:
        found = find_value(records, **{key: expected[key] for key in ("model", "metric")}, split="test+7d")
        assert found == expected | {"split": "test+7d"}
        assert set(found) == set(FIELDS)


def test_mean_is_over_the_shifts_and_counts_their_rows(records):
    for model in SKILLS:
        each = [find_value(records, model=model, metric="roc_auc", split=f"test+{days}d") for days in (0, 7)]
        mean = find_value(records, model=model, metric="roc_auc", split=MEAN_OF_SHIFTS)
        assert mean["value"] == pytest.approx(np.mean([record["value"] for record in each]), abs=1e-12)
        assert mean["n"] == 2 * NUM


def test_shifts_share_their_resamples_of_users(records):
    # Equal events and scores in both windows: drawn once for both, the mean is as unsure as each; drawn twice, less so.
    each, mean = (
        find_value(records, model="panther_head", metric="roc_auc", split=split)
        for split in ("test+0d", MEAN_OF_SHIFTS)
    )
    assert (mean["low"], mean["high"]) == pytest.approx((each["low"], each["high"]), abs=1e-12)


def test_windows_without_common_users_are_independent(scores):
    other = scores.filter(split="test+7d").with_columns(user_id="x" + pl.col("user_id"))
    joined = measure_shifts(pl.concat([scores.filter(split="test+0d"), other]), CONFIG)
    each = find_value(joined, model="panther_head", metric="roc_auc", split="test+0d")
    mean = find_value(joined, model="panther_head", metric="roc_auc", split=MEAN_OF_SHIFTS)
    assert mean["high"] - mean["low"] < 0.9 * (each["high"] - each["low"])


def test_ageing_is_a_paired_difference(records):
    name = "average_precision_difference_vs_panther_head_aged"
    first, second = (find_value(records, metric=name, split=f"test+{days}d") for days in (0, 7))
    assert first["model"] == "panther_head"
    assert 0 < first["value"] < second["value"]
    assert second["low"] > 0
    assert find_value(records, metric="roc_auc_difference_vs_trees_features", split=MEAN_OF_SHIFTS)["value"] > 0


def test_shift_without_frauds_is_left_out_with_a_warning(records, scores, caplog):
    with_empty = pl.concat([scores, window("test+14d", SKILLS, share=0.0)])
    assert measure_shifts(with_empty, CONFIG) == records
    assert "test+14d: no fraud is known" in caplog.text


def test_one_user_gives_values_without_intervals(scores):
    for record in measure_shifts(scores.with_columns(user_id=pl.lit("u")), CONFIG):
        assert record["low"] is record["high"] is None


def test_no_scores_give_no_records(scores):
    assert measure_shifts(scores.clear(), CONFIG) == []
    assert measure_shifts(scores.with_columns(label=pl.lit(None, pl.Int8)), CONFIG) == []
