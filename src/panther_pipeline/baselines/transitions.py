"""What follows what: successors of a token, counted in the training window.

Shape letters: V vocabulary, E distinct pairs of a token and its successor, P lookups.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from panther_pipeline.baselines.candidates import FIRST_CANDIDATE, MISS
from panther_pipeline.ledger.splits import TRAIN
from panther_pipeline.tokenizer.sequences import TokenSequences


@dataclass(frozen=True, kw_only=True)
class Transitions:
    """After each token, all candidates in order: its successors by count, then the others by popularity."""

    popularity_V: np.ndarray  # int64, from `fit_popularity`
    keys_E: np.ndarray  # int64 previous * V + following, ascending
    places_E: np.ndarray  # int64, 0 = the most frequent successor of its token
    starts_V1: np.ndarray  # int64 first pair of each previous token, and their number
    by_popularity_E: np.ndarray  # int64 previous * (V + 1) + popularity of the following, ascending

    @classmethod
    def fit(cls, sequences: TokenSequences, popularity_V: np.ndarray) -> Self:
        """Count pairs of consecutive events of one user, both in the training window."""
        size = np.int64(sequences.vocab_size)
        keys_E, counts_E = _count_pairs(sequences)
        previous_E, following_E = keys_E // size, keys_E % size
        starts_V1 = np.searchsorted(previous_E, np.arange(size + 1))
        by_count = np.lexsort((popularity_V[following_E], -counts_E, previous_E))
        places_E = np.empty(len(keys_E), dtype=np.int64)
        places_E[by_count] = np.arange(len(keys_E)) - starts_V1[previous_E[by_count]]
        return cls(
            popularity_V=popularity_V,
            keys_E=keys_E,
            places_E=places_E,
            starts_V1=starts_V1,
            by_popularity_E=np.sort(previous_E * (size + 1) + popularity_V[following_E]),
        )

    def rank(self, last_P: np.ndarray, tokens_P: np.ndarray) -> np.ndarray:
        """The place of each token after another: int64 (P,), 1 = best; MISS for [PAD] and [UNK]."""
        ranks_P = np.full(len(tokens_P), MISS, dtype=np.int64)
        is_candidate_P = tokens_P >= FIRST_CANDIDATE
        ranks_P[is_candidate_P] = self._rank(
            last_P[is_candidate_P].astype(np.int64), tokens_P[is_candidate_P].astype(np.int64)
        )
        return ranks_P

    def _rank(self, last_P: np.ndarray, tokens_P: np.ndarray) -> np.ndarray:
        size = np.int64(len(self.popularity_V))
        keys_P = last_P * size + tokens_P
        found_P = np.searchsorted(self.keys_E, keys_P)
        is_successor_P = np.append(self.keys_E, -1)[found_P] == keys_P
        # Another token follows all successors, and of the rest those that are more popular.
        popularity_P, base_P = self.popularity_V[tokens_P], last_P * (size + 1)
        more_popular_P = np.searchsorted(self.by_popularity_E, base_P + popularity_P) - self.starts_V1[last_P]
        others_P = self.starts_V1[last_P + 1] - self.starts_V1[last_P] + popularity_P - more_popular_P
        return np.where(is_successor_P, np.append(self.places_E, 0)[found_P] + 1, others_P)


def _count_pairs(sequences: TokenSequences) -> tuple[np.ndarray, np.ndarray]:
    is_pair = (sequences.split_N[1:] == TRAIN) & (sequences.split_N[:-1] == TRAIN)
    starts = sequences.offsets_U1[1:-1]
    is_pair[starts[(starts > 0) & (starts < sequences.num_events)] - 1] = False  # the first event of the next user
    previous = sequences.token_ids_N[:-1][is_pair].astype(np.int64)
    following = sequences.token_ids_N[1:][is_pair].astype(np.int64)
    kept = following >= FIRST_CANDIDATE
    return np.unique(previous[kept] * sequences.vocab_size + following[kept], return_counts=True)
