"""The tokens: which combinations of attribute ids are kept, and what a rare combination falls back to.

A *pattern* is a row of attribute ids in which 0 stands for a dropped attribute. Attributes are dropped in
one fixed order, so every tuple has one chain of ever shorter patterns; its token is the first of the
chain that is in the vocabulary, and [UNK] (everything dropped) if none is.

Shape letters: N events, F token attributes, V vocabulary, T distinct tuples or patterns.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.tokenizer.config import VocabularyConfig

if TYPE_CHECKING:
    from panther_pipeline.tokenizer.counting import TupleCounter

PAD_ID, UNK_ID, FIRST_TOKEN = 0, 1, 2
_MAX_CODE = 2**62


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Patterns, training counts and the way from attribute ids to token ids."""

    patterns_VF: np.ndarray  # int32; rows 0 [PAD] and 1 [UNK] are zero
    counts_V: np.ndarray  # int64 training events that use the token
    sizes_F: np.ndarray  # int64 number of attribute ids
    drop_order: list[int]  # attribute positions, least informative first; only the first `max_dropped` are dropped
    max_dropped: int

    @property
    def size(self) -> int:
        return len(self.counts_V)

    @cached_property
    def levels_V(self) -> np.ndarray:
        """int8 (V,): attributes dropped by each token; F for [UNK], -1 for [PAD]."""
        levels_V = (self.patterns_VF == 0).sum(axis=1).astype(np.int8)
        levels_V[PAD_ID] = -1
        return levels_V

    @cached_property
    def strides_F(self) -> np.ndarray:
        return code_strides(self.sizes_F)

    def encode(self, attribute_ids_NF: np.ndarray) -> np.ndarray:
        """int32 (N,) token ids.

        Raises:
            ConfigurationError: an attribute id outside its field's range, which no event encodes to.
        """
        self._check_range(attribute_ids_NF)
        codes_N = attribute_ids_NF.astype(np.int64) @ self.strides_F
        tokens_N = np.full(len(codes_N), UNK_ID, dtype=np.int32)
        open_ix = np.arange(len(codes_N))
        for position in [None, *self.drop_order[: self.max_dropped]]:
            if position is not None:
                codes_N = drop_attribute(codes_N, self.strides_F[position], self.sizes_F[position])
            found = self._find(codes_N)
            hit = found >= 0
            tokens_N[open_ix[hit]] = found[hit]
            open_ix, codes_N = open_ix[~hit], codes_N[~hit]
            if not len(open_ix):
                break
        return tokens_N

    def encode_one(self, attribute_ids: list[int]) -> int:
        """The token id of one event, the same as `encode` gives; ids are in range, as fields return them."""
        code = sum(i * stride for i, stride in zip(attribute_ids, self._strides, strict=True))
        token = self._id_of_code.get(code)
        for position in self.drop_order[: self.max_dropped]:
            if token is not None:
                break
            stride = self._strides[position]
            code -= code // stride % self._sizes[position] * stride
            token = self._id_of_code.get(code)
        return UNK_ID if token is None else token

    @cached_property
    def _sorted_codes(self) -> tuple[np.ndarray, np.ndarray]:
        codes = self.patterns_VF[FIRST_TOKEN:].astype(np.int64) @ self.strides_F
        order = np.argsort(codes, kind="stable")
        return codes[order], (order + FIRST_TOKEN).astype(np.int32)

    @cached_property
    def _id_of_code(self) -> dict[int, int]:
        codes, ids = self._sorted_codes
        return dict(zip(codes.tolist(), ids.tolist(), strict=True))

    @cached_property
    def _strides(self) -> list[int]:
        return self.strides_F.tolist()

    @cached_property
    def _sizes(self) -> list[int]:
        return self.sizes_F.tolist()

    def _find(self, codes_N: np.ndarray) -> np.ndarray:
        codes, ids = self._sorted_codes
        if not len(codes):
            return np.full(len(codes_N), -1, dtype=np.int32)
        position_N = np.minimum(np.searchsorted(codes, codes_N), len(codes) - 1)
        return np.where(codes[position_N] == codes_N, ids[position_N], -1)

    def _check_range(self, attribute_ids_NF: np.ndarray) -> None:
        num_fields = len(self.sizes_F)
        if attribute_ids_NF.ndim != 2 or attribute_ids_NF.shape[1] != num_fields:
            raise ConfigurationError(f"Attribute ids have shape {attribute_ids_NF.shape}; (N, {num_fields}) is needed.")
        if len(attribute_ids_NF) and ((attribute_ids_NF.min(0) < 0) | (attribute_ids_NF.max(0) >= self.sizes_F)).any():
            raise ConfigurationError(f"An attribute id lies outside its range; sizes are {self.sizes_F.tolist()}.")


def code_strides(sizes_F: np.ndarray) -> np.ndarray:
    """int64 (F,): a tuple's code is its product with the strides, a mixed-radix number.

    Raises:
        ConfigurationError: more combinations than an int64 can number.
    """
    strides, code = [], 1
    for size in sizes_F.tolist():
        strides.append(code)
        code *= size
    if code > _MAX_CODE:
        raise ConfigurationError(
            f"The fields have {code} combinations, above {_MAX_CODE}. Lower max_categories or num_bins in "
            "tokenizer.vocabulary.fields, or drop a field."
        )
    return np.array(strides, dtype=np.int64)


def drop_attribute(codes_T: np.ndarray, stride: int, size: int) -> np.ndarray:
    """The codes with one attribute set to 0."""
    return codes_T - codes_T // stride % size * stride


