"""What a user had before an event, against the loop over the past that defines it."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from panther_pipeline.baselines import candidates
from panther_pipeline.baselines.candidates import FIRST_CANDIDATE, MISS, SeenTokens

HISTORIES = Path(__file__).parents[1] / "fixtures" / "histories.py"


@pytest.fixture(scope="module")
def sequences():
    return runpy.run_path(str(HISTORIES))["random_sequences"](vocab_size=60)


def past_of(sequences, row: int) -> set[int]:
    first = sequences.offsets_U1[sequences.user_ix_N()[row]]
    return {token for token in sequences.token_ids_N[first:row].tolist() if token >= FIRST_CANDIDATE}


def by_id(rows_P: np.ndarray, tokens_P: np.ndarray) -> np.ndarray:
    """An order that puts low ids first."""
    return tokens_P.astype(np.int64) - (FIRST_CANDIDATE - 1)


def test_pairs_are_the_distinct_tokens_before_each_row(sequences):
    rows = np.random.default_rng(0).integers(0, sequences.num_events, 300)  # unordered, some twice
    targets, tokens = SeenTokens(sequences).pairs(rows)
    assert (np.diff(targets) >= 0).all()
    for place, row in enumerate(rows):
        found = tokens[targets == place].tolist()
        assert sorted(found) == sorted(past_of(sequences, row))


def test_pairs_are_counted_strictly_before_each_row(sequences):
    rows = np.random.default_rng(2).integers(0, sequences.num_events, 300)
    seen = SeenTokens(sequences)
    targets, tokens, counts = seen.counted_pairs(rows)
    assert all(np.array_equal(a, b) for a, b in zip(seen.pairs(rows), (targets, tokens), strict=True))
    for target, token, count in zip(targets, tokens, counts, strict=True):
        row = rows[target]
        assert count == (sequences.token_ids_N[sequences.first_row_N()[row] : row] == token).sum()
    assert counts.max() > 1


def test_rank_counts_what_is_new_and_a_seen_token_is_a_miss(sequences):
    rows = np.arange(sequences.num_events)
    ranks = SeenTokens(sequences).rank_new(rows, by_id)
    for row, rank in zip(rows, ranks, strict=True):
        token, past = int(sequences.token_ids_N[row]), past_of(sequences, row)
        new = [t for t in range(FIRST_CANDIDATE, sequences.vocab_size) if t not in past]
        assert rank == (1 + new.index(token) if token in new else MISS)
    assert (ranks == MISS).any()
    assert (ranks < MISS).any()


def test_ranks_are_the_same_in_small_chunks_whose_size_is_bounded(sequences, monkeypatch):
    rows = np.random.default_rng(1).permutation(sequences.num_events)
    sizes = []

    def watched(rows_P, tokens_P):
        sizes.append(len(rows_P))
        return by_id(rows_P, tokens_P)

    whole = SeenTokens(sequences).rank_new(rows, by_id)
    monkeypatch.setattr(candidates, "_PAIRS_PER_CHUNK", 50)
    assert (SeenTokens(sequences).rank_new(rows, watched) == whole).all()
    assert sizes[0] == len(rows)
    assert len(sizes) > 20
    assert max(sizes[1:]) <= 50 + sequences.vocab_size


def test_what_is_seen_is_strictly_before_the_row(sequences):
    first = int(sequences.offsets_U1[np.diff(sequences.offsets_U1).argmax()])
    tokens = sequences.token_ids_N.copy()
    tokens[first : first + 4] = 7, 1, 8, 8
    seen, rows = SeenTokens(replace(sequences, token_ids_N=tokens)), np.arange(first, first + 4)
    targets, found = seen.pairs(rows)
    assert list(zip(targets, found, strict=True)) == [(1, 7), (2, 7), (3, 7), (3, 8)]
    assert seen.rank_new(rows, by_id).tolist() == [6, MISS, 6, MISS]


def test_no_rows_give_no_ranks(sequences):
    assert SeenTokens(sequences).rank_new(np.empty(0, np.int64), by_id).tolist() == []
