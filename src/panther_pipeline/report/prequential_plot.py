"""Fraud metrics over the shifts: a line per model with intervals, dashed where the model was never refitted."""

from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from panther_pipeline.metrics.fraud import order_models
from panther_pipeline.metrics.prequential import MEAN_OF_SHIFTS
from panther_pipeline.report.fraud_plot import COLORS
from panther_pipeline.scoring.scores import AGED

Record = dict[str, Any]
_METRICS = {"average_precision": "average precision", "roc_auc": "ROC-AUC", "recall@1%": "recall at the top 1 %"}


def plot_prequential(metrics: list[Record]) -> go.Figure:
    """One panel per metric; bars are 95 % intervals over users. A click on a name hides the model in all panels.

    Args:
        metrics: from `measure_shifts`; without any the figure says so.
    """
    if not metrics:
        return go.Figure().update_layout(
            title="Nothing was measured over time", height=120, xaxis_visible=False, yaxis_visible=False
        )
    figure = make_subplots(rows=1, cols=len(_METRICS), subplot_titles=list(_METRICS.values()), horizontal_spacing=0.06)
    models = order_models(record["model"] for record in metrics)
    colors = {model: COLORS[place % len(COLORS)] for place, model in enumerate(m for m in models if AGED not in m)}
    for column, metric in enumerate(_METRICS, start=1):
        for place, model in enumerate(models):
            records = [r for r in metrics if r["model"] == model and r["metric"] == metric]
            trace = _line(model, [r for r in records if r["split"] != MEAN_OF_SHIFTS], colors[model.removesuffix(AGED)])
            figure.add_trace(trace.update(showlegend=column == 1, legendrank=place), row=1, col=column)
    figure.update_xaxes(title="test window")
    return figure.update_layout(
        height=440, template="plotly_white", margin={"t": 40, "r": 10}, legend={"orientation": "h", "y": -0.25}
    )


def _line(model: str, records: list[Record], color: str) -> go.Scatter:
    is_aged = model.endswith(AGED)
    return go.Scatter(
        x=[r["split"] for r in records], y=[r["value"] for r in records], name=model, legendgroup=model,
        mode="lines+markers", line={"color": color, "width": 2, "dash": "dot" if is_aged else "solid"},
        marker={"symbol": "circle-open" if is_aged else "circle", "size": 7},
        error_y={
            "type": "data", "symmetric": False, "thickness": 1, "width": 3,
            "array": [_distance(r, "high") for r in records],
            "arrayminus": [-_distance(r, "low") for r in records],
        },
        hovertemplate=f"{model}, %{{x}}: %{{y:.4f}}<extra></extra>",
    )  # fmt: skip


def _distance(record: Record, bound: str) -> float:
    return 0.0 if record[bound] is None else record[bound] - record["value"]
