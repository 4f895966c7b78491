"""Four predictors of the next transaction without learned weights; a model has to beat them.

All of them order the same candidates: the tokens with id >= 2, since [PAD] never happens and [UNK] names no
transaction, so that to propose it can only waste a rank; or of these only the tokens the user did not have before. A
transaction whose own token is no candidate is a miss for every predictor. Whatever a predictor cannot tell apart is
ordered by popularity in the training window, then by id.

Nothing here materialises M x V scores: the rank of the token that came is counted, not read off a sorted
list.

Shape letters: N events, M targets, U users, V vocabulary, L distinct tokens of one user.
"""

from collections.abc import Callable

import numpy as np

from panther_pipeline.baselines.candidates import FIRST_CANDIDATE, MISS, SeenTokens
from panther_pipeline.baselines.transitions import Transitions
from panther_pipeline.ledger.splits import TRAIN
from panther_pipeline.tokenizer.sequences import TokenSequences

_COUNTS_PER_CHUNK = 1 << 22  # 16 MB of int32 counts: a user with 100 000 events does not grow the memory


def fit_popularity(sequences: TokenSequences) -> np.ndarray:
    """Order the candidates by how often they occur in the training window, ties by id.

    Returns:
        int64 (V,): 1 for the most frequent token; MISS for [PAD] and [UNK].
    """
    train_tokens = sequences.token_ids_N[sequences.split_N == TRAIN]
    counts_V = np.bincount(train_tokens, minlength=sequences.vocab_size)[: sequences.vocab_size]
    popularity_V = np.full(sequences.vocab_size, MISS, dtype=np.int64)
    order = FIRST_CANDIDATE + np.argsort(-counts_V[FIRST_CANDIDATE:], kind="stable")
    popularity_V[order] = np.arange(1, len(order) + 1)
    return popularity_V


def rank_by_popularity(sequences: TokenSequences, rows_M: np.ndarray, popularity_V: np.ndarray) -> np.ndarray:
    """The same order for everybody: tokens by training frequency.

    Args:
        sequences: all histories.
        rows_M: int64 rows of the targets, none the first event of its user.
        popularity_V: from `fit_popularity`.

    Returns:
        int64 (M,): rank of the token that came, 1 = best; MISS where it is [UNK].
    """
    return popularity_V[sequences.token_ids_N[rows_M]]


def rank_by_repeating(sequences: TokenSequences, rows_M: np.ndarray, popularity_V: np.ndarray) -> np.ndarray:
    """The user's last token first, then by popularity. Arguments and result as in `rank_by_popularity`."""
    true_M, last_M = sequences.token_ids_N[rows_M], sequences.token_ids_N[rows_M - 1]
    # The repeated token moves to the front: whatever was more popular than it slips one place back.
    ranks_M = popularity_V[true_M] + (popularity_V[last_M] > popularity_V[true_M])
    ranks_M[last_M < FIRST_CANDIDATE] = popularity_V[true_M[last_M < FIRST_CANDIDATE]]
    ranks_M[true_M == last_M] = 1
    ranks_M[true_M < FIRST_CANDIDATE] = MISS
    return ranks_M


def rank_by_personal_frequency(sequences: TokenSequences, rows_M: np.ndarray, popularity_V: np.ndarray) -> np.ndarray:
    """The user's own tokens by how often they occurred before the target, then all others by popularity.

    The history of a target is every event of the user before it, whatever its split: that is past, and known.
    Arguments and result as in `rank_by_popularity`.
    """
    ranks_M = np.empty(len(rows_M), dtype=np.int64)
    order = np.argsort(rows_M, kind="stable")
    sorted_rows_M = np.asarray(rows_M)[order]
    bounds_U1 = np.searchsorted(sorted_rows_M, sequences.offsets_U1)
    for user in np.flatnonzero(np.diff(bounds_U1)):
        first, stop = sequences.offsets_U1[user], sequences.offsets_U1[user + 1]
        members = slice(bounds_U1[user], bounds_U1[user + 1])
        tokens = np.asarray(sequences.token_ids_N[first:stop])
        ranks_M[order[members]] = _personal_ranks(tokens, sorted_rows_M[members] - first, popularity_V)
    ranks_M[sequences.token_ids_N[rows_M] < FIRST_CANDIDATE] = MISS
    return ranks_M


