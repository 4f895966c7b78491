"""Precision-recall curves and calibration of the fraud models on the test window."""

from collections.abc import Iterator

import numpy as np
import plotly.graph_objects as go
import polars as pl
from sklearn.metrics import precision_recall_curve

from panther_pipeline.metrics.fraud import order_models

COLORS = (
    "#8a94a6", "#e08b2c", "#2a9d8f", "#3b6fd4", "#b5489b", "#c2453d", "#7a5c3e", "#6f9bd8", "#556b2f", "#c7a23a",
    "#444c5c", "#d46a9f",
)  # fmt: skip
_MAX_POINTS, _NUM_BINS, _SMALLEST = 400, 12, 1e-6


def plot_precision_recall(fraud_scores: pl.DataFrame) -> go.Figure:
    """One curve per model, of its first seed; the dotted line is the precision of a guess.

    Args:
        fraud_scores: model, seed, split, label, score; without labelled test rows the figure is empty.
    """
    figure = go.Figure()
    prevalence = 0.0
    for model, color, label_M, score_M in _curves(fraud_scores):
        precision, recall, _ = precision_recall_curve(label_M, score_M)
        shown = _spread(recall)
        figure.add_scatter(
            x=recall[shown].round(5).tolist(), y=precision[shown].round(5).tolist(), name=model, mode="lines",
            line={"color": color, "width": 2}, hovertemplate="recall %{x:.3f}<br>precision %{y:.3f}",
        )  # fmt: skip
        prevalence = float(label_M.mean())
    if not figure.data:
        return figure.update_layout(title="No labelled scores with both classes in the test window")
    figure.add_hline(y=prevalence, line={"dash": "dot", "color": COLORS[0]})
    figure.update_xaxes(title="recall", range=[0, 1.01])
    figure.update_yaxes(title="precision", range=[0, 1.02])
    return figure.update_layout(
        height=420, template="plotly_white", margin={"t": 20, "r": 10}, legend={"orientation": "h", "y": -0.2}
    )


def plot_calibration(fraud_scores: pl.DataFrame) -> go.Figure:
    """Predicted against observed share of fraud on log axes.

    Each bin holds half of the events that the bins below it left: the lower half, the next quarter, and so on
    to the top scores. A bin without any fraud has no logarithm and is drawn at half an event, as a hollow
    point.

    Args:
        fraud_scores: as in `plot_precision_recall`.
    """
    figure = go.Figure()
    smallest = 1.0
    for model, color, label_M, score_M in _curves(fraud_scores):
        order = np.argsort(score_M, kind="stable")
        bins = [part for part in np.array_split(order, _tail_cuts(len(order))) if len(part)]
        predicted = np.array([score_M[part].mean() for part in bins]).clip(_SMALLEST)
        frauds, sizes = (
            np.array([label_M[part].sum() for part in bins]),
            np.array([len(part) for part in bins]),
        )
        observed = np.where(frauds > 0, frauds, 0.5) / sizes
        figure.add_scatter(
            x=predicted.tolist(), y=observed.tolist(), name=model, mode="lines+markers",
            line={"color": color, "width": 1.5},
            marker={"symbol": np.where(frauds > 0, "circle", "circle-open").tolist(), "size": 7},
            text=[f"{fraud:,} of {size:,}" for fraud, size in zip(frauds.astype(int), sizes, strict=True)],
            hovertemplate="predicted %{x:.4f}<br>observed %{y:.4f} (%{text})",
        )  # fmt: skip
        smallest = min(smallest, float(predicted.min()), float(observed.min()))
    if not figure.data:
        return figure.update_layout(title="No labelled scores with both classes in the test window")
    line = {"dash": "dot", "color": COLORS[0]}
    figure.add_scatter(x=[smallest, 1], y=[smallest, 1], mode="lines", line=line, name="perfect", hoverinfo="skip")
    figure.update_xaxes(title="predicted probability", type="log", dtick=1, exponentformat="power")
    figure.update_yaxes(title="observed share", type="log", dtick=1, exponentformat="power")
    return figure.update_layout(
        height=420, template="plotly_white", margin={"t": 20, "r": 10}, legend={"orientation": "h", "y": -0.2}
    )


def _tail_cuts(num: int) -> list[int]:
    """Cuts that halve the rest again and again: fraud is rare, so the top scores need the small bins."""
    return [num - int(num * 0.5**power) for power in range(1, _NUM_BINS) if num * 0.5**power >= 8]


def _curves(fraud_scores: pl.DataFrame) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    if fraud_scores.is_empty():
        return
    test = fraud_scores.filter((pl.col("split") == "test") & pl.col("label").is_not_null())
    for place, model in enumerate(order_models(test["model"].unique())):
        rows = test.filter(model=model)
        rows = rows.filter(pl.col("seed").eq_missing(rows["seed"].min()))
        label_M = rows["label"].to_numpy()
        if 0 < label_M.sum() < len(label_M):
            yield model, COLORS[place % len(COLORS)], label_M, rows["score"].to_numpy().astype(np.float64)


def _spread(recall: np.ndarray) -> np.ndarray:
    """Positions to show, even in recall: even in rank, few would fall on the top scores that matter."""
    even = np.searchsorted(-recall, -np.linspace(1, 0, _MAX_POINTS))
    return np.unique(np.minimum(even, len(recall) - 1))
