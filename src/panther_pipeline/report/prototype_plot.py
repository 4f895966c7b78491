"""Heat maps of prototypes: tokens or motifs as rows, with buttons for what the attention is compared with."""

from html import escape

import numpy as np
import plotly.graph_objects as go
import polars as pl
from scipy.cluster.hierarchy import leaves_list, linkage

_ROW_PX, _LONGEST_NAME = 17, 92
_FEWEST = 1e-6  # attention below this is nothing; it keeps the logarithm finite
# Grey to white: less than usual, which is what most cells are. Only what gets more is in colour.
_COLORS = [[0, "#b9c4d4"], [0.5, "#f7f7f7"], [0.67, "#fbc9a8"], [0.84, "#e2624a"], [1, "#8e0d25"]]


def plot_token_prototypes(prototype_weights: pl.DataFrame, num_tokens: int) -> go.Figure:
    """The tokens seen most often, by frequency.

    Args:
        prototype_weights: from `tabulate_prototype_weights`; without rows the figure says so.
        num_tokens: rows.
    """
    if prototype_weights.is_empty():
        return _say("This backbone has no prototypes")
    tokens = prototype_weights.filter(length=1)
    if tokens.is_empty():
        return _say("No token was seen often enough")
    shown = tokens["last_token_id"].unique(maintain_order=True).head(num_tokens)
    weight_GK, rows = _widen(tokens.filter(pl.col("last_token_id").is_in(shown.implode())))
    every_K = prototype_weights.filter(length=0)["weight"].to_numpy()
    num_prototypes = weight_GK.shape[1]
    views = {"mean of all events": weight_GK / _at_least(every_K), "even attention": weight_GK * num_prototypes}
    return _heat_map(views, rows)


def plot_motif_prototypes(prototype_weights: pl.DataFrame) -> go.Figure:
    """The motifs, alike ones side by side; the attention is that of the motif's last event.

    The third view compares it with all events of the same last token: what the motif adds to where it ends.

    Args:
        prototype_weights: from `tabulate_prototype_weights`; without motifs the figure says so.
    """
    if prototype_weights.is_empty():
        return _say("This backbone has no prototypes")
    motifs = prototype_weights.filter(pl.col("length") > 1)
    if motifs.is_empty():
        return _say("No motif recurs often enough")
    weight_GK, rows = _widen(motifs)
    every_K = prototype_weights.filter(length=0)["weight"].to_numpy()
    order = _alike_together(weight_GK / _at_least(every_K))
    weight_GK, rows = weight_GK[order], rows[order.tolist()]
    token_VK, tokens = _widen(prototype_weights.filter(length=1))
    row_of = {token: row for row, token in enumerate(tokens["last_token_id"])}
    last_GK = token_VK[[row_of[token] for token in rows["last_token_id"]]]
    views = {
        "mean of all events": weight_GK / _at_least(every_K),
        "events of its last token": weight_GK / _at_least(last_GK),
        "even attention": weight_GK * weight_GK.shape[1],
    }
    return _heat_map(views, rows)


def _widen(patterns: pl.DataFrame) -> tuple[np.ndarray, pl.DataFrame]:
    """Weights (G, K) of the patterns in their order, and one row about each."""
    num_prototypes = patterns["prototype"].n_unique()
    rows = patterns.gather_every(num_prototypes).select("pattern", "last_token_id", "lift", "num_events")
    return patterns["weight"].to_numpy().astype(np.float64).reshape(-1, num_prototypes), rows


def _alike_together(ratio_GK: np.ndarray) -> np.ndarray:
    """Order of the rows in which those that attend alike are neighbours."""
    if len(ratio_GK) < 3:
        return np.arange(len(ratio_GK))
    return leaves_list(linkage(np.log(_at_least(ratio_GK)), "average", optimal_ordering=True))


def _heat_map(views: dict[str, np.ndarray], rows: pl.DataFrame) -> go.Figure:
    """One heat map; a button for each view puts its numbers in. The hover names all of them.

    Prototypes have no order of their own: they are sorted by the row that stands out most, so that prototypes of the
    same behaviour stand side by side and blocks run down the diagonal.
    """
    first = next(iter(views.values()))
    order = np.lexsort((-first.max(axis=0), first.argmax(axis=0)))
    about = [_describe_row(row) for row in rows.iter_rows(named=True)]
    texts = [[_describe_cell(text, views, g, k) for k in order] for g, text in enumerate(about)]
    shown = {f"× {name}": np.log2(_at_least(ratio_GK[:, order])).round(2).tolist() for name, ratio_GK in views.items()}
    title, z = next(iter(shown.items()))
    figure = go.Figure(
        go.Heatmap(
            z=z, x=[f"p{k}" for k in order], y=list(range(len(rows))), text=texts,
            hovertemplate="prototype %{x}<br>%{text}<extra></extra>", colorscale=_COLORS, zmid=0, zmin=-3, zmax=3,
            colorbar={"title": {"text": title, "side": "right"}, "thickness": 12, "tickvals": list(range(-3, 4)),
                      "ticktext": ["≤ ⅛", "¼", "½", "1", "2", "4", "≥ 8"]},
        )
    )  # fmt: skip
    buttons = [
        {"label": title, "method": "restyle", "args": [{"z": [z], "colorbar.title.text": title}]}
        for title, z in shown.items()
    ]
    # Rows are numbered and the names are labels: two names cut to the same text stay two rows.
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=[escape(_cut(name)) for name in rows["pattern"]],
        autorange="reversed", automargin=True, tickfont_size=10, showgrid=False,
    )  # fmt: skip
    figure.update_xaxes(title="prototype", tickfont_size=9, showgrid=False)
    menu = {"type": "buttons", "direction": "right", "buttons": buttons, "x": 0, "xanchor": "left", "y": 1,
            "yanchor": "bottom", "pad": {"b": 8}, "font": {"size": 11}}  # fmt: skip
    return figure.update_layout(
        height=170 + _ROW_PX * len(rows), template="plotly_white", margin={"t": 50, "r": 10}, updatemenus=[menu]
    )


def _describe_row(row: dict) -> str:
    follows = "" if row["lift"] is None else f"<br>in training {row['lift']:.1f} × as often as in shuffled histories"
    return f"{escape(row['pattern'])}<br>{row['num_events']:,} events{follows}"


def _describe_cell(about: str, views: dict[str, np.ndarray], g: int, k: int) -> str:
    return about + "".join(f"<br>{ratio_GK[g, k]:.2f} × {name}" for name, ratio_GK in views.items())


def _cut(name: str) -> str:
    """A long name without its middle: where a motif ends counts most."""
    half = _LONGEST_NAME // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[:half]}…{name[-half + 1 :]}"


def _at_least(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, _FEWEST)


def _say(text: str) -> go.Figure:
    return go.Figure().update_layout(title=text, height=120, xaxis_visible=False, yaxis_visible=False)
