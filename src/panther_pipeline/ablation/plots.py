"""The results as interactive figures: every model with its seeds and interval, and how each was trained."""

from itertools import cycle
from typing import Any

import plotly.graph_objects as go
import polars as pl
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from panther_pipeline.metrics.records import find_value

_METRICS = {"hr@1": "HR@1", "hr@10": "HR@10", "ndcg@10": "NDCG@10", "nll": "nll (less is better)"}
_ROW_PX = 28


def plot_ablation(results: dict[str, Any]) -> go.Figure:
    """One row per model, one panel per metric: mean over seeds, 95 % interval over users, a point per seed.

    The dotted line is the reference. Models without learned weights come first; they have no nll.

    Args:
        results: from `collect_results`.
    """
    models = list(dict.fromkeys(record["model"] for record in results["metrics"]))
    figure = make_subplots(
        rows=1, cols=len(_METRICS), subplot_titles=list(_METRICS.values()), shared_yaxes=True, horizontal_spacing=0.02
    )
    for column, metric in enumerate(_METRICS, start=1):
        found = [(model, find_value(results["metrics"], model=model, metric=metric)) for model in models]
        known = [(model, record) for model, record in found if record is not None]
        _add_panel(figure, column, known)
        reference = dict(known)[results["facts"]["reference"]]
        figure.add_vline(x=reference["value"], line={"dash": "dot", "color": "grey"}, row=1, col=column)
    figure.update_yaxes(categoryorder="array", categoryarray=models[::-1])
    facts = results["facts"]
    return figure.update_layout(
        title=f"Ablation: {facts['ledger']}, {facts['split']}, {facts['num_targets']:,} targets",
        template="plotly_white", height=160 + _ROW_PX * len(models), showlegend=False,
    )  # fmt: skip


def _add_panel(figure: go.Figure, column: int, known: list[tuple[str, dict[str, Any]]]) -> None:
    models, records = [model for model, _ in known], [record for _, record in known]
    values = [record["value"] for record in records]
    figure.add_scatter(
        x=values, y=models, mode="markers", name="mean", marker={"color": "black", "size": 8}, row=1, col=column,
        error_x={
            "type": "data", "symmetric": False,
            "array": [(r["value"] if r["high"] is None else r["high"]) - r["value"] for r in records],
            "arrayminus": [r["value"] - (r["value"] if r["low"] is None else r["low"]) for r in records],
        },
    )  # fmt: skip
    seeds = [(model, value) for model, record in known for value in record["seed_values"] if record["seeds"] > 1]
    figure.add_scatter(
        x=[value for _, value in seeds], y=[model for model, _ in seeds], mode="markers", name="seed",
        marker={"color": "rgba(220,80,40,0.7)", "size": 6, "symbol": "line-ns-open"}, row=1, col=column,
    )  # fmt: skip


def plot_ablation_curves(curves: pl.DataFrame) -> go.Figure:
    """Loss over the steps, a line per variant and seed; a click on a name hides the others' or its own.

    On validation; on training batches where the ledger leaves no events to validation.

    Args:
        curves: variant, seed, step, metric, value.
    """
    figure = go.Figure()
    is_validated = "valid_nll" in curves["metric"]
    looks = curves.filter(pl.col("metric") == ("valid_nll" if is_validated else "train_loss")).sort("step")
    colours = dict(zip(looks["variant"].unique(maintain_order=True), cycle(qualitative.Dark24), strict=False))
    for (variant, seed), curve in looks.group_by("variant", "seed", maintain_order=True):
        figure.add_scatter(
            x=curve["step"].to_list(), y=curve["value"].to_list(), name=variant, legendgroup=variant,
            showlegend=seed == looks.filter(variant=variant)["seed"].min(),
            line={"color": colours[variant]},
            hovertemplate=f"{variant}, seed {seed}: %{{y:.4f}} at %{{x}}<extra></extra>",
        )  # fmt: skip
    return figure.update_layout(
        title="Validation while training" if is_validated else "Training loss; there are no validation events",
        template="plotly_white",
        xaxis_title="step", yaxis_title="nats per event",
    )  # fmt: skip