def fit_vocabulary(
    tuples: "TupleCounter", ranks_F: list[np.ndarray], drop_order: list[int], config: VocabularyConfig
) -> Vocabulary:
    """Keep the tokens that the configuration allows.

    Args:
        tuples: the attribute ids of training events, counted.
        ranks_F: for each attribute, the alphabetical rank of each id's label (0: the wildcard); breaks ties.
        drop_order: attribute positions, least informative first.
        config: sizes and targets.
    """
    sizes_F, strides_F = tuples.sizes_F, tuples.strides_F
    codes_T, counts_T = tuples.tuples()
    order = _frequency_order(codes_T, counts_T, sizes_F, strides_F, ranks_F)
    max_dropped = min(config.max_dropped, len(sizes_F) - 1)
    grower = _Grower(
        codes_T=codes_T[order],
        counts_T=counts_T[order],
        dropped=[(int(strides_F[position]), int(sizes_F[position])) for position in drop_order[:max_dropped]],
    )
    codes, counts = _choose(grower, config)
    order = _frequency_order(codes, counts, sizes_F, strides_F, ranks_F)
    codes, counts = codes[order], counts[order]
    specials = np.array([0, tuples.num_events - counts.sum()], dtype=np.int64)
    return Vocabulary(
        patterns_VF=np.vstack([np.zeros((2, len(sizes_F)), np.int32), _unpack(codes, sizes_F, strides_F)]),
        counts_V=np.concatenate([specials, counts]),
        sizes_F=sizes_F,
        drop_order=drop_order,
        max_dropped=max_dropped,
    )


@dataclass(frozen=True, kw_only=True)
class _Grower:
    """Training tuples by falling frequency, and the tokens that a choice among them leads to."""

    codes_T: np.ndarray
    counts_T: np.ndarray
    dropped: list[tuple[int, int]]  # (stride, size) of the attributes to drop, in order

    def num_seen(self, min_count: int) -> int:
        """How many tuples were seen at least `min_count` times; they come first."""
        return int(np.searchsorted(-self.counts_T, -min_count, side="right"))

    def grow(self, num_whole: int, min_count: int) -> tuple[np.ndarray, np.ndarray]:
        """Keep the `num_whole` most frequent tuples; the rest backs off to patterns with `min_count`."""
        codes, counts = [self.codes_T[:num_whole]], [self.counts_T[:num_whole]]
        rest, rest_counts = self.codes_T[num_whole:], self.counts_T[num_whole:]
        for stride, size in self.dropped:
            patterns, index = np.unique(drop_attribute(rest, stride, size), return_inverse=True)
            totals = np.zeros(len(patterns), dtype=np.int64)
            np.add.at(totals, index, rest_counts)
            keep = totals >= min_count
            codes.append(patterns[keep])
            counts.append(totals[keep])
            rest, rest_counts = patterns[~keep], totals[~keep]
        return np.concatenate(codes), np.concatenate(counts)


def _choose(grower: _Grower, config: VocabularyConfig) -> tuple[np.ndarray, np.ndarray]:
    """Codes and counts of the tokens to keep.

    Whole tuples: as many as the coverage target asks, none seen less than `min_count`. If that and the
    back-off patterns exceed `max_tokens`, one threshold for both is raised until they fit (a pattern that
    many events use is worth more than a tuple that few have), and slots left over go to the next most
    frequent tuples.
    """
    num_whole = grower.num_seen(config.min_count)
    if config.coverage_target is not None and len(grower.counts_T):
        covered_T = np.cumsum(grower.counts_T)
        # Rounded up to whole events: 0.3 of 10 events is 3, whatever binary fractions say.
        wanted = np.ceil(config.coverage_target * covered_T[-1] - 1e-9)
        num_whole = min(num_whole, int(np.searchsorted(covered_T, wanted)) + 1)
    if config.max_tokens is None:
        return grower.grow(num_whole, config.min_count)
    budget = config.max_tokens - FIRST_TOKEN

    def fits(whole: int, min_count: int) -> bool:
        return len(grower.grow(whole, min_count)[0]) <= budget

    if fits(num_whole, config.min_count):
        return grower.grow(num_whole, config.min_count)
    low, high = (
        config.min_count,
        int(grower.counts_T.sum()) + 1,
    )  # too many tokens at low; none at all at high
    while high - low > 1:
        middle = (low + high) // 2
        if fits(min(num_whole, grower.num_seen(middle)), middle):
            high = middle
        else:
            low = middle
    min_count, least, most = high, min(num_whole, grower.num_seen(high)), num_whole
    while most - least > 1:
        middle = (least + most) // 2
        if fits(middle, min_count):
            least = middle
        else:
            most = middle
    return grower.grow(least, min_count)


def _frequency_order(
    codes: np.ndarray,
    counts: np.ndarray,
    sizes_F: np.ndarray,
    strides_F: np.ndarray,
    ranks_F: list[np.ndarray],
) -> np.ndarray:
    ids_TF = _unpack(codes, sizes_F, strides_F)
    by_label = [ranks[ids_TF[:, f]] for f, ranks in enumerate(ranks_F)]
    return np.lexsort([*reversed(by_label), -counts])


def _unpack(codes: np.ndarray, sizes_F: np.ndarray, strides_F: np.ndarray) -> np.ndarray:
    return (codes[:, None] // strides_F % sizes_F).astype(np.int32)
