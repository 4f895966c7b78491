from dataclasses import replace

import numpy as np
import pytest

from panther_pipeline.errors import TrainingError
from panther_pipeline.ledger.splits import TEST, TRAIN, UNUSED, VALID
from panther_pipeline.training.batches import (
    IGNORE,
    BatchOrder,
    attribute_target_counts,
    make_batch,
    target_counts,
    training_windows,
    validation_windows,
)


def target_rows(windows):
    return np.concatenate([np.arange(f, s + 1) for f, s in zip(windows.first_targets_W, windows.stops_W, strict=True)])


def input_rows(windows):
    return np.concatenate([np.arange(a, s) for a, s in zip(windows.starts_W, windows.stops_W, strict=True)])


def expected_train_targets(sequences):
    """Row by row, the slow way: training events that another event of the same user precedes."""
    rows = []
    for u in range(sequences.num_users):
        start, stop = sequences.offsets_U1[u : u + 2]
        rows += [row for row in range(start + 1, stop) if sequences.split_N[row] == TRAIN]
    return rows


@pytest.mark.parametrize("max_events", [2, 7, 16, 500])
def test_epoch_predicts_every_training_event_once(max_events, random_sequences):
    sequences = random_sequences()
    order = BatchOrder(sequences, max_events, batch_size=5, seed=3)
    for epoch in (0, 1):
        steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
        chosen = [order.windows.take(order.window_ix_at(step)) for step in steps]
        rows = np.sort(np.concatenate([target_rows(windows) for windows in chosen]))
        assert rows.tolist() == expected_train_targets(sequences)


def test_training_reads_nothing_outside_train(random_sequences):
    sequences = random_sequences()
    windows = training_windows(sequences, 16)
    assert set(sequences.split_N[target_rows(windows)]) == {TRAIN}
    assert set(sequences.split_N[input_rows(windows)]) == {TRAIN}


def test_batch_holds_each_input_with_its_successor(random_sequences):
    sequences = random_sequences()
    order = BatchOrder(sequences, 16, batch_size=6, seed=0)
    batch = order.batch_at(4)
    windows = order.windows.take(order.window_ix_at(4))
    user_ix_N = sequences.user_ix_N()
    for b in range(len(windows)):
        n = windows.stops_W[b] - windows.starts_W[b]
        rows = np.arange(windows.starts_W[b], windows.stops_W[b])
        assert batch.events.token_ids_BT[b, :n].tolist() == sequences.token_ids_N[rows].tolist()
        assert batch.targets_BT[b, :n].tolist() == sequences.token_ids_N[rows + 1].tolist()
        assert batch.attribute_targets_BTF[b, :n].tolist() == sequences.attribute_ids_NF[rows + 1].tolist()
        assert (batch.targets_BT[b, n:] == IGNORE).all()
        assert set(user_ix_N[rows]) == set(user_ix_N[rows + 1]) == {batch.step_user_ix_A[b]}


def test_order_is_a_function_of_seed_and_step(random_sequences):
    sequences = random_sequences()
    order = BatchOrder(sequences, 8, batch_size=4, seed=7)
    num_steps = 2 * order.steps_per_epoch + 3
    straight = [order.window_ix_at(step).tolist() for step in range(num_steps)]
    # Asked backwards, by a fresh object each time: no state can help.
    for step in reversed(range(0, num_steps, 5)):
        assert BatchOrder(sequences, 8, batch_size=4, seed=7).window_ix_at(step).tolist() == straight[step]
    assert straight[: order.steps_per_epoch] != straight[order.steps_per_epoch : 2 * order.steps_per_epoch]
    assert BatchOrder(sequences, 8, batch_size=4, seed=8).window_ix_at(0).tolist() != straight[0]


def test_batches_hold_similar_lengths(random_sequences):
    order = BatchOrder(random_sequences(num_users=300), 32, batch_size=8, seed=0)
    lengths_W = order.windows.stops_W - order.windows.starts_W
    batches = [lengths_W[order.window_ix_at(step)] for step in range(order.steps_per_epoch)]
    padded = sum(len(lengths) * lengths.max() for lengths in batches)
    assert lengths_W.sum() / padded > 0.9


def test_validation_predicts_valid_events_from_enough_context(random_sequences):
    sequences = random_sequences(num_users=60)
    windows = validation_windows(sequences, 16, num_windows=10**6, seed=0)
    rows = np.sort(target_rows(windows))
    firsts = set(sequences.offsets_U1[:-1].tolist())
    assert rows.tolist() == [r for r in np.flatnonzero(sequences.split_N == VALID).tolist() if r not in firsts]
    assert TEST not in sequences.split_N[input_rows(windows)]
    context = windows.first_targets_W - windows.starts_W
    seen = windows.first_targets_W - sequences.offsets_U1[windows.user_ix_W]
    assert (context >= np.minimum(seen, 16 // 2 + 1)).all()
    assert (windows.stops_W - windows.starts_W <= 16).all()
    assert (sequences.user_ix_N()[windows.starts_W] == windows.user_ix_W).all()
    batch = make_batch(sequences, windows)
    assert (batch.targets_BT != IGNORE).sum() == len(rows)


def test_validation_sample_is_fixed(random_sequences):
    sequences = random_sequences(num_users=60)
    samples = [validation_windows(sequences, 16, num_windows=5, seed=s).first_targets_W.tolist() for s in (1, 1, 2)]
    assert len(samples[0]) == 5
    assert samples[0] == samples[1] != samples[2]


def test_validation_without_events_is_empty(random_sequences):
    sequences = random_sequences()
    sequences = replace(sequences, split_N=np.where(sequences.split_N == VALID, UNUSED, sequences.split_N))
    assert len(validation_windows(sequences, 16, num_windows=5, seed=1)) == 0


def test_nothing_to_train_on_is_said(random_sequences):
    sequences = random_sequences()
    with pytest.raises(TrainingError, match=r"nothing to train on.*train_end"):
        training_windows(replace(sequences, split_N=np.full_like(sequences.split_N, TEST)), 16)


def test_target_counts_count_training_targets(random_sequences):
    sequences = random_sequences()
    tokens = sequences.token_ids_N[expected_train_targets(sequences)]
    assert target_counts(sequences).tolist() == np.bincount(tokens, minlength=20).tolist()


def test_attribute_target_counts_count_training_targets(random_sequences):
    sequences = random_sequences()
    ids = sequences.attribute_ids_NF[expected_train_targets(sequences)]
    counts = attribute_target_counts(sequences)
    assert [c.tolist() for c in counts] == [np.bincount(ids[:, f], minlength=5).tolist() for f in range(2)]
