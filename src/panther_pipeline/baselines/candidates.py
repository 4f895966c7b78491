"""What may be proposed as the next token: all but [PAD] and [UNK], or of these only what is new to the user.

Shape letters: N events, M targets, S first occurrences, O events with a candidate, P pairs of a target and a token its
user had before.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np

from panther_pipeline.tokenizer.sequences import TokenSequences

FIRST_CANDIDATE = 2  # ids 0 [PAD] and 1 [UNK] are not proposed
MISS = int(np.iinfo(np.int32).max)  # the rank of a token no predictor can propose: beyond every k, reciprocal ~ 0
_PAIRS_PER_CHUNK = 1 << 20  # 8 MB per array of pairs, however many targets and however long their histories

# (rows (P,), tokens (P,)) → the place of each token among all candidates for the event of that row, int64 (P,)
Rank = Callable[[np.ndarray, np.ndarray], np.ndarray]


class SeenTokens:
    """Which tokens the user of an event had before it: strictly before, whatever the split. That is past, and known.

    The first occurrence of each token in a history is marked. What was seen before a row are then the tokens of the
    marked rows between the user's first row and it: a slice, not a table of users and tokens.
    """

    def __init__(self, sequences: TokenSequences) -> None:
        self._token_ids_N = np.asarray(sequences.token_ids_N, dtype=np.int64)
        self._user_start_N = sequences.first_row_N()
        self._keys_N = sequences.user_ix_N() * np.int64(sequences.vocab_size) + self._token_ids_N
        self._is_first_N = np.zeros(len(self._keys_N), dtype=bool)
        self._is_first_N[np.unique(self._keys_N, return_index=True)[1]] = True
        self._is_first_N &= self._token_ids_N >= FIRST_CANDIDATE
        self._tokens_S = self._token_ids_N[self._is_first_N]
        self._num_before_N1 = np.concatenate([[0], np.cumsum(self._is_first_N)])

    def pairs(self, rows_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The distinct candidates that the user of each row had before it.

        Args:
            rows_M: int64 rows, any order.

        Returns:
            int64 (P,) places in `rows_M`, ascending, and int64 (P,) tokens.
        """
        targets_P, firsts_P = self._first_occurrences(rows_M)
        return targets_P, self._tokens_S[firsts_P]

    def counted_pairs(self, rows_M: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `pairs`, with how often the user had each of them before the row, int64 (P,)."""
        targets_P, firsts_P = self._first_occurrences(rows_M)
        codes_O, starts_S = self._occurrences
        counts_P = np.searchsorted(codes_O, firsts_P * len(self._keys_N) + rows_M[targets_P]) - starts_S[firsts_P]
        return targets_P, self._tokens_S[firsts_P], counts_P

    def _first_occurrences(self, rows_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each pair its place in `rows_M`, ascending, and the number of its token's first occurrence."""
        starts_M = self._num_before_N1[self._user_start_N[rows_M]]
        sizes_M = self._num_before_N1[rows_M] - starts_M
        targets_P = np.repeat(np.arange(len(rows_M)), sizes_M)
        offsets_P = np.arange(len(targets_P)) - np.repeat(np.cumsum(sizes_M) - sizes_M, sizes_M)
        return targets_P, starts_M[targets_P] + offsets_P

    @cached_property
    def _occurrences(self) -> tuple[np.ndarray, np.ndarray]:
        """Ascending first occurrence · N + row of all events with a candidate, and where each first one stands there.

        The events of one user with one token lie together, in order: how many precede a row is one search.
        """
        num_events = np.int64(len(self._keys_N))
        _, first_G, group_N = np.unique(self._keys_N, return_index=True, return_inverse=True)
        firsts_N = self._num_before_N1[first_G][group_N]
        codes_N = firsts_N * num_events + np.arange(num_events)
        codes_O = np.sort(codes_N[self._token_ids_N >= FIRST_CANDIDATE])
        return codes_O, np.searchsorted(codes_O, np.arange(len(self._tokens_S)) * num_events)

    def rank_new(self, rows_M: np.ndarray, rank: Rank) -> np.ndarray:
        """Rank the token of each row among those new to its user: of the order of all, the seen ones drop out.

        Args:
            rows_M: int64 rows, any order.
            rank: the order of all.

        Returns:
            int64 (M,): 1 = best; MISS where the token is [UNK] or its user had it before.
        """
        ranks_M = rank(rows_M, self._token_ids_N[rows_M])
        for part in self._chunks(rows_M):
            targets_P, tokens_P = self.pairs(rows_M[part])
            is_ahead_P = rank(rows_M[part][targets_P], tokens_P) < ranks_M[part][targets_P]
            ranks_M[part] -= np.bincount(targets_P[is_ahead_P], minlength=len(part))
        return np.where(self._is_first_N[rows_M], ranks_M, MISS)

    def _chunks(self, rows_M: np.ndarray) -> list[np.ndarray]:
        """Places in `rows_M`, in pieces with about as many pairs each."""
        sizes_M = self._num_before_N1[rows_M] - self._num_before_N1[self._user_start_N[rows_M]]
        chunk_M = np.cumsum(sizes_M) // _PAIRS_PER_CHUNK
        return np.split(np.arange(len(rows_M)), np.flatnonzero(np.diff(chunk_M)) + 1)
