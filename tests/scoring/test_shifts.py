"""When heads are refitted, and on which rows."""

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.splits import parse_instant
from panther_pipeline.scoring.shifts import PrequentialConfig, choose_rows_of_shifts, plan_shifts
from panther_pipeline.scoring.task import choose_rows
from panther_pipeline.units import to_us


def make_config(**changes) -> PrequentialConfig:
    values = {"num_shifts": 3, "step_days": 2, "test_days": 3, "models": ["trees_features"], "seeds": [0]}
    return PrequentialConfig(**values | changes)


def test_shifts_move_clock_and_blocking_and_nothing_else(ledger, task_config, splits):
    task = task_config.model_copy(update={"blocked_since": "2024-01-10"})
    shifts = plan_shifts(ledger, make_config(), task, splits)
    assert [shift.name for shift in shifts] == ["test+0d", "test+2d", "test+4d"]
    last = shifts[-1]
    assert parse_instant(last.splits.valid_end) == parse_instant("2024-01-28")
    assert parse_instant(last.splits.test_end) == parse_instant("2024-01-31")
    assert parse_instant(last.task.blocked_since) == parse_instant("2024-01-14")
    assert last.splits.train_end == splits.train_end
    assert last.task.model_copy(update={"blocked_since": "2024-01-10"}) == task


def test_shift_beyond_the_ledger_names_the_most_there_can_be(ledger, task_config, splits):
    told = r"until 2024-02-02T.* ledger ends at 2024-01-31\. At most num_shifts: 3"
    with pytest.raises(ConfigurationError, match=told):
        plan_shifts(ledger, make_config(num_shifts=4), task_config, splits)
    assert len(plan_shifts(ledger, make_config(num_shifts=3), task_config, splits)) == 3


def test_window_longer_than_what_is_left_says_to_shorten_it(ledger, task_config, splits):
    with pytest.raises(ConfigurationError, match=r"Not even the first one fits: shorten prequential\.test_days"):
        plan_shifts(ledger, make_config(test_days=8), task_config, splits)


def test_labelled_ledger_split_by_order_is_refused(ledger, task_config, splits):
    by_order = splits.model_validate(
        splits.model_dump() | {"protocol": "leave_last_out", "train_end": None, "valid_end": None, "test_end": None}
    )
    with pytest.raises(ConfigurationError, match="needs protocol: time"):
        plan_shifts(ledger, make_config(), task_config, by_order)
    unlabelled = ledger.with_columns(label=pl.lit(None, pl.Int8))
    assert plan_shifts(unlabelled, make_config(), task_config, by_order) == []


def test_rows_of_shifts_are_those_of_each(ledger, task_config, splits):
    task = task_config.model_copy(update={"negatives_per_fraud": 1})
    shifts = plan_shifts(ledger, make_config(), task, splits)
    each = [np.flatnonzero(choose_rows(ledger, shift.task, shift.splits)[0] >= 0) for shift in shifts]
    rows = choose_rows_of_shifts(ledger, shifts)
    assert rows.tolist() == sorted(set().union(*each))
    assert max(map(len, each)) < len(rows) < ledger.height
    assert ledger["event_time"].gather(rows).dt.epoch("us").max() < to_us(parse_instant("2024-01-31"))
    assert choose_rows_of_shifts(ledger, []).tolist() == []


@pytest.mark.parametrize("changes", [{"models": ["trees_both", "trees_both"]}, {"seeds": [1, 1]}])
def test_what_is_named_twice_is_refused(changes):
    with pytest.raises(ValidationError, match="names something twice"):
        make_config(**changes)
