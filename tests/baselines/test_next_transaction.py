"""Every baseline against the naive loop that defines it."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from panther_pipeline.baselines import next_transaction
from panther_pipeline.baselines.candidates import MISS
from panther_pipeline.baselines.next_transaction import BASELINES, fit_popularity, rank_with_baselines
from panther_pipeline.ledger.splits import TEST, TRAIN, UNUSED, VALID
from panther_pipeline.tokenizer.sequences import TokenSequences

VOCAB = 9


def make_sequences(seed: int, num_users: int = 12, longest: int = 30, vocab_size: int = VOCAB) -> TokenSequences:
    """Random histories with empty and cold users; few tokens, so that ties are the rule."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, longest, num_users)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    splits = []
    for user, length in enumerate(lengths):
        split = np.sort(rng.choice([TRAIN, VALID, TEST], length, p=[0.6, 0.1, 0.3]))
        splits.append(np.where(split == TEST, TEST, UNUSED) if user % 5 == 4 else split)
    num = int(offsets[-1])
    return TokenSequences(
        user_ids=[f"u{u:03d}" for u in range(num_users)],
        offsets_U1=offsets,
        token_ids_N=rng.integers(1, vocab_size, num).astype(np.int32),
        attribute_ids_NF=np.zeros((num, 0), np.int32),
        time_us_N=np.arange(num, dtype=np.int64),
        split_N=np.concatenate(splits).astype(np.int8),
        profile_ids_UP=np.zeros((num_users, 0), np.int32),
        vocab_size=vocab_size,
        attribute_names=[],
        attribute_sizes=[],
        profile_names=[],
        profile_sizes=[],
        tokenizer_digest="test",
    )


def targets_of(sequences: TokenSequences) -> np.ndarray:
    is_target = sequences.split_N == TEST
    is_target[sequences.offsets_U1[:-1][np.diff(sequences.offsets_U1) > 0]] = False
    return np.flatnonzero(is_target)


def naive_order(name: str, sequences: TokenSequences, row: int) -> list[int]:
    """All candidates from best to worst, by the definition."""
    first = sequences.offsets_U1[sequences.user_ix_N()[row]]
    past = sequences.token_ids_N[first:row].tolist()
    popularity = Counter(sequences.token_ids_N[sequences.split_N == TRAIN].tolist())
    scores: Counter = Counter()
    if name == "repeat_last":
        scores[past[-1]] = 1
    if name == "personal_frequency":
        scores = Counter(past)
    if name == "markov":
        for start, stop in zip(sequences.offsets_U1[:-1], sequences.offsets_U1[1:], strict=True):
            for i in range(start + 1, stop):
                both = sequences.split_N[i] == TRAIN == sequences.split_N[i - 1]
                if both and sequences.token_ids_N[i - 1] == past[-1]:
                    scores[int(sequences.token_ids_N[i])] += 1
    return sorted(range(2, sequences.vocab_size), key=lambda token: (-scores[token], -popularity[token], token))


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("seed", range(5))
def test_baseline_ranks_equal_the_naive_loop(name, seed):
    sequences = make_sequences(seed)
    rows = targets_of(sequences)
    ranks = rank_with_baselines(sequences, rows)[name]
    for row, rank in zip(rows, ranks, strict=True):
        token = int(sequences.token_ids_N[row])
        assert rank == (naive_order(name, sequences, row).index(token) + 1 if token >= 2 else MISS)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("seed", range(8))
def test_ranks_among_new_tokens_equal_the_naive_loop(name, seed):
    sequences = make_sequences(seed, vocab_size=12 + 5 * seed)  # from nearly every target seen before to few
    rows = targets_of(sequences)
    ranks = rank_with_baselines(sequences, rows, exclude_seen=True)[name]
    for row, rank in zip(rows, ranks, strict=True):
        token, first = int(sequences.token_ids_N[row]), sequences.offsets_U1[sequences.user_ix_N()[row]]
        past = set(sequences.token_ids_N[first:row].tolist())
        order = [t for t in naive_order(name, sequences, row) if t not in past]
        assert rank == (order.index(token) + 1 if token in order else MISS)
    assert (ranks == MISS).any()
    assert (ranks < MISS).any()


@pytest.mark.parametrize("name", BASELINES)
def test_baseline_ranks_follow_the_order_of_the_rows_asked_for(name):
    sequences = make_sequences(seed=7)
    rows = targets_of(sequences)
    shuffled = np.random.default_rng(0).permutation(len(rows))
    assert (
        rank_with_baselines(sequences, rows[shuffled])[name] == rank_with_baselines(sequences, rows)[name][shuffled]
    ).all()


def test_personal_frequency_is_the_same_in_small_chunks(monkeypatch):
    sequences = make_sequences(seed=3, num_users=3, longest=200)
    rows = targets_of(sequences)
    expected = rank_with_baselines(sequences, rows)["personal_frequency"]
    monkeypatch.setattr(next_transaction, "_COUNTS_PER_CHUNK", 50)
    assert (rank_with_baselines(sequences, rows)["personal_frequency"] == expected).all()


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("name", BASELINES)
def test_baseline_ignores_everything_after_the_target(name, exclude_seen):
    sequences = make_sequences(seed=11, vocab_size=60 if exclude_seen else VOCAB)
    rows = targets_of(sequences)
    ranks = rank_with_baselines(sequences, rows, exclude_seen=exclude_seen)[name]
    for row, rank in list(zip(rows, ranks, strict=True))[:: 1 if exclude_seen else 3]:
        stop = sequences.offsets_U1[sequences.user_ix_N()[row] + 1]
        tokens = sequences.token_ids_N.copy()
        tokens[row + 1 : stop] = 2 + tokens[row + 1 : stop] % (sequences.vocab_size - 2)
        changed = replace(sequences, token_ids_N=tokens)
        assert rank_with_baselines(changed, np.array([row]), exclude_seen=exclude_seen)[name][0] == rank


def test_fitted_counts_ignore_validation_and_test():
    sequences = make_sequences(seed=2)
    tokens = np.where(sequences.split_N == TRAIN, sequences.token_ids_N, VOCAB - 1).astype(np.int32)
    assert (fit_popularity(replace(sequences, token_ids_N=tokens)) == fit_popularity(sequences)).all()
    rows = targets_of(sequences)
    rows = rows[sequences.token_ids_N[rows - 1] >= 2][:1]
    tokens[rows[0] - 1 : rows[0] + 1] = sequences.token_ids_N[rows[0] - 1 : rows[0] + 1]
    changed = replace(sequences, token_ids_N=tokens)
    assert rank_with_baselines(changed, rows)["markov"] == rank_with_baselines(sequences, rows)["markov"]


def test_popularity_breaks_ties_by_id_and_proposes_no_special_token():
    sequences = make_sequences(seed=0)
    sequences = replace(sequences, split_N=np.full_like(sequences.split_N, TEST))
    assert fit_popularity(sequences).tolist() == [MISS, MISS, *range(1, VOCAB - 1)]


def test_baselines_answer_when_nothing_was_trained_on():
    sequences = make_sequences(seed=5, num_users=1, longest=20)
    sequences = replace(sequences, split_N=np.full_like(sequences.split_N, TEST))
    ranks = rank_with_baselines(sequences, np.arange(1, sequences.num_events))
    assert all(((r >= 1) & (r <= MISS)).all() for r in ranks.values())
