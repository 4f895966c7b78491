"""The share of the possible, on a small simulated ledger."""

import numpy as np
import polars as pl
import pytest

from panther_pipeline.baselines.candidates import MISS
from panther_pipeline.baselines.next_transaction import rank_with_baselines
from panther_pipeline.ledger.simulator import SimulationConfig, best_next_tokens, simulate_ledger
from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.metrics.config import ALL_TOKENS, NEW_TOKENS, BootstrapConfig, RankingConfig
from panther_pipeline.metrics.next_transaction import select_targets
from panther_pipeline.metrics.oracle import measure_oracle
from panther_pipeline.metrics.records import find_value
from panther_pipeline.tokenizer.build import build_sequences
from panther_pipeline.tokenizer.config import FieldConfig, VocabularyConfig
from panther_pipeline.tokenizer.tokenizer import Tokenizer

BOOTSTRAP = BootstrapConfig(num_resamples=200, seed=0)
SPLITS = SplitConfig(
    protocol="time", train_end="2024-05-01", valid_end="2024-05-15", test_end=None,
    embargo_days=0.0, test_share=None, valid_share=None, held_out_user_share=0.0
)  # fmt: skip


def vocabulary(*extra: FieldConfig) -> VocabularyConfig:
    fields = [
        FieldConfig(name="kind", source="category", column="category", kind="categorical", max_categories=64),
        FieldConfig(name="amount", source="amount", kind="quantile", num_bins=4, significant_digits=2),
        *extra,
    ]
    return VocabularyConfig(
        fields=fields, zone="UTC", max_tokens=500, coverage_target=None, min_count=3, max_dropped=1,
        profile_max_categories=8, profile_num_bins=4,
    )  # fmt: skip


@pytest.fixture(scope="module")
def ledger():
    return simulate_ledger(SimulationConfig(num_users=80, start="2024-01-01", end="2024-07-01", seed=5))


@pytest.fixture(scope="module")
def valid_events(ledger) -> pl.DataFrame:
    healthy = ledger.transactions.filter(ledger.oracle["broken_reason"] == "")
    return (
        healthy.unique("transaction_id", keep="first", maintain_order=True)
        .select(
            user_id="customer_id",
            event_id="transaction_id",
            event_time=pl.col("booked_at").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", time_zone="UTC"),
            amount_cents=(pl.col("amount").cast(pl.Float64) * 100).round().cast(pl.Int64),
            category="category",
            channel="channel",
        )
        .sort("user_id", "event_time", maintain_order=True)
        .with_columns(event_seq=pl.int_range(pl.len()).over("user_id"))
    )


@pytest.fixture(scope="module")
def tokenizer(valid_events) -> Tokenizer:
    return Tokenizer.fit(valid_events, pl.DataFrame(), vocabulary(), SPLITS)


@pytest.fixture(scope="module")
def sequences(valid_events, tokenizer):
    return build_sequences(valid_events, pl.DataFrame(), tokenizer, SPLITS)


def as_ranks(sequences, rows: np.ndarray, ranks_M: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame(
        {"row": rows, "user_ix": sequences.user_ix_N()[rows], "model": "panther",
         "rank": np.minimum(ranks_M, MISS).astype(np.int32), "cold": np.zeros(len(rows), bool),
         "candidates": ALL_TOKENS}
    )  # fmt: skip


def test_no_baseline_beats_the_oracle_and_its_share_is_the_ratio(ledger, valid_events, tokenizer, sequences):
    rows = select_targets(sequences, RankingConfig(max_users=None, seed=0, batch_size=1))
    shares = {}
    for name, ranks_M in rank_with_baselines(sequences, rows).items():
        ranks = as_ranks(sequences, rows, ranks_M)
        records = measure_oracle(ledger.oracle, ledger.truth, valid_events, tokenizer, ranks, BOOTSTRAP)
        ceiling = find_value(records, model="oracle", metric="hr@1", split="test")
        share = find_value(records, model="panther", metric="share_of_oracle", split="test")
        assert share["value"] == pytest.approx((ranks_M == 1).mean() / ceiling["value"])
        assert share["low"] <= share["value"] <= share["high"] < 1.0
        shares[name] = share["value"]
    assert shares["personal_frequency"] > shares["popularity"]


def test_oracle_without_a_model_that_ranks_tokens_is_the_ceiling_alone(ledger, valid_events, tokenizer, sequences):
    rows = select_targets(sequences, RankingConfig(max_users=None, seed=0, batch_size=1))
    ranks = as_ranks(sequences, rows, np.ones(len(rows), np.int64))
    both = measure_oracle(ledger.oracle, ledger.truth, valid_events, tokenizer, ranks, BOOTSTRAP)
    baseline = ranks.with_columns(model=pl.lit("markov"))
    alone = measure_oracle(ledger.oracle, ledger.truth, valid_events, tokenizer, baseline, BOOTSTRAP)
    assert alone == both[:1]


def test_oracle_is_not_held_against_ranks_among_other_candidates(ledger, valid_events, tokenizer, sequences, caplog):
    rows = select_targets(sequences, RankingConfig(max_users=None, seed=0, batch_size=1))
    ranks = as_ranks(sequences, rows, np.ones(len(rows), np.int64)).with_columns(candidates=pl.lit(NEW_TOKENS))
    assert measure_oracle(ledger.oracle, ledger.truth, valid_events, tokenizer, ranks, BOOTSTRAP) == []
    assert "ranked among tokens new to the user" in caplog.text


def test_oracle_is_right_as_often_as_it_says(ledger, valid_events, tokenizer, sequences):
    rows = select_targets(sequences, RankingConfig(max_users=None, seed=0, batch_size=1))
    ranks = as_ranks(sequences, rows, np.ones(len(rows), np.int64))
    stated = measure_oracle(ledger.oracle, ledger.truth, valid_events, tokenizer, ranks, BOOTSTRAP)[0]["value"]
    states = valid_events[rows].select("event_id").join(
        ledger.oracle.unique("transaction_id", keep="first"), left_on="event_id", right_on="transaction_id",
        how="left", maintain_order="left",
    )  # fmt: skip

    def encode(category, channel, amount_bin):
        return tokenizer.encode_attribute_tuples(
            np.column_stack([tokenizer.attribute_ids("kind", category), amount_bin + 2])
        )

    best, _ = best_next_tokens(states, ledger.truth, edges_cents=np.array(tokenizer.amount_edges_cents), encode=encode)
    right = (best == sequences.token_ids_N[rows]).mean()
    assert right == pytest.approx(stated, abs=4 * np.sqrt(stated * (1 - stated) / len(rows)))


def test_a_ledger_without_an_oracle_yields_no_records(valid_events, tokenizer):
    assert measure_oracle(pl.DataFrame(), pl.DataFrame(), valid_events, tokenizer, pl.DataFrame(), BOOTSTRAP) == []


def test_tokens_the_simulator_cannot_forecast_yield_no_records(ledger, valid_events, caplog):
    hour = FieldConfig(name="hour", source="hour", kind="fixed", edges=[12.0])
    tokenizer = Tokenizer.fit(valid_events, pl.DataFrame(), vocabulary(hour), SPLITS)
    assert measure_oracle(ledger.oracle, ledger.truth, valid_events, tokenizer, pl.DataFrame(), BOOTSTRAP) == []
    assert "hour" in caplog.text
