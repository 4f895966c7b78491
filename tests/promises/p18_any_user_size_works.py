"""P18: users with 0, 1, 2, a context, and 100,000 events, among 100,000 users: no error.

A user without an event is absent from the log, the tokens and the online store, which answers None: that is the flag.
The prior of an event without history, a user's first, is the share of its token in training (one more of each); its
cosine is 0, its embedding zeros, and its history_length, 0, is the flag. A history beyond the context counts by its
latest events alone (cache/states.py: between half a context and a context of them). That time grows in proportion to
the rows is measured by benchmarks/bench_tokenize.py, on 1.8 and on 24 million.
"""

import dataclasses

import numpy as np
import polars as pl
import pytest
import torch

from panther_pipeline.cache.as_of import window_start
from panther_pipeline.cache.embed import EventEmbeddingConfig, UserEmbeddingConfig, embed_events, measure_surprises
from panther_pipeline.cache.states import iter_state_chunks
from panther_pipeline.cache.users import forecast_users, tabulate_users
from panther_pipeline.ledger.profiles import map_profiles
from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.ledger.stream import user_batches
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.tokenizer.build import build_sequences
from panther_pipeline.tokenizer.config import FieldConfig, VocabularyConfig
from panther_pipeline.tokenizer.tokenizer import Tokenizer

NUM_USERS = 100_000
MAX_EVENTS = 32
SIZES = {"one": 1, "two": 2, "context": MAX_EVENTS, "huge": 100_000}
SPLITS = SplitConfig(
    protocol="time", train_end="2030-01-01", valid_end="2031-01-01", test_end=None, embargo_days=0.0,
    test_share=None, valid_share=None, held_out_user_share=0.0,
)  # fmt: skip
VOCABULARY = VocabularyConfig(
    fields=[
        FieldConfig(name="category", source="category", kind="categorical", max_categories=5),
        FieldConfig(name="amount", source="amount", kind="quantile", num_bins=4),
        FieldConfig(name="gap", source="gap", kind="log", num_bins=4),
    ],
    zone="UTC", max_tokens=None, coverage_target=None, min_count=1, max_dropped=1, profile_max_categories=5,
    profile_num_bins=2,
)  # fmt: skip


