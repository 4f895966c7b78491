"""Histories with a planted order, and the sequences and backbone of the ledger of the other heads."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch

from panther_pipeline.cache.embed import EventEmbeddingConfig
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.scoring.history.config import (
    AttentionConfig,
    DistillationConfig,
    HistoryConfig,
    TextCNNConfig,
)
from panther_pipeline.scoring.history.inputs import Histories
from panther_pipeline.scoring.task import CALIBRATION, FIT, JUDGED, FraudTask
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.units import epoch_us

WIDTH, NUM_EVENTS, NUM_TOKENS = 8, 12, 6
START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def history_config() -> HistoryConfig:
    return HistoryConfig(
        models=["textcnn", "attention", "distilled"],
        num_events=NUM_EVENTS,
        vectors="both",
        textcnn=TextCNNConfig(widths=[2, 3], num_filters=8),
        attention=AttentionConfig(num_heads=2, head_width=8, query_width=8),
        distillation=DistillationConfig(weight=4.0, temperature=1.0, num_folds=2),
    )


@pytest.fixture(scope="session")
def events_config() -> EventEmbeddingConfig:
    return EventEmbeddingConfig(since=None, refresh="each_event", batch_size=16)


def make_sequences(ledger: pl.DataFrame) -> TokenSequences:
    """Random tokens for the events of the ledger."""
    rng = np.random.default_rng(5)
    counts = ledger.group_by("user_id", maintain_order=True).len()
    tokens_N = rng.integers(1, NUM_TOKENS, ledger.height).astype(np.int32)
    return TokenSequences(
        user_ids=counts["user_id"].to_list(),
        offsets_U1=np.concatenate([[0], counts["len"].cum_sum().to_numpy()]).astype(np.int64),
        token_ids_N=tokens_N,
        attribute_ids_NF=tokens_N[:, None].copy(),
        time_us_N=np.array(epoch_us(ledger["event_time"])),
        split_N=np.zeros(ledger.height, dtype=np.int8),
        profile_ids_UP=np.zeros((counts.height, 0), dtype=np.int32),
        vocab_size=NUM_TOKENS,
        attribute_names=["kind"],
        attribute_sizes=[NUM_TOKENS],
        profile_names=[],
        profile_sizes=[],
        tokenizer_digest="t",
    )


@pytest.fixture(scope="session")
def sequences(ledger) -> TokenSequences:
    return make_sequences(ledger)


def make_backbone(kind: str = "structured") -> Backbone:
    """Untrained: nothing here depends on what it has learned."""
    config = ModelConfig(dim=WIDTH, num_layers=1, num_heads=2, max_events=16, num_prototypes=4, dropout=0.0)
    return Backbone(
        config, vocab_size=NUM_TOKENS, attribute_sizes=[NUM_TOKENS], profile_sizes=[], tokenizer_digest="t",
        tokenizer_kind=kind, seed=1,
    ).eval()  # fmt: skip


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    return make_backbone()


@pytest.fixture(scope="session")
def ordered() -> tuple[FraudTask, Histories]:
    """Fraud follows "first A, then B" and not "first B, then A"; number and embedding show neither."""
    return plant_order(num_rows=2400, seed=0)


def plant_order(
    num_rows: int, seed: int, fraud_shares: tuple[float, float] = (0.1, 0.8), clue: float = 0.0, width: int = NUM_TOKENS
) -> tuple[FraudTask, Histories]:
    """Rows with histories of their own, the last two events A and B in either order.

    Args:
        fraud_shares: after "B, A" and after "A, B".
        clue: how clearly each number of the embedding shows the order, in standard deviations; 0 = the embedding is
            the mean of the history, which does not.
        width: of the embedding.
    """
    rng = np.random.default_rng(seed)
    length_R = rng.integers(2, NUM_EVENTS + 1, num_rows)
    last_R = np.cumsum(length_R) - 1
    token_M = rng.integers(2, NUM_TOKENS, length_R.sum())
    is_planted_R = rng.random(num_rows) < 0.5
    token_M[last_R - 1], token_M[last_R] = np.where(is_planted_R, [[0], [1]], [[1], [0]])
    label_R = (rng.random(num_rows) < np.where(is_planted_R, *fraud_shares[::-1])).astype(np.int8)
    vector_M = np.eye(NUM_TOKENS, dtype=np.float32)[token_M]
    first_R = last_R - length_R + 1
    mean_RC = np.add.reduceat(vector_M, first_R, axis=0) / length_R[:, None]
    clue_RC = rng.normal(size=(num_rows, width)) + clue * np.where(is_planted_R, 1, -1)[:, None]
    histories = Histories(
        vectors_MC=torch.from_numpy(vector_M).half(),
        time_us_M=torch.zeros(len(token_M), dtype=torch.int64),
        gap_M=torch.zeros(len(token_M)),
        first_R=torch.from_numpy(first_R),
        length_R=torch.from_numpy(length_R),
        now_us_R=torch.ones(num_rows, dtype=torch.int64),
        own_RD=torch.zeros(num_rows, 2, dtype=torch.float16),
        num_events=NUM_EVENTS,
    )
    return make_task(label_R, (clue_RC if clue else mean_RC).astype(np.float32), rng), histories


def make_task(label_R: np.ndarray, embeddings_RD: np.ndarray, rng: np.random.Generator) -> FraudTask:
    num = len(label_R)
    events = pl.DataFrame(
        {
            "event_id": [f"e{i}" for i in range(num)],
            "row": np.arange(num),
            "user_id": [f"u{i}" for i in rng.integers(0, 100, num)],
            "event_time": pl.Series([START + timedelta(minutes=i) for i in range(num)], dtype=pl.Datetime("us", "UTC")),
            "label": label_R,
            "amount_cents": np.full(num, 100),
            "event_seq": np.arange(num),
            "cold": np.zeros(num, dtype=bool),
        }
    )
    return FraudTask(
        events=events,
        part_R=np.repeat([FIT, CALIBRATION, JUDGED], [num // 2, num // 4, num - num // 2 - num // 4]).astype(np.int8),
        features_RF=rng.normal(size=(num, 1)).astype(np.float32),
        embeddings_RD=embeddings_RD,
        surprises_RS=np.zeros((num, 3), dtype=np.float32),
        feature_names=["noise"],
        kept_share=1.0,
    )
