"""Ranks and ranking metrics against sklearn and against sorting."""

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score, top_k_accuracy_score

from panther_pipeline.baselines.next_transaction import MISS
from panther_pipeline.errors import PantherError
from panther_pipeline.metrics import ranking
from panther_pipeline.metrics.ranking import bootstrap_means, rank_targets, rank_tokens, ranking_statistics

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
    targets, ranks, log_prob = rank_targets(chunks, lambda h: 2 * h, tokens, popularity_order(6))
    assert targets.tolist() == list(range(1, 40))
    for target, rank, value in zip(targets, ranks, log_prob, strict=True):
        scores = 2 * states[target - 1]
        token = int(tokens[target])
        assert value == pytest.approx(float(torch.log_softmax(scores, 0)[token]), abs=1e-5)
        assert rank == (MISS if token < 2 else 1 + int((scores[2:] > scores[token]).sum()))


def test_no_targets_give_empty_arrays():
    targets, ranks, log_prob = rank_targets([], lambda h: h, np.zeros(0, np.int32), popularity_order(0))
    assert len(targets) == len(ranks) == len(log_prob) == 0


def test_bootstrap_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        # Users differ and have 12 events each: an interval over events would cover far less than 95 %.
        taste = rng.beta(2, 2, 60)
        users = np.repeat(np.arange(60), 12)
        hits = (rng.random(len(users)) < taste[users]).astype(float)
        _, low, high = bootstrap_means(hits[:, None], users, num_resamples=300, seed=trial)
        covered += low[0] <= 0.5 <= high[0]
    assert 0.88 <= covered / 200 <= 0.99


def test_bootstrap_resamples_users_not_events():
    users = np.repeat(np.arange(50), 100)
    hits = (users % 2).astype(float)[:, None]  # all events of a user agree: 50 facts, not 5000
    mean, low, high = bootstrap_means(hits, users, num_resamples=500, seed=0)
    assert mean[0] == 0.5
    assert high[0] - low[0] == pytest.approx(4 * 0.5 / np.sqrt(50), rel=0.25)


def test_bootstrap_weighs_users_by_their_events():
    mean, *_ = bootstrap_means(
        np.array([[1.0], [0.0], [0.0], [0.0]]), np.array([7, 9, 9, 9]), num_resamples=100, seed=0
    )
    assert mean[0] == 0.25


def test_bootstrap_of_a_difference_is_paired():
    rng = np.random.default_rng(1)
    users = np.repeat(np.arange(80), 5)
    first = rng.random(400) + rng.random(80)[users]
    both = np.column_stack([first, first - 0.1, first - (first - 0.1)])
    _, low, high = bootstrap_means(both, users, num_resamples=200, seed=0)
    assert high[0] - low[0] > 0.05
    assert high[2] - low[2] < 1e-9


def test_bootstrap_depends_on_its_seed_alone():
    values, users = np.random.default_rng(0).random((50, 2)), np.arange(50) // 5
    first = bootstrap_means(values, users, num_resamples=100, seed=3)
    np.random.seed(1)
    second = bootstrap_means(values, users, num_resamples=100, seed=3)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


def test_bootstrap_of_one_user_has_no_interval():
    mean, low, high = bootstrap_means(np.ones((3, 1)), np.zeros(3, int), num_resamples=100, seed=0)
    assert mean[0] == 1.0
    assert np.isnan(low[0])
    assert np.isnan(high[0])


def test_bootstrap_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="no targets"):
        bootstrap_means(np.ones((0, 1)), np.zeros(0, int), num_resamples=100, seed=0)
