"""Motifs are counted exactly, judged against shuffled histories, and shown without repetition."""

from dataclasses import replace
from itertools import pairwise, permutations
from types import SimpleNamespace

import numpy as np
import pytest

from panther_pipeline.ledger.splits import TEST, TRAIN, UNUSED, VALID
from panther_pipeline.report.motifs import MotifConfig, count_motifs, expect_in_shuffle, find_motifs, motif_keys
from panther_pipeline.tokenizer.sequences import TokenSequences

LARGEST = 2**21 - 1


def make_sequences(histories: list[list[int]], splits: list[list[int]] | None = None) -> TokenSequences:
    tokens = [token for history in histories for token in history]
    split = [s for part in splits for s in part] if splits else [TRAIN] * len(tokens)
    return TokenSequences(
        user_ids=[f"u{u}" for u in range(len(histories))],
        offsets_U1=np.concatenate([[0], np.cumsum([len(h) for h in histories])]).astype(np.int64),
        token_ids_N=np.array(tokens, dtype=np.int32),
        attribute_ids_NF=np.ones((len(tokens), 1), dtype=np.int32),
        time_us_N=np.arange(len(tokens), dtype=np.int64),
        split_N=np.array(split, dtype=np.int8),
        profile_ids_UP=np.zeros((len(histories), 0), dtype=np.int32),
        vocab_size=max([*tokens, 1]) + 1,
        attribute_names=["a"],
        attribute_sizes=[2],
        profile_names=[],
        profile_sizes=[],
        tokenizer_digest="t",
    )


def make_tokenizer(sequences: TokenSequences, first_attribute: list[int] | None = None) -> SimpleNamespace:
    """By default every token has a first attribute of its own."""
    size = sequences.vocab_size
    first = np.array(first_attribute or np.arange(size))
    return SimpleNamespace(
        names=[f"t{i}" for i in range(size)], vocabulary=SimpleNamespace(patterns_VF=first[:, None].astype(np.int32))
    )


def make_config(**changes) -> MotifConfig:
    return MotifConfig(**{"num_motifs": 10, "min_count": 2, "min_users": 1, "min_lift": 1.0, "max_alike": 1, **changes})


def count_by_hand(histories, splits, length):
    counts: dict[tuple, int] = {}
    for tokens, split in zip(histories, splits, strict=True):
        for at in range(len(tokens) - length + 1):
            motif = tuple(tokens[at : at + length])
            is_run = any(a == b for a, b in pairwise(motif))
            if min(motif) >= 2 and not is_run and all(s == TRAIN for s in split[at : at + length]):
                counts[motif] = counts.get(motif, 0) + 1
    return counts


@pytest.mark.parametrize("length", [2, 3])
def test_counts_equal_those_by_hand(length):
    rng = np.random.default_rng(0)
    histories = [rng.integers(1, 6, n).tolist() for n in (0, 1, 2, 3, 400, 250)]
    splits = [rng.choice([TRAIN, TRAIN, TRAIN, VALID, TEST, UNUSED], len(h)).tolist() for h in histories]
    tokens_ML, counts_M, _ = count_motifs(make_sequences(histories, splits), length)
    counted = dict(zip(map(tuple, tokens_ML.tolist()), counts_M.tolist(), strict=True))
    assert counted == count_by_hand(histories, splits, length)
    assert counts_M.tolist() == sorted(counts_M, reverse=True)


def test_keys_tell_the_largest_ids_apart_and_leave_out_what_does_not_fit():
    tokens = np.array([LARGEST, 2, LARGEST, LARGEST - 1, LARGEST + 1, 3])
    assert (motif_keys(tokens, 3) >= 0).tolist() == [True, True, False, False]
    assert motif_keys(np.array([LARGEST, LARGEST - 1, LARGEST]), 3)[0] == 2**63 - 1 - 2**21
    assert motif_keys(np.array([[5], [6]]), 2).shape == (2, 0)


@pytest.mark.parametrize("motif", [(2, 3), (3, 2), (2, 3, 4), (2, 3, 2)])
def test_expectation_is_the_mean_over_all_shuffles(motif):
    histories = [[2, 2, 3, 4, 2], [3, 2], [2], [4, 3, 2, 3, 1, 2], []]
    expected = 0.0
    for history in histories:
        orders = list(permutations(history))
        found = sum(o[at : at + len(motif)] == motif for o in orders for at in range(len(o) - len(motif) + 1))
        expected += found / len(orders)
    computed = expect_in_shuffle(make_sequences(histories), np.array([motif]))
    assert computed == pytest.approx([expected])


def test_expectation_is_of_training_events_alone():
    histories = [[2, 3, 2, 3, 4]]
    splits = [[TRAIN] * 3 + [TEST] * 2]
    with_future = expect_in_shuffle(make_sequences(histories, splits), np.array([[2, 3]]))
    assert with_future == expect_in_shuffle(make_sequences([[2, 3, 2]]), np.array([[2, 3]]))


