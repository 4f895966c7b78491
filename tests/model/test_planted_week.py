"""A planted week in time, not in order: found by a model that reads times, not by one that reads the order alone.

Two plants. The event a week before the newest decides the next, some ten events back, more or fewer: attention finds
it by elapsed time or by its weekday and hour. The weekday of the newest event decides the next: the calendar tells it.
"""

import runpy
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from panther_pipeline.model.config import ModelConfig
from panther_pipeline.training.config import LossConfig, TrainingConfig
from panther_pipeline.training.pretraining import pretrain

PLANT = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "planted_motif.py"))
WEEK_STEPS, WEEKDAY_STEPS = 400, 60


def hit_rate(sequences, seed: int, steps: int, **model) -> float:
    config = ModelConfig(
        dim=32,
        num_layers=1,
        num_heads=2,
        max_events=32,
        inputs="token",
        profile="none",
        score="dot",
        dropout=0.0,
        **model,
    )
    training = TrainingConfig(
        seed=seed, batch_size=32, max_steps=steps, warmup_steps=20, peak_lr=3e-3, num_threads=1, device="cpu"
    )
    backbone, _ = pretrain(sequences, config, LossConfig(), training)
    return float(PLANT["hit_rates"](backbone, sequences).mean())


@cache
def week_ago(time_encoding: str, *, seed: int = 0, mixer: str = "attention", shuffled: bool = False) -> float:
    """Hit rate as a share of what lies between chance and the best possible."""
    sequences, is_planted_N = PLANT["weekly_sequences"](seed=seed, shuffled=shuffled)
    chance = 1 / 8
    best = is_planted_N.mean() * (1 - chance) + chance
    rate = hit_rate(sequences, seed, WEEK_STEPS, time_encoding=time_encoding, mixer=mixer)
    return (rate - chance) / (best - chance)


@cache
def weekday(time_encoding: str, *, seed: int = 0, shuffled: bool = False) -> float:
    sequences = PLANT["weekday_sequences"](seed=seed, shuffled=shuffled)
    chance = 1 / 7
    return (hit_rate(sequences, seed, WEEKDAY_STEPS, time_encoding=time_encoding) - chance) / (0.9 * (1 - chance))


@pytest.mark.parametrize("time_encoding", ["rotary", "gap_calendar"])
def test_event_a_week_ago_is_found_by_its_time(time_encoding):
    assert week_ago(time_encoding) > 0.9


def test_order_alone_only_guesses_how_many_events_a_week_was():
    assert week_ago("none") < 0.45


def test_week_is_not_found_when_times_are_shuffled():
    assert week_ago("rotary", shuffled=True) < week_ago("none") + 0.05


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_week_is_found_by_time_alone_with_every_seed(seed):
    assert week_ago("rotary", seed=seed) > 0.9
    assert week_ago("gap_calendar", seed=seed) > 0.9
    assert week_ago("none", seed=seed) < 0.45


@pytest.mark.parametrize("time_encoding", ["rotary", "gap_calendar"])
def test_calendar_finds_what_the_weekday_decides(time_encoding):
    assert weekday(time_encoding) > 0.9
    assert abs(weekday(time_encoding, shuffled=True)) < 0.05


def test_weekday_is_not_found_without_times():
    assert abs(weekday("none")) < 0.05


def test_week_ago_is_now_few_now_many_events_back():
    sequences, is_planted_N = PLANT["weekly_sequences"]()
    week_us = 7 * 86_400_000_000
    time_us_N = sequences.time_us_N[: sequences.offsets_U1[1]]
    found = np.searchsorted(time_us_N, time_us_N - week_us)
    is_there_N = (time_us_N[np.minimum(found, len(time_us_N) - 1)] == time_us_N - week_us) & (found < len(time_us_N))
    lags = (np.arange(len(time_us_N)) - found)[is_there_N]
    assert np.bincount(lags).max() / len(time_us_N) < 0.25  # no distance in events is right more often than that
    assert 0.5 < is_planted_N.mean() < 0.7
