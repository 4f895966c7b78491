"""How often each combination of attribute values came in training, within the group that it falls to.

A structured model gives probabilities to tokens. Behind a token that dropped attributes, and behind [UNK], stand many
tuples; their shares in training turn p(token) into p(tuple) = p(token) · p(tuple | token), a distribution over all
tuples. With a single group that holds them all, the shares are the forecast of a model without history.

Shape letters: N training events, F token attributes, T distinct tuples among them, G groups (tokens), M targets.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from panther_pipeline.tokenizer.vocabulary import FIRST_TOKEN, PAD_ID, UNK_ID, Vocabulary

_SMOOTHINGS = np.geomspace(1e-4, 1e2, 25)


@dataclass(frozen=True, kw_only=True)
class TupleShares:
    """p(tuple | group) for every tuple, seen in training or not. A tuple is named by its code, `ids @ strides`."""

    codes_T: np.ndarray  # int64, ascending: the tuples seen in training
    groups_T: np.ndarray  # int64: the group that each falls to
    log_share_T: np.ndarray  # float64 nats, log p(tuple | its group)
    unseen_log_share_G: np.ndarray  # float64 nats: log p of each single tuple of the group that training never saw
    smoothing: float

    @classmethod
    def fit(cls, codes_N: np.ndarray, groups_N: np.ndarray, num_tuples_G: np.ndarray) -> Self:
        """Add-α smoothing: (count + α) / (events of the group + α · tuples of the group); sums to 1 in each group.

        α is the one of a fixed grid under which each training event is predicted best by all the others
        (leave-one-out likelihood), so that nobody chooses it in favour of a model.

        Args:
            codes_N: int64 tuples of the training events.
            groups_N: the group of each; equal for equal tuples.
            num_tuples_G: int64 how many tuples fall to each group.
        """
        codes_T, first_T, counts_T = np.unique(codes_N, return_index=True, return_counts=True)
        groups_T = np.asarray(groups_N[first_T], dtype=np.int64)
        events_G = np.bincount(groups_T, counts_T, minlength=len(num_tuples_G))
        fitted = (counts_T, events_G, groups_T, num_tuples_G)
        alpha = float(max(_SMOOTHINGS, key=lambda a: _leave_one_out(a, *fitted)))
        with np.errstate(divide="ignore", invalid="ignore"):
            total_G = np.log(events_G + alpha * num_tuples_G)
            unseen_G = np.where(num_tuples_G > 0, np.log(alpha) - total_G, -np.inf)
        return cls(
            codes_T=codes_T,
            groups_T=groups_T,
            log_share_T=np.log(counts_T + alpha) - total_G[groups_T],
            unseen_log_share_G=unseen_G,
            smoothing=alpha,
        )

    def log_share(self, codes_M: np.ndarray, groups_M: np.ndarray) -> np.ndarray:
        """float64 (M,): log p(tuple | group) of tuples that fall to these groups, nats."""
        if not len(self.codes_T):
            return self.unseen_log_share_G[groups_M]
        at_M = np.minimum(np.searchsorted(self.codes_T, codes_M), len(self.codes_T) - 1)
        is_seen_M = self.codes_T[at_M] == codes_M
        return np.where(is_seen_M, self.log_share_T[at_M], self.unseen_log_share_G[groups_M])

    def likeliest(self, num: int) -> np.ndarray:
        """int64 positions among the T tuples of the `num` likeliest of each group; the order is of no meaning.

        Tuples never seen in training are left out: within a group none differs from another and each is less likely
        than any seen one. The likeliest of all tuples is never one of them; places 2 and on may be.
        """
        order = np.lexsort((self.codes_T, -self.log_share_T, self.groups_T))
        groups = self.groups_T[order]
        place = np.arange(len(order)) - np.searchsorted(groups, groups)
        return np.sort(order[place < num])


def count_tuples(vocabulary: Vocabulary) -> np.ndarray:
    """int64 (V,): how many tuples, seen or not, fall to each token; they add up to all tuples there are.

    A tuple falls to the first token of its back-off chain. So a token holds all values of the attributes it dropped,
    but for the tuples of tokens that keep more of them.
    """
    values_F = vocabulary.sizes_F - 1  # id 0 is padding
    patterns_VF, levels_V = vocabulary.patterns_VF.astype(np.int64), vocabulary.levels_V
    num_V = np.where(patterns_VF == 0, values_F, 1).prod(axis=1)
    num_V[PAD_ID] = 0
    codes_V = patterns_VF @ vocabulary.strides_F
    tokens = np.argsort(codes_V[FIRST_TOKEN:]) + FIRST_TOKEN
    sorted_codes = codes_V[tokens]
    for level in range(vocabulary.max_dropped):
        # Final by now: what keeps more attributes has been taken away before.
        takers = np.flatnonzero(levels_V[FIRST_TOKEN:] == level) + FIRST_TOKEN
        for deeper in range(level + 1, vocabulary.max_dropped + 1):
            pattern = patterns_VF[takers].copy()
            pattern[:, vocabulary.drop_order[:deeper]] = 0
            codes = pattern @ vocabulary.strides_F
            at = np.minimum(np.searchsorted(sorted_codes, codes), len(tokens) - 1)
            found = sorted_codes[at] == codes
            np.subtract.at(num_V, tokens[at[found]], num_V[takers[found]])
    num_V[UNK_ID] -= num_V[FIRST_TOKEN:].sum()
    return num_V


def _leave_one_out(
    alpha: float, counts_T: np.ndarray, events_G: np.ndarray, groups_T: np.ndarray, num_tuples_G: np.ndarray
) -> float:
    """Log likelihood of every training event under the shares fitted without it."""
    log_total_T = np.log(events_G[groups_T] - 1 + alpha * num_tuples_G[groups_T])
    return float((counts_T * (np.log(counts_T - 1 + alpha) - log_total_T)).sum())