def _personal_ranks(tokens: np.ndarray, positions: np.ndarray, popularity_V: np.ndarray) -> np.ndarray:
    """Ranks of `tokens[positions]` for one user; positions ascending."""
    distinct_L, local = np.unique(tokens, return_inverse=True)
    popularity_L = popularity_V[distinct_L]
    step = max(1, _COUNTS_PER_CHUNK // len(distinct_L))
    ranks = np.empty(len(positions), dtype=np.int64)
    carried_L = np.zeros(len(distinct_L), dtype=np.int32)
    for start in range(0, len(tokens), step):
        stop = min(start + step, len(tokens))
        happened = np.zeros((stop - start + 1, len(distinct_L)), dtype=np.int32)
        happened[0] = carried_L
        happened[np.arange(1, stop - start + 1), local[start:stop]] = 1
        # Row i counts the events before position start + i; the last row is handed to the next chunk.
        counts = np.cumsum(happened, axis=0, dtype=np.int32)
        carried_L = counts[-1].copy()
        wanted = slice(*np.searchsorted(positions, [start, stop]))
        at = positions[wanted]
        ranks[wanted] = _rank_by_counts(counts[at - start], local[at], popularity_L)
    return ranks


def _rank_by_counts(counts_ML: np.ndarray, true_M: np.ndarray, popularity_L: np.ndarray) -> np.ndarray:
    counts_ML = np.where(popularity_L < MISS, counts_ML, 0)  # [UNK] among the user's tokens takes no place
    own_M1 = np.take_along_axis(counts_ML, true_M[:, None], axis=1)
    more_popular_ML = popularity_L < popularity_L[true_M][:, None]
    ahead_M = np.where(own_M1 > 0, (counts_ML > own_M1) | ((counts_ML == own_M1) & more_popular_ML), False).sum(1)
    # A token new to the user follows all it has; of the rest only the more popular unseen ones come first.
    seen_ML = counts_ML > 0
    behind_own_M = seen_ML.sum(1) + popularity_L[true_M] - 1 - (seen_ML & more_popular_ML).sum(1)
    return 1 + np.where(own_M1[:, 0] > 0, ahead_M, behind_own_M)


def rank_by_markov(sequences: TokenSequences, rows_M: np.ndarray, popularity_V: np.ndarray) -> np.ndarray:
    """Successors of the last token by how often they followed it in the training window, then by popularity.

    Arguments and result as in `rank_by_popularity`.
    """
    transitions = Transitions.fit(sequences, popularity_V)
    return transitions.rank(sequences.token_ids_N[rows_M - 1], sequences.token_ids_N[rows_M])


BASELINES: dict[str, Callable[[TokenSequences, np.ndarray, np.ndarray], np.ndarray]] = {
    "popularity": rank_by_popularity,
    "repeat_last": rank_by_repeating,
    "personal_frequency": rank_by_personal_frequency,
    "markov": rank_by_markov,
}


def rank_with_baselines(
    sequences: TokenSequences, rows_M: np.ndarray, *, exclude_seen: bool = False
) -> dict[str, np.ndarray]:
    """Rank the token of each target with every baseline.

    Args:
        sequences: all histories; popularity and transitions are counted on the training window.
        rows_M: int64 rows of the targets, none the first event of its user.
        exclude_seen: tokens that the user had before the target are no candidates.

    Returns:
        For each name in `BASELINES`, int64 (M,) ranks; 1 = best, MISS where the token is [UNK], or where the user had
        it before and `exclude_seen`.
    """
    popularity_V = fit_popularity(sequences)
    if exclude_seen:
        return _rank_new(sequences, rows_M, popularity_V)
    return {name: rank(sequences, rows_M, popularity_V) for name, rank in BASELINES.items()}


def _rank_new(sequences: TokenSequences, rows_M: np.ndarray, popularity_V: np.ndarray) -> dict[str, np.ndarray]:
    """Ranks among the tokens new to the user.

    The user's last token and the user's own tokens have all been seen: what is left of repeat_last and of
    personal_frequency is their order of the others, popularity.
    """
    seen, transitions = SeenTokens(sequences), Transitions.fit(sequences, popularity_V)
    popularity_M = seen.rank_new(rows_M, lambda rows_P, tokens_P: popularity_V[tokens_P])
    markov_M = seen.rank_new(
        rows_M, lambda rows_P, tokens_P: transitions.rank(sequences.token_ids_N[rows_P - 1], tokens_P)
    )
    return {name: markov_M if name == "markov" else popularity_M.copy() for name in BASELINES}
