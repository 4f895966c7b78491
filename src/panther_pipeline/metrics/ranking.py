"""Full-ranking metrics: the rank of the token that came, and statistics of the rank.

The rank is counted over all candidates, never over a sample of negatives, whose metrics order models
differently (Krichene and Rendle, KDD 2020).

Shape letters: M targets, V vocabulary, D width, P pairs of a target and a token its user had before.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from panther_pipeline.baselines.candidates import FIRST_CANDIDATE, MISS, SeenTokens
from panther_pipeline.errors import TrainingError

_SCORES_PER_STEP = 1 << 25  # 128 MB of float32: with 60 000 tokens a batch of windows would need gigabytes


def rank_tokens(
    scores_MV: Tensor, token_ids_M: Tensor, popularity_V: Tensor, seen: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Place of the token that came among the candidates, by descending score, ties by popularity.

    Args:
        scores_MV: float, finite; columns 0 [PAD] and 1 [UNK] are not candidates.
        token_ids_M: int64 the tokens that came.
        popularity_V: int64 from `fit_popularity`, all different among the candidates.
        seen: int64 (P,) targets and int64 (P,) tokens that are no candidates there, from `SeenTokens.pairs`; None = all
            tokens are candidates.

    Returns:
        int64 (M,); 1 = best, MISS where the token that came is no candidate.

    Raises:
        TrainingError: scores that are not finite, of which nothing would be greater: every rank would be 1.

    Example:
        >>> scores = torch.tensor([[9.0, 9.0, 0.1, 0.7, 0.7]])
        >>> rank_tokens(scores, torch.tensor([4]), torch.tensor([99, 99, 1, 2, 3])).tolist()
        [2]
    """
    if not bool(torch.isfinite(scores_MV).all()):
        raise TrainingError(
            "the backbone's scores are not finite. Train it again with `kedro run --pipelines=pretrain`."
        )
    own_M1 = scores_MV.gather(1, token_ids_M[:, None])
    candidates = scores_MV[:, FIRST_CANDIDATE:]
    more_popular = popularity_V[FIRST_CANDIDATE:] < popularity_V[token_ids_M][:, None]
    is_ahead = (candidates > own_M1) | ((candidates == own_M1) & more_popular)
    is_candidate_M = token_ids_M >= FIRST_CANDIDATE
    if seen is not None:
        targets_P, tokens_P = seen
        is_ahead[targets_P, tokens_P - FIRST_CANDIDATE] = False
        is_candidate_M[targets_P[tokens_P == token_ids_M[targets_P]]] = False
    return torch.where(is_candidate_M, is_ahead.sum(dim=1) + 1, MISS)


def rank_targets(
    states: Iterable[tuple[np.ndarray, Tensor]],
    score: Callable[[Tensor, np.ndarray], Tensor],
    token_ids_N: np.ndarray,
    popularity_V: np.ndarray,
    seen: SeenTokens | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rank the token that followed each state.

    Args:
        states: chunks (rows_m, h_mD): event rows and the state after each; the target is the next row.
        score: states (m, D) and the rows of their targets, of which it reads what came before → scores (m, V).
        token_ids_N: the token of every event.
        popularity_V: int64 from `fit_popularity`, for ties.
        seen: tokens that are no candidates for a target; None = all tokens are.

    Returns:
        rows_M of the targets (int64, ascending), their ranks_M (int64) and log_prob_M (float32, log p of the
        token that came under the softmax over all V tokens, nats, whatever the candidates).
    """
    popularity = torch.from_numpy(popularity_V)
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for rows_m, h_mD in states:
        popularity = popularity.to(h_mD.device)
        step = max(1, _SCORES_PER_STEP // len(popularity_V))
        for start in range(0, len(rows_m), step):
            targets = rows_m[start : start + step] + 1
            tokens = torch.from_numpy(np.asarray(token_ids_N[targets], dtype=np.int64)).to(h_mD.device)
            excluded = None if seen is None else tuple(torch.from_numpy(x).to(h_mD.device) for x in seen.pairs(targets))
            with torch.inference_mode():
                scores = score(h_mD[start : start + step], targets).float()
                ranks = rank_tokens(scores, tokens, popularity, excluded)
                log_prob = torch.log_softmax(scores, dim=-1).gather(1, tokens[:, None])[:, 0]
            parts.append((targets, ranks.cpu().numpy(), log_prob.cpu().numpy()))
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    rows_M, ranks_M, log_prob_M = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(rows_M, kind="stable")
    return rows_M[order], ranks_M[order], log_prob_M[order]


def hit_at(ranks_M: np.ndarray, k: int) -> np.ndarray:
    """1 where the token that came is among the first k, float64 (M,)."""
    return (ranks_M <= k).astype(np.float64)


def ndcg_at(ranks_M: np.ndarray, k: int) -> np.ndarray:
    """1 / log2(1 + rank) within the first k, else 0; float64 (M,). With one relevant token the ideal is 1."""
    return np.where(ranks_M <= k, 1.0 / np.log2(1.0 + ranks_M), 0.0)


def reciprocal_rank(ranks_M: np.ndarray) -> np.ndarray:
    """1 / rank, and 0 for a miss, float64 (M,)."""
    return np.where(ranks_M < MISS, 1.0 / ranks_M, 0.0)


def ranking_statistics(ranks_M: np.ndarray) -> dict[str, np.ndarray]:
    """Per target: hr@1, hr@5, hr@10, ndcg@10 and the reciprocal rank; float64 (M,) each."""
    return {
        "hr@1": hit_at(ranks_M, 1),
        "hr@5": hit_at(ranks_M, 5),
        "hr@10": hit_at(ranks_M, 10),
        "ndcg@10": ndcg_at(ranks_M, 10),
        "mrr": reciprocal_rank(ranks_M),
    }
