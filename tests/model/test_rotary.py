from math import cos, sin

import pytest
import torch

from panther_pipeline.model.rotary import rotary_angles, rotation, time_periods_us, turn
from panther_pipeline.units import DAY_US, HOUR_US


def scores(angles_BTR, seed=0):
    """Attention scores (B, 1, T, T) of random queries and keys turned by the angles."""
    generator = torch.Generator().manual_seed(seed)
    q, k = torch.randn(2, *angles_BTR.shape[:2], 1, 2 * angles_BTR.shape[2], generator=generator)
    return products(q, k, angles_BTR)


def products(q_BTHC, k_BTHC, angles_BTR):
    """(B, H, T, T)."""
    q, k = (turn(x, rotation(angles_BTR)).transpose(1, 2) for x in (q_BTHC, k_BTHC))
    return q @ k.transpose(-1, -2)


@pytest.fixture
def time_us_BT():
    gaps_us = torch.randint(1, 30 * DAY_US, (3, 20), generator=torch.Generator().manual_seed(1))
    return 1_700_000_000_000_000 + gaps_us.cumsum(1)


def test_scores_depend_on_time_differences_only(time_us_BT):
    before = scores(rotary_angles(time_us_BT, 16, use_time=True))
    after = scores(rotary_angles(time_us_BT + 4_321 * DAY_US + 7, 16, use_time=True))
    assert torch.equal(before, after)


def test_scores_do_not_depend_on_where_counting_begins(time_us_BT):
    angles = rotary_angles(time_us_BT, 16, use_time=True)
    from_fifth = rotary_angles(time_us_BT[:, 5:], 16, use_time=True)
    assert not torch.allclose(angles[:, 5:], from_fifth)
    q, k = torch.randn(2, 3, 15, 1, 32, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(products(q, k, angles[:, 5:]), products(q, k, from_fifth), atol=3e-5)


def test_neighbouring_channels_are_turned_by_their_angle():
    angles_BTR = torch.tensor([[[0.3, 2.0]]])
    x_BTHC = torch.tensor([1.0, 2.0, -3.0, 0.5]).view(1, 1, 1, 4)
    expected = []
    for (left, right), angle in zip([(1.0, 2.0), (-3.0, 0.5)], [0.3, 2.0], strict=True):
        expected += [left * cos(angle) - right * sin(angle), left * sin(angle) + right * cos(angle)]
    assert torch.allclose(turn(x_BTHC, rotation(angles_BTR)).flatten(), torch.tensor(expected))


def test_angles_never_look_at_a_newer_event(time_us_BT):
    changed = time_us_BT.clone()
    changed[:, 8:] += 100 * DAY_US
    before, after = (rotary_angles(t, 16, use_time=True) for t in (time_us_BT, changed))
    assert torch.equal(before[:, :8], after[:, :8])
    assert not torch.equal(before[:, 8:], after[:, 8:])


def test_a_whole_period_later_is_the_same_phase():
    start = 1_700_000_000_123_457
    time_us_BT = torch.tensor([[start, start + 7 * DAY_US, start + 700 * DAY_US]])
    week = time_periods_us(4).index(7 * DAY_US)
    assert rotary_angles(time_us_BT, 8, use_time=True)[0, :, 4 + week].tolist() == [0, 0, 0]


def test_periods_reach_from_an_hour_to_a_year():
    for num in (5, 8, 16):
        periods = time_periods_us(num)
        assert len(set(periods)) == num
        assert periods == sorted(periods)
        assert (periods[0], periods[-1]) == (HOUR_US, int(365.25 * DAY_US))
        assert {DAY_US, 7 * DAY_US, int(30.4 * DAY_US)} <= set(periods)


def test_order_alone_ignores_time(time_us_BT):
    angles = rotary_angles(time_us_BT, 4, use_time=False)
    assert torch.equal(angles, rotary_angles(time_us_BT * 3, 4, use_time=False))
    assert angles[0, :, 0].tolist() == list(range(20))


def test_planes_go_to_what_is_asked_for():
    time_us_BT = torch.arange(6)[None] * 3 * DAY_US
    both, order, time = (
        rotary_angles(time_us_BT, 8, use_order=use_order, use_time=use_time)
        for use_order, use_time in [(True, True), (True, False), (False, True)]
    )
    assert both.shape == order.shape == time.shape == (1, 6, 8)
    assert torch.equal(both[0, :, 0], order[0, :, 0])
    assert torch.equal(order[0, :, 0], torch.arange(6.0))
    # All planes turn with elapsed time: events at one instant have equal angles.
    assert not rotary_angles(torch.zeros(1, 6, dtype=torch.int64), 8, use_order=False).any()
    assert time[0, 1:].any()
