"""Which later event a state is asked for, so that it stays useful while it is cached.

Shape letters: B windows, T positions, N positions with a target.
"""

import torch
from torch import Tensor


def draw_following(is_target_BT: Tensor, num_events: int) -> tuple[Tensor, Tensor]:
    """For every position with a target, one of its next `num_events` events, each equally likely.

    Near the end of a window there are fewer. A window is one user's and ends with the training events, so what is
    drawn never crosses either border. Drawn from torch's generator.

    Args:
        is_target_BT: bool; True in one stretch per window.
        num_events: at least 1; with 1 it is the next event.

    Returns:
        int64 (N,) windows and (N,) positions, which index the targets of the batch.

    Source: dense all-action loss, PinnerFormer (arXiv 2205.04507) §3.4, with a window of events in place of days.
    """
    window_N, position_N = is_target_BT.nonzero(as_tuple=True)
    end_B = (is_target_BT * torch.arange(1, is_target_BT.shape[1] + 1, device=is_target_BT.device)).amax(dim=1)
    num_following_N = (end_B[window_N] - position_N).clamp(max=num_events)
    # float64: rounded, float32 times an integer is not quite uniform.
    share_N = torch.rand(len(position_N), dtype=torch.float64, device=is_target_BT.device)
    return window_N, position_N + (share_N * num_following_N).long()
