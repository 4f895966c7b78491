"""Figure: how few tokens cover how much, and whether that holds as the months go by."""

from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

_MAX_POINTS = 500  # more cannot be told apart on a screen and make the page heavy
_BLUE, _ORANGE, _RED = "#1f77b4", "#ff7f0e", "#d62728"


def plot_coverage(vocabulary: pl.DataFrame, coverage_report: dict[str, Any]) -> go.Figure:
    """Left: cumulative coverage of training events by vocabulary size. Right: back-off and [UNK] per month.

    Args:
        vocabulary: the table of `tabulate_vocabulary`.
        coverage_report: the result of `measure_coverage`.
    """
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=["Coverage of training events", "Rare combinations per month"]
    )
    tokens = vocabulary.filter(pl.col("id") >= 2)
    shown = _spread(len(tokens))
    # A figure reads its texts as HTML; of entities it knows < > & but not quotes.
    texts = [escape(token, quote=False) for token in tokens["token"].gather(shown)]
    figure.add_trace(
        go.Scatter(
            x=(shown + 1).tolist(), y=tokens["cumulative_coverage"].gather(shown).to_list(),
            text=texts, mode="lines+markers", name="cumulative coverage",
            marker={"size": 4}, line={"color": _BLUE}, hovertemplate="%{x} tokens: %{y:.2%}<br>last: %{text}",
        ),
        row=1, col=1,
    )  # fmt: skip
    months = coverage_report["months"]
    lines = [
        ("backed off", [sum(month["backoff_rates"].values()) for month in months], _ORANGE),
        ("[UNK]", [month["unk_rate"] for month in months], _RED),
    ]
    names = [month["month"] for month in months]
    for name, rates, color in lines:
        figure.add_trace(
            go.Scatter(x=names, y=rates, name=name, mode="lines+markers", line={"color": color}), row=1, col=2
        )
    figure.update_xaxes(title_text="tokens kept, most frequent first", type="log", row=1, col=1)
    figure.update_xaxes(title_text="month (UTC)", type="category", row=1, col=2)
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02], row=1, col=1)
    figure.update_yaxes(tickformat=".2%", rangemode="tozero", row=1, col=2)
    figure.update_layout(title=_title(coverage_report), template="plotly_white", hovermode="closest")
    return figure


def _spread(num_tokens: int) -> np.ndarray:
    """Positions to show, evenly spread on the logarithmic axis; the first and the last are among them."""
    if num_tokens <= _MAX_POINTS:
        return np.arange(num_tokens)
    return np.unique(np.geomspace(1, num_tokens, _MAX_POINTS).round().astype(np.int64)) - 1


def _title(report: dict[str, Any]) -> str:
    rates = ", ".join(f"{record['split']} {record['unk_rate']:.2%}" for record in report["splits"])
    sizes = f"{report['vocab_size']} token ids for {report['num_train_tuples']} combinations in training"
    return f"{sizes}; [UNK]: {rates}"
