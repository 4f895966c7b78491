"""Choose an alert budget, see what it catches and what it saves."""

import plotly.graph_objects as go
import polars as pl

from panther_pipeline.metrics.config import CostConfig
from panther_pipeline.metrics.fraud import order_models

_SHOWN_FIRST = "panther_head"
_SHARES = {"recall": "#3b6fd4", "value_recall": "#2a9d8f", "precision": "#e08b2c"}
_MONEY = "#b5489b"


def plot_alert_budgets(alert_budgets: pl.DataFrame, costs: CostConfig) -> go.Figure:
    """Recall, precision and money over alerts per day; a menu chooses the model, a diamond marks what the threshold
    saves that saved most on the calibration rows; there is none where nothing paid.

    Args:
        alert_budgets: from `tabulate_alert_budgets`; without rows the figure is empty.
        costs: named below the axis.
    """
    models = order_models(alert_budgets["model"].unique())
    if not models:
        return go.Figure().update_layout(title="No fraud is known in the test window")
    first = _SHOWN_FIRST if _SHOWN_FIRST in models else models[0]
    figure = go.Figure()
    owners = []
    for model in models:
        traces = _draw(alert_budgets.filter(model=model), costs, visible=model == first)
        figure.add_traces(traces)
        owners += [model] * len(traces)
    buttons = [
        {"label": model, "method": "update", "args": [{"visible": [owner == model for owner in owners]}]}
        for model in models
    ]
    spent = f"a review costs {costs.review:g}, a missed fraud {costs.missed_share:.0%} of its amount"
    spent += f" and {costs.missed_fixed:g}" if costs.missed_fixed else ""
    return figure.update_layout(
        height=460, template="plotly_white", hovermode="x unified", margin={"t": 50, "r": 70},
        legend={"orientation": "h", "y": -0.28},
        xaxis={"title": f"alerts per day ({spent})", "type": "log", "dtick": 1},
        yaxis={"title": "share", "range": [0, 1.02], "tickformat": ".0%"},
        yaxis2={"title": "saved", "overlaying": "y", "side": "right", "showgrid": False, "rangemode": "tozero"},
        updatemenus=[{"buttons": buttons, "active": models.index(first), "x": 0, "y": 1.16, "xanchor": "left"}],
    )  # fmt: skip


def _draw(rows: pl.DataFrame, costs: CostConfig, visible: bool) -> list[go.Scatter]:
    x = rows["alerts_per_day"].round(4).to_list()
    traces = [
        go.Scatter(
            x=x, y=rows[share].round(5).to_list(), name=share.replace("_", " "), line={"color": color}, visible=visible,
            hovertemplate="%{y:.1%}",
        )
        for share, color in _SHARES.items()
    ]  # fmt: skip
    # Where reviews cost far more than they save, the curve would flatten all that matters.
    money = rows.filter(pl.col("saved") >= -max(rows["saved"].max(), costs.review))
    traces.append(
        go.Scatter(
            x=money["alerts_per_day"].round(4).to_list(), y=money["saved"].round(2).to_list(), name="saved", yaxis="y2",
            line={"color": _MONEY, "dash": "dot"}, visible=visible, customdata=money["threshold"].to_list(),
            hovertemplate="%{y:,.0f} (threshold %{customdata:.9g})",
        )
    )  # fmt: skip
    best = rows.filter("is_chosen")
    traces.append(
        go.Scatter(
            x=best["alerts_per_day"].round(4).to_list(), y=best["saved"].round(2).to_list(),
            name="threshold chosen before the test",
            yaxis="y2", mode="markers", marker={"symbol": "diamond", "size": 11, "color": _MONEY}, visible=visible,
            hoverinfo="skip",
        )
    )  # fmt: skip
    return traces
