"""A user's history as points: the higher, the less the model expected what came."""

from html import escape

import plotly.graph_objects as go
import polars as pl

_FRAUD, _LINE = "#c2453d", "#8a94a6"


def plot_timeline(timeline: pl.DataFrame, *, is_timed: bool) -> go.Figure:
    """One point per event, coloured by its surprise; fraud is ringed, the user's mean is the dotted line.

    The figure does not name the user.

    Args:
        timeline: from `tabulate_timeline`; without rows the figure says so.
        is_timed: whether the ledger knows times; else the axis is the order of the events.
    """
    if timeline.is_empty():
        return go.Figure().update_layout(
            title="No timeline: switched off, or no user has two events",
            height=120, xaxis_visible=False, yaxis_visible=False,
        )  # fmt: skip
    # Naive instants: Plotly would show those with a zone in the reader's own.
    x = timeline["event_time"].dt.strftime("%Y-%m-%d %H:%M:%S") if is_timed else timeline["position"] + 1
    bits = timeline["surprise_bits"]
    figure = go.Figure(
        go.Scatter(
            x=x.to_list(), y=bits.round(3).to_list(), mode="markers", name="transaction", showlegend=False,
            marker={"size": 6, "color": bits.round(3).to_list(), "colorscale": "Viridis", "cmin": 0,
                    "colorbar": {"title": {"text": "bits", "side": "right"}, "thickness": 12}},
            text=[_describe(row) for row in timeline.iter_rows(named=True)],
            hovertemplate="%{text}<extra></extra>",
        )
    )  # fmt: skip
    is_fraud = (timeline["label"] == 1).fill_null(False)
    if is_fraud.any():
        figure.add_scatter(
            x=x.filter(is_fraud).to_list(), y=bits.filter(is_fraud).round(3).to_list(), mode="markers",
            name="known fraud", hoverinfo="skip",
            marker={"symbol": "circle-open", "size": 13, "color": _FRAUD, "line": {"width": 2}},
        )  # fmt: skip
    mean = bits.mean()
    figure.add_hline(
        y=mean, line={"dash": "dot", "color": _LINE}, annotation_text=f"mean {mean:.2f} bits",
        annotation_position="top right", annotation_font_color=_LINE,
    )  # fmt: skip
    for at, split in _starts(timeline["split"]):
        figure.add_vline(x=x[at], line={"width": 1 if at else 0, "color": _LINE})
        figure.add_annotation(x=x[at], y=0, yref="paper", yanchor="bottom", xanchor="left", text=split, showarrow=False,
                              font_color=_LINE)  # fmt: skip
    figure.update_xaxes(title="time (UTC)" if is_timed else "event", zeroline=False)
    figure.update_yaxes(title="surprise, −log₂ p (bits)", rangemode="tozero", zeroline=False)
    return figure.update_layout(
        height=440, template="plotly_white", margin={"t": 30, "r": 10}, hovermode="closest",
        legend={"orientation": "h", "y": 1, "yanchor": "bottom"},
    )  # fmt: skip


def _describe(row: dict) -> str:
    rank = "no rank" if row["rank"] is None else f"rank {row['rank']:,}"
    expected = "".join(
        f"<br>{place}. {escape(guess['token'])} {guess['prob']:.1%}"
        for place, guess in enumerate(row["expected"], start=1)
    )
    about = f"{row['surprise_bits']:.2f} bits, {rank} ({row['split']})"
    return f"<b>{escape(row['token'])}</b><br>{about}<br>Expected:{expected}"


def _starts(split: pl.Series) -> list[tuple[int, str]]:
    """Where each split begins, if there are several."""
    changes = [at for at in range(len(split)) if at == 0 or split[at] != split[at - 1]]
    return [(at, split[at]) for at in changes] if len(changes) > 1 else []
