"""States of chosen events: the shared forward pass equals recomputing each one alone."""

import numpy as np
import torch

from panther_pipeline.cache.as_of import window_start
from panther_pipeline.cache.states import iter_state_chunks
from panther_pipeline.model.batch import EventBatch


def collect(backbone, sequences, rows, batch_size=4):
    states = np.full((sequences.num_events, backbone.config.dim), np.nan, np.float32)
    for rows_m, h_mD in iter_state_chunks(backbone, sequences, rows, batch_size):
        assert np.isnan(states[rows_m]).all(), "a row came twice"
        states[rows_m] = h_mD.numpy()
    return states


def test_window_holds_half_to_full_context():
    positions = np.arange(200)
    sizes = positions - window_start(positions, 16) + 1
    assert (sizes[16:] > 8).all()
    assert (sizes <= 16).all()
    assert (sizes[:16] == positions[:16] + 1).all()


def test_shared_pass_equals_one_by_one(backbone, sequences):
    rows = np.arange(sequences.num_events)
    states = collect(backbone, sequences, rows)
    user_N = sequences.user_ix_N()
    for row in rows:
        first = sequences.offsets_U1[user_N[row]]
        start = first + window_start(row - first, 16)
        alone = EventBatch.from_windows(sequences, user_N[[row]], np.array([start]), np.array([row + 1]))
        with torch.inference_mode():
            expected = backbone(alone)[0, -1].numpy()
        np.testing.assert_allclose(states[row], expected, atol=1e-5)


def test_only_chosen_rows_are_returned(backbone, sequences):
    rows = np.array([3, 30, 7])
    states = collect(backbone, sequences, rows)
    assert np.flatnonzero(~np.isnan(states[:, 0])).tolist() == [3, 7, 30]


def test_no_rows_give_no_states(backbone, sequences):
    assert list(iter_state_chunks(backbone, sequences, np.array([], dtype=np.int64))) == []
