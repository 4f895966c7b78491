import numpy as np

from panther_pipeline.model.batch import EventBatch


def test_window_holds_the_rows_it_names(random_sequences):
    sequences = random_sequences()
    user_ix_B = np.array([5, 6])
    starts_B = sequences.offsets_U1[user_ix_B] + [0, 2]
    stops_B = starts_B + np.array([4, 7])
    batch = EventBatch.from_windows(sequences, user_ix_B, starts_B, stops_B)
    assert batch.lengths_B.tolist() == [4, 7]
    assert batch.token_ids_BT[1].tolist() == sequences.token_ids_N[starts_B[1] : stops_B[1]].tolist()
    assert batch.time_us_BT[0, :4].tolist() == sequences.time_us_N[starts_B[0] : stops_B[0]].tolist()
    assert batch.profile_ids_BP.tolist() == sequences.profile_ids_UP[user_ix_B].tolist()


def test_padding_is_zero_and_repeats_the_last_time(random_sequences):
    sequences = random_sequences()
    start = sequences.offsets_U1[6]
    # The shorter window ends where another user's events begin: none of them may be read.
    starts_B, stops_B = np.array([start, start]), np.array([start + 2, sequences.offsets_U1[7]])
    batch = EventBatch.from_windows(sequences, np.array([6, 6]), starts_B, stops_B)
    assert not batch.token_ids_BT[0, 2:].any()
    assert not batch.attribute_ids_BTF[0, 2:].any()
    assert (batch.time_us_BT[0, 2:] == batch.time_us_BT[0, 1]).all()


def test_moving_a_batch_moves_every_tensor(make_batch):
    moved = make_batch().to("meta")
    assert all(tensor.device.type == "meta" for tensor in vars(moved).values())