def ledger(lengths: dict[str, int], seed: int = 18) -> pl.DataFrame:
    """One event a minute for every user, in random order of rows."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.array(list(lengths)), list(lengths.values()))
    rank = np.concatenate([np.arange(n) for n in lengths.values()])
    num = len(users)
    table = pl.DataFrame({
        "id": pl.int_range(num, eager=True).cast(pl.String),
        "user": users,
        "time": pl.Series(rank * 60_000_000 + 1_700_000_000_000_000).cast(pl.Datetime("us", "UTC")),
        "amount": pl.Series(rng.integers(1, 10**6, num)).cast(pl.String) + ".50",
        "shop": pl.Series(rng.integers(0, 50, num)).cast(pl.String),
        "kind": np.array(["food", "rent", "fuel"])[rng.integers(0, 3, num)],
    })  # fmt: skip
    return table[rng.permutation(num)]


@pytest.fixture(scope="module")
def settled(settle):
    return settle(ledger(SIZES | {f"u{i:06}": 1 + i % 3 for i in range(NUM_USERS)}))


@pytest.fixture(scope="module")
def tokens(settled, make_schema):
    ids = [*settled.valid_events["user_id"].unique(maintain_order=True), "zero"]
    schema = make_schema(
        profiles={"user_id": "who", "attributes": [{"name": "region", "column": "region", "kind": "category"}]}
    )
    profiles = map_profiles(pl.DataFrame({"who": ids, "region": ["north"] * len(ids)}), schema)
    tokenizer = Tokenizer.fit(settled.valid_events, profiles, VOCABULARY, SPLITS)
    return tokenizer, build_sequences(settled.valid_events, profiles, tokenizer, SPLITS), profiles


@pytest.fixture(scope="module")
def backbone(tokens):
    torch.set_num_threads(1)
    tokenizer, _, _ = tokens
    config = ModelConfig(dim=16, num_layers=2, num_heads=2, max_events=MAX_EVENTS, num_prototypes=4, dropout=0.0)
    sizes = {"vocab_size": tokenizer.vocab_size, "attribute_sizes": tokenizer.attribute_sizes}
    return Backbone(config, **sizes, profile_sizes=tokenizer.profile_sizes, tokenizer_digest=tokenizer.digest).eval()


def only(sequences, users: list[str]):
    """The sequences of some users."""
    at = [sequences.user_ids.index(user) for user in users]
    rows = np.concatenate([np.arange(*sequences.offsets_U1[u : u + 2]) for u in at])
    return cut(sequences, rows, at)


def cut(sequences, rows: np.ndarray, users: list[int]):
    lengths = np.bincount(np.searchsorted(sequences.offsets_U1, rows, side="right") - 1)[users]
    per_event = ("token_ids_N", "attribute_ids_NF", "time_us_N", "split_N")
    return dataclasses.replace(
        sequences, **{name: np.asarray(getattr(sequences, name))[rows] for name in per_event},
        user_ids=[sequences.user_ids[u] for u in users], profile_ids_UP=sequences.profile_ids_UP[users],
        offsets_U1=np.concatenate([[0], np.cumsum(lengths)]),
    )  # fmt: skip


def test_every_user_size_comes_through_every_stage(settled, tokens):
    _, sequences, _ = tokens
    lengths = dict(zip(sequences.user_ids, np.diff(sequences.offsets_U1).tolist(), strict=True))
    assert settled.faults.is_empty()
    assert lengths == SIZES | {f"u{i:06}": 1 + i % 3 for i in range(NUM_USERS)}
    assert (sequences.token_ids_N > 0).all()
    sizes = [batch["user_id"].n_unique() for batch in user_batches(settled.valid_events, 50_000)]
    assert sum(sizes) == len(lengths)
    print(f"\nP18 {len(lengths):,} of {len(SIZES) + NUM_USERS:,} users of 1 to 100,000 events come through / all")


def test_user_without_events_is_flagged_by_its_absence(tokens, backbone):
    tokenizer, sequences, profiles = tokens
    assert "zero" in profiles["user_id"]
    assert "zero" not in sequences.user_ids
    few = only(sequences, ["one", "two"])
    config = UserEmbeddingConfig(as_of=None, num_next_transactions=2, batch_size=8)
    embeddings, _ = tabulate_users(forecast_users(backbone, few, config), few, tokenizer)
    assert dict(embeddings.select("user_id", "num_events").iter_rows()) == {"one": 1, "two": 2}


def test_first_event_gets_the_documented_prior(tokens, backbone):
    tokenizer, sequences, _ = tokens
    few = only(sequences, ["one", "two"])
    config = EventEmbeddingConfig(since=None, refresh="each_event", batch_size=8)
    counts_V = tokenizer.vocabulary.counts_V
    surprises = measure_surprises(backbone, few, counts_V, config)
    embedded = embed_events(backbone, few, surprises, config)
    first = few.offsets_U1[:-1]
    prior = -np.log((counts_V + 1) / (counts_V + 1).sum())[few.token_ids_N[first]]
    np.testing.assert_allclose(surprises["surprise"].to_numpy()[first], prior, rtol=1e-6)
    assert (surprises["cosine"].to_numpy()[first] == 0).all()
    assert embedded["history_length"].to_list() == [0, 0, 1]
    assert not embedded["embedding"].to_numpy()[first].any()


def state_of_last(backbone, sequences) -> np.ndarray:
    ((_, h_mD),) = iter_state_chunks(backbone, sequences, sequences.offsets_U1[1:] - 1)
    return h_mD.numpy()


def off_from_latest(tokens, backbone, first: int) -> float:
    """How far the state of the huge user lies from that of its events from position `first` on."""
    _, sequences, _ = tokens
    huge = only(sequences, ["huge"])
    latest = cut(huge, np.arange(first, huge.num_events), [0])
    return float(np.abs(state_of_last(backbone, huge) - state_of_last(backbone, latest)).max())


def test_long_history_counts_by_its_latest_events(tokens, backbone):
    first = window_start(SIZES["huge"] - 1, MAX_EVENTS)
    off = off_from_latest(tokens, backbone, first)
    print(f"\nP18 {off:.1e} between 100,000 events and their last {SIZES['huge'] - first} / 1e-6")
    assert SIZES["huge"] - first <= MAX_EVENTS
    assert off <= 1e-6


def test_guard_notices_a_forgotten_event(tokens, backbone):
    assert off_from_latest(tokens, backbone, window_start(SIZES["huge"] - 1, MAX_EVENTS) + 1) > 1e-6
