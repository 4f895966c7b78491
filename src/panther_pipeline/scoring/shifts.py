"""Shifts of the fraud task forward in time: when heads are refitted, on which labels, and what they are judged on.

At shift k the clock stands k · step_days after `valid_end`. Labels known by then are fitted and calibrated on, the days
that follow are judged. Tokenizer and backbone stay as they were trained.

Source: prequential evaluation, Dawid 1984; with delayed labels as in the Fraud-Detection-Handbook, chapter 5.
"""

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field, field_validator

from panther_pipeline.config import Config
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.splits import SplitConfig, shift_instant
from panther_pipeline.scoring.task import FraudTaskConfig, choose_rows
from panther_pipeline.units import DAY_US, epoch_us

logger = logging.getLogger(__name__)


class PrequentialConfig(Config):
    """How often heads are refitted, and which of them."""

    num_shifts: int = Field(ge=1)  # the first one is at ledger.splits.valid_end
    step_days: int = Field(ge=1)  # from one to the next
    test_days: int = Field(ge=1)  # judged after each; longer than step_days, the windows overlap
    models: list[Literal["trees_features", "trees_embeddings", "trees_both", "panther_head"]] = Field(min_length=1)
    seeds: list[int] = Field(min_length=1)  # one fit per shift, model and seed

    @field_validator("models", "seeds")
    @classmethod
    def _refuse_repeats(cls, values: list) -> list:
        if len(set(values)) < len(values):
            raise ValueError(f"{values} names something twice")
        return values


@dataclass(frozen=True, kw_only=True)
class Shift:
    """One point in time: what is known there and what is judged from there on."""

    days: int  # since ledger.splits.valid_end
    task: FraudTaskConfig
    splits: SplitConfig

    @property
    def name(self) -> str:
        """Of its test window, as scores and records say it."""
        return f"test+{self.days}d"


def plan_shifts(
    valid_events: pl.DataFrame, config: PrequentialConfig, task: FraudTaskConfig, splits: SplitConfig
) -> list[Shift]:
    """All shifts, in the order of time; none, with a warning, for a ledger without event labels.

    Args:
        valid_events: the ledger.
        config: how many shifts, how far apart.
        task: the fraud task at the first one; `blocked_since` moves along, `fit_start` stays: nothing is forgotten.
        splits: instants at the first one; `test_end` is replaced by `test_days`.

    Raises:
        ConfigurationError: the ledger is split by order, or ends before the last shift does; the message names the
            largest num_shifts.
    """
    if valid_events["label"].null_count() == valid_events.height:
        logger.warning("No event has a label: there is nothing to judge over time, and all results are empty.")
        return []
    shifts = [_shift(step * config.step_days, config.test_days, task, splits) for step in range(config.num_shifts)]
    _check_end(shifts, config, epoch_us(valid_events["event_time"]).max())
    return shifts


def choose_rows_of_shifts(valid_events: pl.DataFrame, shifts: list[Shift]) -> np.ndarray:
    """Rows of the ledger that any shift fits on, calibrates on or judges: int64, ascending."""
    is_chosen_N = np.zeros(valid_events.height, dtype=bool)
    for shift in shifts:
        part_N, _ = choose_rows(valid_events, shift.task, shift.splits)
        is_chosen_N |= part_N >= 0
    return np.flatnonzero(is_chosen_N)


def _shift(days: int, test_days: int, task: FraudTaskConfig, splits: SplitConfig) -> Shift:
    since = task.blocked_since and shift_instant(task.blocked_since, days)
    moved = task.model_copy(update={"blocked_since": since})
    return Shift(days=days, task=moved, splits=splits.shifted(days, test_days))


def _check_end(shifts: list[Shift], config: PrequentialConfig, last_event_us: int) -> None:
    """A test window may end with the day (UTC) of the last event, not later: it would be shorter than the others."""
    ledger_end_us = (last_event_us // DAY_US + 1) * DAY_US
    if shifts[-1].splits.test_end_us <= ledger_end_us:
        return
    room_us = ledger_end_us - shifts[0].splits.test_end_us
    num_possible = room_us // (config.step_days * DAY_US) + 1
    ledger_end = np.datetime64(int(ledger_end_us), "us").astype("datetime64[D]")
    advice = (
        f"At most num_shifts: {num_possible} with these lengths; or shorten step_days or test_days."
        if num_possible > 0
        else "Not even the first one fits: shorten prequential.test_days or set ledger.splits.valid_end earlier."
    )
    raise ConfigurationError(
        f"prequential: {config.num_shifts} shifts, {config.step_days} days apart and each judged on {config.test_days} "
        f"days, reach until {shifts[-1].splits.test_end}, but the ledger ends at {ledger_end}. {advice}"
    )
