"""Ranks and ranking metrics against sklearn and against sorting."""

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score, top_k_accuracy_score

from panther_pipeline.baselines.candidates import MISS
from panther_pipeline.errors import PantherError
from panther_pipeline.metrics import ranking
from panther_pipeline.metrics.ranking import rank_targets, rank_tokens, ranking_statistics

VOCAB = 12


def popularity_order(seed: int) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(VOCAB - 2) + 1
    return np.concatenate([[MISS, MISS], order])


def test_ranks_equal_the_position_in_the_sorted_candidates():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 4, (200, VOCAB)).astype(np.float32)  # four values for twelve tokens: ties everywhere
    tokens, popularity = rng.integers(0, VOCAB, 200), popularity_order(1)
    ranks = rank_tokens(torch.from_numpy(scores), torch.from_numpy(tokens), torch.from_numpy(popularity)).numpy()
    for row, token, rank in zip(scores, tokens, ranks, strict=True):
        order = sorted(range(2, VOCAB), key=lambda t: (-row[t], popularity[t]))
        assert rank == (order.index(token) + 1 if token >= 2 else MISS)


def test_ranks_among_new_tokens_equal_the_sorted_candidates_without_the_seen():
    rng = np.random.default_rng(10)
    scores = rng.integers(0, 4, (300, VOCAB)).astype(np.float32)
    tokens, popularity = rng.integers(0, VOCAB, 300), popularity_order(11)
    is_seen = rng.random((300, VOCAB)) < 0.3
    is_seen[:, :2] = False
    seen = tuple(torch.from_numpy(x) for x in np.nonzero(is_seen))
    ranks = rank_tokens(torch.from_numpy(scores), torch.from_numpy(tokens), torch.from_numpy(popularity), seen).numpy()
    for row, token, rank, gone in zip(scores, tokens, ranks, is_seen, strict=True):
        order = sorted((t for t in range(2, VOCAB) if not gone[t]), key=lambda t: (-row[t], popularity[t]))
        assert rank == (order.index(token) + 1 if token in order else MISS)
    assert ((ranks == MISS) & (tokens >= 2)).any()


def test_rank_of_a_flat_score_is_the_popularity_and_never_better():
    popularity = popularity_order(2)
    ranks = rank_tokens(torch.zeros(VOCAB, VOCAB), torch.arange(VOCAB), torch.from_numpy(popularity))
    assert ranks.tolist() == popularity.tolist()


def test_scores_that_are_not_finite_are_refused():
    scores = torch.zeros(2, VOCAB)
    scores[1, 5] = float("nan")
    with pytest.raises(PantherError, match="not finite"):
        rank_tokens(scores, torch.tensor([2, 3]), torch.from_numpy(popularity_order(0)))


def test_statistics_equal_sklearn():
    rng = np.random.default_rng(3)
    scores = rng.random((300, VOCAB)).astype(np.float32)
    scores[:, :2] = -1.0  # sklearn ranks all columns: keep the two that are no candidates last
    tokens = rng.integers(2, VOCAB, 300)
    ranks = rank_tokens(
        torch.from_numpy(scores), torch.from_numpy(tokens), torch.from_numpy(popularity_order(4))
    ).numpy()
    means = {name: values.mean() for name, values in ranking_statistics(ranks).items()}
    for k in (1, 5, 10):
        assert means[f"hr@{k}"] == pytest.approx(top_k_accuracy_score(tokens, scores, k=k, labels=range(VOCAB)))
    relevance = np.eye(VOCAB)[tokens]
    assert means["ndcg@10"] == pytest.approx(ndcg_score(relevance, scores, k=10))
    assert means["mrr"] == pytest.approx(
        np.mean([1 / (1 + (s > s[t]).sum()) for s, t in zip(scores, tokens, strict=True)])
    )


def test_a_miss_scores_nothing_on_every_metric():
    assert all(values.tolist() == [0.0] for values in ranking_statistics(np.array([MISS])).values())


def test_targets_are_ranked_by_the_state_before_them(monkeypatch):
    rng = np.random.default_rng(5)
    tokens = rng.integers(1, VOCAB, 40).astype(np.int32)
    states = torch.from_numpy(rng.normal(size=(40, VOCAB)).astype(np.float32))
    rows = rng.permutation(39)
    monkeypatch.setattr(ranking, "_SCORES_PER_STEP", 7 * VOCAB)  # several steps inside a chunk
    chunks = [(part, states[torch.from_numpy(part)]) for part in np.array_split(rows, 3)]
    targets, ranks, log_prob = rank_targets(chunks, lambda h, _: 2 * h, tokens, popularity_order(6))
    assert targets.tolist() == list(range(1, 40))
    for target, rank, value in zip(targets, ranks, log_prob, strict=True):
        scores = 2 * states[target - 1]
        token = int(tokens[target])
        assert value == pytest.approx(float(torch.log_softmax(scores, 0)[token]), abs=1e-5)
        assert rank == (MISS if token < 2 else 1 + int((scores[2:] > scores[token]).sum()))


def test_no_targets_give_empty_arrays():
    targets, ranks, log_prob = rank_targets([], lambda h, _: h, np.zeros(0, np.int32), popularity_order(0))
    assert len(targets) == len(ranks) == len(log_prob) == 0
