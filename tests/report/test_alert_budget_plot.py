"""The plot from which an alert budget is chosen."""

import polars as pl
import pytest

from panther_pipeline.metrics.alert_budgets import BUDGET_SCHEMA
from panther_pipeline.metrics.config import CostConfig
from panther_pipeline.report.alert_budget_plot import plot_alert_budgets

COSTS = CostConfig(review=5.0, missed_share=1.0, missed_fixed=7.0)


def make_rows(model: str, saved: list[float], chosen: int | None = None) -> pl.DataFrame:
    num = len(saved)
    shares = {name: [0.5] * num for name in ("threshold", "precision", "recall", "value_recall")}
    shares["is_chosen"] = [n == chosen for n in range(num)]
    return pl.DataFrame(
        {
            "model": [model] * num, "alerts": list(range(1, num + 1)), "saved": saved,
            "alerts_per_day": [float(n) for n in range(1, num + 1)], **shares,
        }
    ).select(pl.col(name).cast(kind) for name, kind in BUDGET_SCHEMA.items())  # fmt: skip


@pytest.fixture(scope="module")
def figure():
    rows = [make_rows("trees_features", [1.0, 3.0, 2.0]), make_rows("panther_head", [5.0, 20.0, -400.0], chosen=0)]
    return plot_alert_budgets(pl.concat(rows), COSTS)


def test_one_model_is_shown_at_a_time(figure):
    shown = [trace for trace in figure.data if trace.visible]
    assert len(shown) == len(figure.data) / 2 == 5
    menu = figure.layout.updatemenus[0]
    assert [button.label for button in menu.buttons] == ["trees_features", "panther_head"]
    assert menu.buttons[menu.active].label == "panther_head"
    for button in menu.buttons:
        assert sum(button.args[0]["visible"]) == 5
    assert list(menu.buttons[menu.active].args[0]["visible"]) == [bool(trace.visible) for trace in figure.data]


def test_diamond_marks_the_threshold_chosen_before_the_test(figure):
    diamonds = [trace for trace in figure.data if "chosen" in trace.name]
    assert [(list(d.x), list(d.y)) for d in diamonds] == [([], []), ([1.0], [5.0])]


def test_curve_of_money_is_drawn_where_nothing_pays():
    figure = plot_alert_budgets(make_rows("panther_head", [-5.0, -10.0, -500.0]), COSTS)
    assert list(next(trace for trace in figure.data if trace.name == "saved").y) == [-5.0]


def test_ruinous_budgets_do_not_flatten_the_curve(figure):
    money = next(trace for trace in figure.data if trace.visible and trace.name == "saved")
    assert list(money.y) == [5.0, 20.0]


def test_costs_are_named(figure):
    assert "a review costs 5, a missed fraud 100% of its amount and 7" in figure.layout.xaxis.title.text


def test_nothing_to_draw_is_said():
    assert "No fraud" in plot_alert_budgets(pl.DataFrame(schema=BUDGET_SCHEMA), COSTS).layout.title.text
