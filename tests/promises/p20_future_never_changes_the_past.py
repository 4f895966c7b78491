"""P20: change, add or delete everything from an instant on, and nothing known before it moves a bit.

200 random (event, mutation) pairs on the ledger of a finished run, with its tokenizer, backbone and head. Compared
bit for bit: the features, tokens and attribute ids of every earlier event and of the event itself; its embedding,
deviation and score, too, when the future is altered. When events are deleted or added, histories have another length,
and a matrix product of another shape may round differently: there the bound is 1e-5.
Future means: events at or after the instant, of anybody, and labels not yet known then.
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import torch

from panther_pipeline.cache import embed
from panther_pipeline.cache.embed import EventEmbeddingConfig, embed_events, measure_surprises
from panther_pipeline.features import windows
from panther_pipeline.features.config import FeatureConfig
from panther_pipeline.features.point_in_time import compute_features
from panther_pipeline.ledger.splits import TRAIN, SplitConfig
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.scoring.head import FraudHead
from panther_pipeline.scoring.task import SURPRISE_COLUMNS
from panther_pipeline.tokenizer import fitting
from panther_pipeline.tokenizer.build import build_sequences
from panther_pipeline.tokenizer.config import VocabularyConfig
from panther_pipeline.tokenizer.tokenizer import Tokenizer

NUM_TRIALS = 200
NUM_USERS = 8


@dataclass(frozen=True)
class Artifacts:
    """What a run fitted, and the ledger it is applied to."""

    events: pl.DataFrame
    profiles: pl.DataFrame
    tokenizer: Tokenizer
    backbone: Backbone
    head: FraudHead
    features: FeatureConfig
    vocabulary: VocabularyConfig
    splits: SplitConfig


@pytest.fixture(scope="module")
def artifacts(finished_project, load_config):
    torch.set_num_threads(1)
    data = finished_project / "data"
    params = load_config("test", finished_project)["parameters"]
    events = pl.read_parquet(data / "03_primary/test/valid_events.parquet")
    lengths = events.group_by("user_id").len().sort("user_id")
    users = lengths.filter(pl.col("len") > 100)["user_id"].to_list()[: NUM_USERS - 1]
    users.append(lengths.filter(pl.col("len") < 60)["user_id"][0])  # a cold one
    return Artifacts(
        events=events.filter(pl.col("user_id").is_in(users)),
        profiles=pl.read_parquet(data / "03_primary/test/profiles.parquet"),
        tokenizer=Tokenizer.load(data / "04_feature/test/tokenizer.json"),
        backbone=Backbone.load(data / "06_models/test/backbone").eval(),
        head=FraudHead.load(data / "07_model_output/test/fraud_head"),
        features=FeatureConfig(**params["finetuning"]["features"]),
        vocabulary=VocabularyConfig(**params["tokenizer"]["vocabulary"]),
        splits=SplitConfig(**params["ledger"]["splits"]),
    )


def knowledge(artifacts: Artifacts, events: pl.DataFrame, event: dict) -> dict[str, np.ndarray]:
    """All that is known when `event` must be decided."""
    rank = pl.int_range(pl.len()).over("user_id").cast(pl.Int64)
    events = events.sort("user_id", "event_time", "event_seq").with_columns(event_seq=rank)
    is_known = (events["event_time"] < event["event_time"]) | (events["event_id"] == event["event_id"])
    features = compute_features(events, artifacts.features)
    encoded = artifacts.tokenizer.encode(events)
    own = events.filter(user_id=event["user_id"])
    sequences = build_sequences(own, artifacts.profiles, artifacts.tokenizer, artifacts.splits)
    counts = artifacts.tokenizer.vocabulary.counts_V
    config = EventEmbeddingConfig(since=None, refresh="each_event", batch_size=64)
    surprises = measure_surprises(artifacts.backbone, sequences, counts, config)
    embedded = embed_events(artifacts.backbone, sequences, surprises, config)
    row = own["event_id"].to_list().index(event["event_id"])
    embedded = embedded.filter(row=row)
    this = features.filter(events["event_id"] == event["event_id"]).select(artifacts.head.feature_names)
    score = artifacts.head.score(
        this.to_numpy(), embedded["embedding"].to_numpy(), embedded.select(SURPRISE_COLUMNS).to_numpy()
    )
    return {
        "features": features.filter(is_known).drop("event_id").to_numpy(),
        "tokens": encoded.token_ids_N[is_known.to_numpy()],
        "attributes": encoded.attribute_ids_NF[is_known.to_numpy()],
        "embedding": embedded["embedding"].to_numpy(),
        "deviation": embedded.select(SURPRISE_COLUMNS).to_numpy(),
        "score": score,
    }


def mutate(events: pl.DataFrame, event: dict, how: str, rng: np.random.Generator) -> pl.DataFrame:
    """The ledger with another future; the event itself keeps what is known of it when it must be decided."""
    instant = event["event_time"]
    is_future = (pl.col("event_time") >= instant) & (pl.col("event_id") != event["event_id"])
    unknown = (pl.col("label_time") > instant) | (pl.col("event_id") == event["event_id"])
    events = events.with_columns(label=pl.when(unknown).then(1 - pl.col("label")).otherwise(pl.col("label")))
    if how == "delete":
        return events.filter(~is_future)
    if how == "alter":
        amounts = pl.Series(rng.integers(-50_000, 500_000, events.height))
        return events.with_columns(
            amount_cents=pl.when(is_future).then(amounts).otherwise("amount_cents"),
            category=pl.when(is_future).then(pl.lit("groceries")).otherwise("category"),
            counterparty=pl.when(is_future).then(pl.lit(event["counterparty"])).otherwise("counterparty"),
        )
    copies = events.filter(is_future).with_columns(
        event_id=pl.col("event_id") + "-copy", event_time=pl.col("event_time") + timedelta(minutes=1)
    )
    same_instant = events.filter(event_id=event["event_id"]).with_columns(
        event_id=pl.lit("new"), event_seq=pl.col("event_seq") + 1
    )
    return pl.concat([events, copies, same_instant])


def moved_names(before: dict[str, np.ndarray], after: dict[str, np.ndarray], how: str) -> list[str]:
    """Which quantities are not the same: bit for bit, or to 1e-5 for what the model computes on another length."""

    def is_same(name: str) -> bool:
        if how != "alter" and name in ("embedding", "deviation", "score"):
            return bool(np.allclose(before[name], after[name], rtol=0, atol=1e-5))
        return before[name].tobytes() == after[name].tobytes()

    return [name for name in before if not is_same(name)]


def draw(artifacts: Artifacts, trial: int) -> tuple[dict, str, np.random.Generator]:
    rng = np.random.default_rng((20, trial))
    event = artifacts.events.row(int(rng.integers(artifacts.events.height)), named=True)
    return event, ("delete", "alter", "add")[trial % 3], rng


def test_future_changes_nothing_known_before_it(artifacts):
    moved = []
    for trial in range(NUM_TRIALS):
        event, how, rng = draw(artifacts, trial)
        before = knowledge(artifacts, artifacts.events, event)
        after = knowledge(artifacts, mutate(artifacts.events, event, how, rng), event)
        moved += [(trial, how, name) for name in moved_names(before, after, how)]
    print(f"\nP20 {NUM_TRIALS - len({t for t, *_ in moved})} of {NUM_TRIALS} futures change nothing / {NUM_TRIALS}")
    assert moved == []


# What is computed for all users at once: the last event of each row's user, whatever happened since.
def last_rows_of_users(sequences, refresh):
    lengths_U = np.diff(sequences.offsets_U1)
    return np.repeat(sequences.offsets_U1[1:] - 1, lengths_U)


SABOTAGES = {
    "window includes the event's instant": (windows, "_CLOSED", "both"),
    "embedding of the event itself": (embed, "as_of_rows", lambda s, refresh: np.arange(s.num_events)),
    "embedding of the whole history": (embed, "as_of_rows", last_rows_of_users),
}


@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_guard_notices_a_leak(artifacts, monkeypatch, sabotage):
    monkeypatch.setattr(*SABOTAGES[sabotage])
    trials = [draw(artifacts, t) for t in range(12)]
    moved = 0
    for event, how, rng in trials:
        # What is known of the event itself may be in its own embedding under this sabotage: change the event too.
        changed = mutate(artifacts.events, event, how, rng)
        if not sabotage.startswith("window"):
            is_it = pl.col("event_id") == event["event_id"]
            changed = changed.with_columns(amount_cents=pl.when(is_it).then(99_999).otherwise("amount_cents"))
        before = knowledge(artifacts, artifacts.events, event)
        after = knowledge(artifacts, changed, event)
        name = "features" if sabotage.startswith("window") else "embedding"
        moved += name in moved_names(before, after, how)
    assert moved > 0


def fit_tokenizers(artifacts: Artifacts) -> set[str]:
    """Digests of the tokenizer of the ledger, and of ledgers with another end."""
    end = artifacts.splits.train_end
    later = pl.col("event_time") >= pl.lit(end).str.to_datetime(time_zone="UTC", time_unit="us")
    changed = artifacts.events.with_columns(
        amount_cents=pl.when(later).then(1).otherwise("amount_cents"),
        category=pl.when(later).then(pl.lit("never seen")).otherwise("category"),
    )
    return {
        Tokenizer.fit(events, artifacts.profiles, artifacts.vocabulary, artifacts.splits).digest
        for events in (artifacts.events, changed, artifacts.events.filter(~later))
    }


def test_fitted_statistics_ignore_everything_after_training(artifacts):
    assert len(fit_tokenizers(artifacts)) == 1


def test_guard_notices_a_tokenizer_of_all_events(artifacts, monkeypatch):
    monkeypatch.setattr(fitting, "assign_split", lambda time_us_N, user_ids_N, splits: np.full(len(time_us_N), TRAIN))
    assert len(fit_tokenizers(artifacts)) == 3
