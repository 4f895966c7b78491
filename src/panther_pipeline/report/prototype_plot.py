"""Heat map of prototypes and tokens."""

from html import escape

import numpy as np
import plotly.graph_objects as go
import polars as pl

_ROW_PX, _LONGEST_NAME = 17, 44


def plot_prototypes(prototype_weights: pl.DataFrame) -> go.Figure:
    """One row per token, one column per prototype; the colour is the weight relative to even attention.

    Prototypes have no order of their own: they are sorted by the token that attends to them most, so that
    prototypes of the same behaviour stand side by side.

    Args:
        prototype_weights: from `tabulate_prototype_weights`; without rows the figure is empty.
    """
    if prototype_weights.is_empty():
        return go.Figure().update_layout(title="This backbone has no prototypes")
    wide = prototype_weights.pivot(on="prototype", index=["token_id", "token"], values="weight", maintain_order=True)
    names = [escape(name) for name in wide["token"]]
    prototypes = wide.columns[2:]
    ratio = wide.select(prototypes).to_numpy() * len(prototypes)
    order = np.lexsort((-ratio.max(axis=0), ratio.argmax(axis=0)))
    figure = go.Figure(
        go.Heatmap(
            z=ratio[:, order].round(3).tolist(), x=[f"p{prototypes[i]}" for i in order],
            y=list(range(len(names))),
            customdata=[[name] * len(order) for name in names], colorscale="Viridis", zmin=0,
            colorbar={"title": {"text": "× even", "side": "right"}, "thickness": 12},
            hovertemplate="%{customdata}<br>prototype %{x}: %{z:.2f} × even attention<extra></extra>",
        )
    )  # fmt: skip
    ticks = [name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…" for name in names]
    # Rows are numbered and the names are labels: two names cut to the same text stay two rows.
    figure.update_yaxes(
        tickvals=list(range(len(ticks))),
        ticktext=ticks,
        autorange="reversed",
        automargin=True,
        tickfont_size=10,
    )
    figure.update_xaxes(title="prototype", tickfont_size=9, showgrid=False)
    return figure.update_layout(height=140 + _ROW_PX * len(names), template="plotly_white", margin={"t": 20, "r": 10})
