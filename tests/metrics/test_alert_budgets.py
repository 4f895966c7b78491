"""What an alert budget catches and saves, against counting."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from panther_pipeline.metrics.alert_budgets import BUDGET_SCHEMA, tabulate_alert_budgets
from panther_pipeline.metrics.config import CostConfig

COSTS = CostConfig(review=5.0, missed_share=0.5, missed_fixed=2.0)
START = datetime(2024, 1, 1, tzinfo=UTC)


def make_scores(score: list[float], label: list[int], cents: list[int], model: str = "m", seed: int = 0):
    return pl.DataFrame(
        {
            "event_time": [START + timedelta(hours=12 * n) for n in range(len(score))],
            "label": pl.Series(label, dtype=pl.Int8), "amount_cents": cents, "split": "test", "model": model,
            "seed": seed, "score": score,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(0)
    label = (rng.random(300) < 0.1).astype(int)
    score = (rng.integers(0, 40, 300) + 20 * label) / 60  # with ties
    return make_scores(score.tolist(), label.tolist(), rng.integers(100, 9000, 300).tolist())


def test_every_budget_is_what_its_threshold_flags(drawn):
    budgets = tabulate_alert_budgets(drawn, COSTS)
    assert budgets["alerts"].is_sorted()
    assert budgets["alerts"][-1] == 300
    for row in budgets.to_dicts():
        flagged = drawn.filter(pl.col("score") >= row["threshold"])
        caught = flagged.filter(label=1)
        assert row["alerts"] == flagged.height
        assert row["alerts_per_day"] == flagged.height / 150
        assert row["precision"] == pytest.approx(caught.height / flagged.height)
        assert row["recall"] == pytest.approx(caught.height / drawn["label"].sum())
        assert row["value_recall"] == pytest.approx(
            caught["amount_cents"].sum() / drawn.filter(label=1)["amount_cents"].sum()
        )
        saved = 0.5 * caught["amount_cents"].sum() / 100 + 2 * caught.height - 5 * flagged.height
        assert row["saved"] == pytest.approx(saved)


def test_refunds_are_losses_of_their_size():
    budgets = tabulate_alert_budgets(make_scores([0.9, 0.1], [1, 0], [-4000, 100]), COSTS)
    assert budgets["saved"].to_list() == [0.5 * 40 + 2 - 5, 0.5 * 40 + 2 - 10]


def test_first_seed_of_each_model_is_tabulated(drawn):
    worse = drawn.with_columns(score=1 - pl.col("score"), seed=pl.lit(1, pl.Int32))
    both = pl.concat(
        [worse.with_columns(pl.col("seed").cast(pl.Int32)), drawn.with_columns(pl.col("seed").cast(pl.Int32))]
    )
    assert tabulate_alert_budgets(both, COSTS).equals(tabulate_alert_budgets(drawn, COSTS))


def test_calibration_rows_are_not_counted(drawn):
    more = drawn.with_columns(split=pl.lit("calibration"), label=pl.lit(0, pl.Int8))  # nothing to choose a threshold by
    assert tabulate_alert_budgets(pl.concat([drawn, more]), COSTS).equals(tabulate_alert_budgets(drawn, COSTS))


def test_threshold_is_chosen_on_calibration_rows():
    # At 0.5 the calibration rows save most; on the test rows nothing would have been better.
    calibration = make_scores([0.9, 0.5, 0.1], [1, 1, 0], [9000, 9000, 100]).with_columns(split=pl.lit("calibration"))
    test = make_scores([0.8, 0.6, 0.2], [0, 0, 1], [9000, 9000, 100])
    (chosen,) = tabulate_alert_budgets(pl.concat([calibration, test]), COSTS).filter("is_chosen").to_dicts()
    assert (chosen["alerts"], chosen["saved"]) == (2, -10.0)


@pytest.mark.parametrize("cents", [0, 400])
def test_no_threshold_is_chosen_where_none_pays(cents):
    calibration = make_scores([0.9, 0.1], [1, 0], [cents, 100]).with_columns(split=pl.lit("calibration"))
    test = make_scores([0.9, 0.1], [1, 0], [9000, 100])
    assert not tabulate_alert_budgets(pl.concat([calibration, test]), COSTS)["is_chosen"].any()


@pytest.mark.parametrize("labels", [[0, 0], [None, None]])
def test_nothing_is_tabulated_without_a_known_fraud(labels):
    budgets = tabulate_alert_budgets(make_scores([0.5, 0.6], labels, [1, 2]), COSTS)
    assert dict(budgets.schema) == BUDGET_SCHEMA
    assert budgets.is_empty()
