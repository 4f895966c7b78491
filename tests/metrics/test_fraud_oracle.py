"""The oracle as a row of the comparison."""

import numpy as np
import polars as pl
import pytest

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.simulator import SimulationConfig, fraud_posterior, simulate_ledger
from panther_pipeline.metrics.config import BootstrapConfig
from panther_pipeline.metrics.fraud import measure_fraud_scores
from panther_pipeline.metrics.fraud_oracle import score_fraud_oracle
from panther_pipeline.metrics.records import find_value


@pytest.fixture(scope="module")
def ledger():
    return simulate_ledger(SimulationConfig(num_users=60, start="2024-01-01", end="2024-04-01", seed=5))


@pytest.fixture(scope="module")
def fraud_scores(ledger) -> pl.DataFrame:
    """Two models' scores of the newer half of the healthy rows, as the ledger says them."""
    healthy = ledger.transactions.filter(ledger.oracle["broken_reason"] == "").with_row_index("row")
    events = healthy.tail(healthy.height // 2).select(
        event_id="transaction_id",
        row=pl.col("row").cast(pl.Int64),
        user_id="customer_id",
        event_time=pl.col("booked_at").str.to_datetime(time_unit="us", time_zone="UTC"),
        label=pl.col("is_fraud").cast(pl.Int8),
        amount_cents=(pl.col("amount").cast(pl.Float64) * 100).round().cast(pl.Int64),
        event_seq=pl.lit(0, pl.Int64),
        split=pl.lit("test"),
    )
    noise = np.random.default_rng(0).random(events.height)
    models = [events.with_columns(model=pl.lit(m), seed=pl.lit(3, pl.Int64), score=pl.Series(noise)) for m in "ab"]
    return pl.concat([*models, models[0].with_columns(split=pl.lit("calibration"))])


def test_oracle_scores_each_judged_event_once_by_its_posterior(ledger, fraud_scores):
    scores = score_fraud_oracle(fraud_scores, ledger.oracle, ledger.truth)
    judged = fraud_scores.filter(split="test", model="a")
    assert scores.schema == fraud_scores.schema
    assert scores["event_id"].equals(judged["event_id"])
    assert set(scores.select("model", "seed", "split").rows()) == {("oracle", 0, "test")}
    known = ledger.oracle.unique("transaction_id", keep="first", maintain_order=True)
    expected = known.with_columns(posterior=pl.Series(fraud_posterior(known, ledger.truth)))
    joined = judged.join(expected, left_on="event_id", right_on="transaction_id", maintain_order="left")
    np.testing.assert_allclose(scores["score"], joined["posterior"], atol=1e-6)


def test_oracle_is_measured_like_any_model_and_nobody_beats_it(ledger, fraud_scores):
    both = pl.concat([fraud_scores, score_fraud_oracle(fraud_scores, ledger.oracle, ledger.truth)])
    records = measure_fraud_scores(both, BootstrapConfig(num_resamples=100, seed=0))
    for metric in ("average_precision", "roc_auc", "recall@1%"):
        oracle, other = (find_value(records, model=model, metric=metric)["value"] for model in ("oracle", "a"))
        assert oracle > other


def test_other_ledgers_have_no_oracle(ledger, fraud_scores):
    assert score_fraud_oracle(fraud_scores, pl.DataFrame(), pl.DataFrame()).is_empty()
    assert score_fraud_oracle(fraud_scores.clear(), ledger.oracle, ledger.truth).is_empty()


@pytest.mark.parametrize("change", [pl.col("amount_cents") + 1, pl.col("event_id") + "x"])
def test_scores_of_another_simulation_are_refused(ledger, fraud_scores, change):
    with pytest.raises(ConfigurationError, match="run all pipelines again"):
        score_fraud_oracle(fraud_scores.with_columns(change), ledger.oracle, ledger.truth)
