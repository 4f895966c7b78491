"""Table and figure of fraud over time."""

import pytest

from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.metrics.prequential import MEAN_OF_SHIFTS
from panther_pipeline.metrics.records import make_record
from panther_pipeline.report.prequential_plot import plot_prequential
from panther_pipeline.report.prequential_table import render_prequential_table
from panther_pipeline.scoring.scores import AGED
from panther_pipeline.scoring.shifts import Shift
from panther_pipeline.scoring.task import FraudTaskConfig

SPLITS = SplitConfig(
    protocol="time", train_end="2024-01-01", valid_end="2024-02-01", test_end=None, embargo_days=0.0, test_share=None,
    valid_share=None, held_out_user_share=0.0,
)  # fmt: skip
TASK = FraudTaskConfig(
    fit_start=None, calibration_share=0.2, calibration_gap=True, negatives_per_fraud=None, seed=0, blocked_since=None
)
SHIFTS = [Shift(days=days, task=TASK, splits=SPLITS.shifted(days, 7)) for days in (0, 7, 14)]
FACTS = {"commit": "abc", "data fingerprint": "d1", "tokenizer": "t1", "backbone": "b1"}


def record(model, metric, split, value, half_width=0.05):
    low, high = (None, None) if half_width is None else (value - half_width, value + half_width)
    return make_record(task="fraud", model=model, metric=metric, split=split, value=value, low=low, high=high, n=1234)


@pytest.fixture
def records():
    found = []
    for split in ("test+0d", "test+7d", MEAN_OF_SHIFTS):
        found += [
            record("trees_features", "average_precision", split, 0.5),
            record("panther_head", "average_precision", split, 0.6),
            record(f"panther_head{AGED}", "average_precision", split, 0.55),
            record("panther_head", "average_precision_difference_vs_trees_features", split, 0.1),
            record("panther_head", f"average_precision_difference_vs_panther_head{AGED}", split, 0.05, 0.06),
            record("panther_head", "card_precision@100", split, 0.25, None),
        ]
    return found


def test_table_names_run_and_shifts_and_marks_clear_differences(records):
    page = render_prequential_table(records, SHIFTS, [0, 1], FACTS)
    assert "commit abc" in page
    assert "data d1, tokenizer t1, backbone b1" in page
    assert "| test+7d | 2024-02-08 | 2024-02-15 | 1,234 |" in page
    assert "| test+14d | 2024-02-15 | 2024-02-22 | not measured |" in page
    assert "| panther_head | 0.6000<br>[0.5500, 0.6500] |" in page
    assert "| panther_head | 0.2500 | 0.2500 | 0.2500 |" in page
    assert "| panther_head − trees_features | **+0.1000<br>[+0.0500, +0.1500]** |" in page
    assert f"| panther_head − panther_head{AGED} | +0.0500<br>[-0.0100, +0.1100] |" in page


def test_figure_has_a_line_per_model_and_dots_the_aged_one(records):
    figure = plot_prequential(records)
    lines = [trace for trace in figure.data if len(trace.x)]
    assert [trace.name for trace in lines] == ["trees_features", "panther_head", f"panther_head{AGED}"]
    assert [trace.line.dash for trace in lines] == ["solid", "solid", "dot"]
    assert lines[1].line.color == lines[2].line.color != lines[0].line.color
    assert lines[1].x == ("test+0d", "test+7d")
    assert lines[1].error_y.array == pytest.approx([0.05, 0.05])
    assert lines[1].error_y.arrayminus == pytest.approx([0.05, 0.05])


def test_nothing_measured_is_said_in_both():
    assert "Nothing was measured" in render_prequential_table([], [], [0], FACTS)
    assert "Nothing was measured" in plot_prequential([]).layout.title.text