def test_lift_finds_order_and_not_popularity():
    rng = np.random.default_rng(1)
    # 2 and 3 are popular and shuffled; 4 is rare and always followed by 5.
    histories = []
    for _ in range(60):
        parts = [[token] for token in rng.choice([2, 3], 20)] + [[4, 5]] * 2
        histories.append([token for at in rng.permutation(len(parts)) for token in parts[at]])
    sequences = make_sequences(histories)
    motifs = find_motifs(sequences, make_tokenizer(sequences), make_config(min_lift=1.5))
    best = motifs.row(0, named=True)
    assert best["tokens"] == [4, 5]
    assert best["name"] == "t4 → t5"
    assert best["num_train"] == 120
    assert best["lift"] == pytest.approx(120 / expect_in_shuffle(sequences, np.array([[4, 5]]))[0])
    assert [2, 3] not in motifs["tokens"].to_list()


def test_habits_of_different_people_are_no_motif():
    rng = np.random.default_rng(2)
    # Against the ledger's popularity 2 → 3 would be twice as frequent as chance: the same people like both.
    histories = [rng.choice(tokens, 60).tolist() for tokens in ([2, 3], [4, 5]) for _ in range(30)]
    sequences = make_sequences(histories)
    assert find_motifs(sequences, make_tokenizer(sequences), make_config(min_lift=1.2)).is_empty()


def test_motifs_of_the_same_first_attributes_are_shown_once():
    histories = [[2, 4, 6], [3, 4, 6], [2, 4, 6], [3, 4, 6], [6, 2, 4], [4, 3, 6]]
    sequences = make_sequences(histories)
    alike = make_tokenizer(sequences, [0, 0, 1, 1, 2, 2, 3])  # 2 and 3 differ in another attribute
    for max_alike, num in ((1, 1), (2, 2)):
        found = find_motifs(sequences, alike, make_config(max_alike=max_alike))["tokens"].to_list()
        assert sum(motif in ([2, 4, 6], [3, 4, 6]) for motif in found) == num


def test_tokens_that_dropped_their_first_attribute_are_not_alike():
    histories = [[2, 4, 6], [3, 4, 6]] * 3
    sequences = make_sequences(histories)
    found = find_motifs(sequences, make_tokenizer(sequences, [0, 0, 0, 0, 2, 2, 3]), make_config())["tokens"].to_list()
    assert [2, 4, 6] in found
    assert [3, 4, 6] in found


def test_half_of_the_rows_are_pairs_and_half_triples():
    sequences = make_sequences([[2, 3, 4, 5, 6, 7, 8]] * 5)
    lengths = find_motifs(sequences, make_tokenizer(sequences), make_config(num_motifs=6))["tokens"].list.len()
    assert lengths.to_list() == [2, 2, 2, 3, 3, 3]


@pytest.mark.parametrize("histories", [[], [[]], [[2]], [[2, 2, 2, 2]], [[1, 1], [1, 2, 1]]])
def test_without_motifs_the_table_is_empty(histories):
    sequences = make_sequences(histories)
    assert find_motifs(sequences, make_tokenizer(sequences), make_config(min_count=1)).is_empty()


def test_what_few_users_do_is_no_motif():
    sequences = make_sequences([[2, 3] * 20, [2, 3] * 20, [4, 5] * 50, [6, 7]])
    tokens_ML, _, users_M = count_motifs(sequences, 2)
    users = dict(zip(map(tuple, tokens_ML.tolist()), users_M.tolist(), strict=True))
    assert users == {(2, 3): 2, (3, 2): 2, (4, 5): 1, (5, 4): 1, (6, 7): 1}
    for min_users, names in ((1, {"t2 → t3", "t4 → t5"}), (2, {"t2 → t3"}), (3, set())):
        found = find_motifs(sequences, make_tokenizer(sequences), make_config(min_users=min_users))
        assert names == set(found.filter(found["tokens"].list.len() == 2)["name"]) & {"t2 → t3", "t4 → t5"}


def test_events_after_training_change_no_motif():
    rng = np.random.default_rng(3)
    histories = [rng.integers(2, 6, 30).tolist() for _ in range(8)]
    sequences = make_sequences(histories, [[TRAIN] * 20 + [TEST] * 10] * 8)
    other_N = np.where(sequences.split_N == TEST, 2, sequences.token_ids_N).astype(np.int32)
    tokenizer = make_tokenizer(sequences)
    changed = find_motifs(replace(sequences, token_ids_N=other_N), tokenizer, make_config())
    assert changed.equals(find_motifs(sequences, tokenizer, make_config()))
    assert len(changed)
