"""A ledger whose frauds hang on the order of the events before, and a backbone that was never trained on it.

Every event is one of eight symbols of two kinds. After two events of which just one is of the second kind (an exclusive
or), fraud is likely, else it is rare. Which symbol is of which kind has to be learned, and no straight line through the
two events tells them apart.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from panther_pipeline.cache.embed import EventEmbeddingConfig, embed_events, measure_surprises
from panther_pipeline.ledger.splits import SplitConfig, assign_split
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.scoring.fit import HeadConfig, fit_fraud_head
from panther_pipeline.scoring.head import FraudHead
from panther_pipeline.scoring.networks.config import NetworkConfig
from panther_pipeline.scoring.task import FraudTask, FraudTaskConfig, assemble_fraud_task
from panther_pipeline.scoring.tuning.config import LayerwiseConfig, LoraConfig, TuningConfig
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.units import epoch_us

NUM_USERS, NUM_EVENTS = 32, 80
SPLITS = SplitConfig(
    protocol="time", train_end="2024-01-12", valid_end="2024-01-16", test_end=None, embargo_days=0.0, test_share=None,
    valid_share=None, held_out_user_share=0.0,
)  # fmt: skip
EVENTS = EventEmbeddingConfig(since=None, refresh="each_event", batch_size=64)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What one run hands to the tuning."""

    ledger: pl.DataFrame
    sequences: TokenSequences
    surprises: pl.DataFrame
    backbone: Backbone
    task: FraudTask
    head: FraudHead

    @property
    def parts(self) -> tuple:
        """In the order of `tune_backbone`."""
        return self.task, self.head, self.backbone, self.sequences, EVENTS


def make_ledger(seed: int = 0) -> tuple[pl.DataFrame, TokenSequences]:
    rng = np.random.default_rng(seed)
    symbol_UN = rng.integers(0, 8, (NUM_USERS, NUM_EVENTS))
    kind_UN = symbol_UN % 2
    is_planted_UN = np.zeros_like(symbol_UN, dtype=bool)
    is_planted_UN[:, 2:] = kind_UN[:, 1:-1] != kind_UN[:, :-2]
    label = rng.random(symbol_UN.shape) < np.where(is_planted_UN, 0.8, 0.02)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    hours = np.arange(NUM_EVENTS) * 6
    times = [start + timedelta(hours=int(h), minutes=u) for u in range(NUM_USERS) for h in hours]
    user_ids = [f"u{u:02d}" for u in range(NUM_USERS)]
    ledger = pl.DataFrame(
        {
            "user_id": np.repeat(user_ids, NUM_EVENTS),
            "event_id": [f"e{i}" for i in range(symbol_UN.size)],
            "event_time": pl.Series(times, dtype=pl.Datetime("us", "UTC")),
            "amount_cents": rng.integers(100, 5000, symbol_UN.size),
            "label": label.ravel().astype(np.int8),
            "label_time": pl.Series([t + timedelta(hours=1) for t in times], dtype=pl.Datetime("us", "UTC")),
            "event_seq": np.tile(np.arange(NUM_EVENTS), NUM_USERS),
        }
    )
    time_us_N = epoch_us(ledger["event_time"])
    sequences = TokenSequences(
        user_ids=user_ids,
        offsets_U1=np.arange(NUM_USERS + 1, dtype=np.int64) * NUM_EVENTS,
        token_ids_N=(symbol_UN + 2).astype(np.int32).ravel(),
        attribute_ids_NF=np.zeros((symbol_UN.size, 0), dtype=np.int32),
        time_us_N=time_us_N,
        split_N=assign_split(time_us_N, ledger["user_id"], SPLITS),
        profile_ids_UP=np.zeros((NUM_USERS, 0), dtype=np.int32),
        vocab_size=10,
        attribute_names=[],
        attribute_sizes=[],
        profile_names=[],
        profile_sizes=[],
        tokenizer_digest="planted",
    )
    return ledger, sequences


def make_task(
    ledger: pl.DataFrame, sequences: TokenSequences, backbone: Backbone, **changes: object
) -> tuple[FraudTask, pl.DataFrame]:
    surprises = measure_surprises(backbone, sequences, np.ones(10, dtype=np.int64), EVENTS)
    features = ledger.select("event_id", pl.col("amount_cents").cast(pl.Float32).alias("amount"))
    config = {
        "fit_start": None, "calibration_share": 0.2, "calibration_gap": False, "negatives_per_fraud": None, "seed": 0,
        "blocked_since": None,
    } | changes  # fmt: skip
    embeddings = embed_events(backbone, sequences, surprises, EVENTS)
    return assemble_fraud_task(ledger, features, embeddings, FraudTaskConfig(**config), SPLITS), surprises


def build_backbone(**changes: object) -> Backbone:
    config = {"dim": 16, "num_layers": 2, "num_heads": 2, "feed_forward_dim": 32, "max_events": 16,
              "num_prototypes": 4, "time_encoding": "none"}  # fmt: skip
    return Backbone(ModelConfig(**config | changes), vocab_size=10, attribute_sizes=[], profile_sizes=[],
                    tokenizer_digest="planted", seed=1).eval()  # fmt: skip


def make_head(task: FraudTask) -> FraudHead:
    network = NetworkConfig(kind="logistic", num_frequencies=2, frequency_scale=0.3, number_width=2,
                            num_cross_layers=1, cross_rank=2, deep_widths=[4], dropout=0.0)  # fmt: skip
    config = HeadConfig(
        network=network, also_without_backbone=False, seeds=[0], search=[], batch_size=128, max_epochs=8, patience=3,
        learning_rate=0.01, weight_decay=0.001, calibration="platt",
    )  # fmt: skip
    return fit_fraud_head(task, config)[0]


@pytest.fixture(scope="session")
def make_backbone():
    return build_backbone


@pytest.fixture(scope="session")
def fit_head():
    return make_head


@pytest.fixture(scope="session")
def case() -> Case:
    ledger, sequences = make_ledger()
    backbone = build_backbone()
    task, surprises = make_task(ledger, sequences, backbone)
    return Case(ledger=ledger, sequences=sequences, surprises=surprises, backbone=backbone, task=task,
                head=make_head(task))  # fmt: skip


@pytest.fixture(scope="session")
def config() -> TuningConfig:
    return TuningConfig(
        methods="full+lora", head="fresh",
        full=LayerwiseConfig(learning_rate=0.01, layer_decay=0.8),
        lora=LoraConfig(learning_rate=0.03, rank=4, alpha=8.0, adapt_feed_forward=True),
        head_learning_rate=0.01, weight_decay=0.0, grad_clip=1.0, dropout=0.0, batch_windows=16, epoch_windows=None,
        max_epochs=8, patience=8, seeds=[0],
    )  # fmt: skip
