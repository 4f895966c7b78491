import numpy as np
import torch

from panther_pipeline.training.losses import draw_following

# Lengths 5, 2 and 1 of 5; the first window begins with one event of context.
IS_TARGET_BT = torch.tensor([[0, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]], dtype=torch.bool)


def counts(num_events, num_draws=4000):
    """How often each position was drawn for each position with a target: (N, T)."""
    torch.manual_seed(0)
    counts_NT = np.zeros((7, 5), dtype=np.int64)
    for _ in range(num_draws):
        window_N, position_N = draw_following(IS_TARGET_BT, num_events)
        assert window_N.tolist() == [0, 0, 0, 0, 1, 1, 2]
        counts_NT[np.arange(7), position_N] += 1
    return counts_NT


def test_drawn_positions_are_uniform_over_the_next_events():
    counts_NT = counts(num_events=3)
    reachable_NT = np.array(
        [
            [0, 1, 1, 1, 0],  # three events ahead, not four
            [0, 0, 1, 1, 1],
            [0, 0, 0, 1, 1],  # the window ends
            [0, 0, 0, 0, 1],
            [1, 1, 0, 0, 0],
            [0, 1, 0, 0, 0],
            [1, 0, 0, 0, 0],
        ]
    )
    share_NT = reachable_NT / reachable_NT.sum(1, keepdims=True)
    assert ((counts_NT > 0) == reachable_NT).all()
    assert (abs(counts_NT - 4000 * share_NT) <= 4 * (4000 * share_NT * (1 - share_NT)) ** 0.5).all()


def test_window_of_one_event_is_the_next_one():
    window_N, position_N = draw_following(IS_TARGET_BT, 1)
    assert torch.equal(torch.stack([window_N, position_N]), torch.stack(IS_TARGET_BT.nonzero(as_tuple=True)))


def test_draws_repeat_with_the_random_state():
    state = torch.get_rng_state()
    first = draw_following(IS_TARGET_BT, 4)[1]
    torch.set_rng_state(state)
    assert torch.equal(draw_following(IS_TARGET_BT, 4)[1], first)
