"""Users as points: the two directions in which their embeddings differ most."""

import numpy as np
import plotly.graph_objects as go
import polars as pl
from sklearn.decomposition import PCA

_MAX_POINTS = 3000  # more overlap on a screen and make the page heavy


def plot_user_map(user_embeddings: pl.DataFrame, seed: int) -> go.Figure:
    """Principal components of the user embeddings, coloured by the length of the history.

    The points carry no user ids: a page that is passed on must not say who is who.

    Args:
        user_embeddings: embedding (Array(Float32, D)) and num_events per user.
        seed: of the draw when there are more users than can be shown.
    """
    with_history = user_embeddings.filter(pl.col("num_events") > 0)
    if len(with_history) < 3 or with_history["embedding"].dtype.shape[0] < 2:
        return go.Figure().update_layout(title="Fewer than three users with a history: no map")
    vectors_UD = with_history["embedding"].to_numpy().astype(np.float64)
    if not vectors_UD.var(axis=0).any():
        return go.Figure().update_layout(title="All users have the same embedding: no map")
    components = PCA(n_components=2, svd_solver="full").fit(vectors_UD)
    chosen = np.arange(len(vectors_UD))
    if len(chosen) > _MAX_POINTS:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, _MAX_POINTS, replace=False))
    # The sign of a component is arbitrary: the largest loading is made positive, to compare runs.
    signs_2 = np.sign(components.components_[np.arange(2), np.abs(components.components_).argmax(axis=1)])
    points_U2 = (components.transform(vectors_UD[chosen]) * signs_2).round(4)
    num_events = with_history["num_events"].gather(chosen).to_numpy()
    shares = components.explained_variance_ratio_
    ticks = [
        n for n in (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 100_000) if num_events.min() <= n <= num_events.max()
    ]
    colorbar = {
        "title": {"text": "events", "side": "right"},
        "thickness": 12,
        "tickvals": np.log10(ticks).tolist(),
        "ticktext": ticks,
    }
    figure = go.Figure(
        go.Scattergl(
            x=points_U2[:, 0].tolist(), y=points_U2[:, 1].tolist(), mode="markers", text=num_events.tolist(),
            marker={"size": 5, "opacity": 0.7, "color": np.log10(num_events).round(3).tolist(),
                    "colorscale": "Viridis", "colorbar": colorbar},
            hovertemplate="%{text} events<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(title=f"component 1 ({shares[0]:.0%} of the variance)", zeroline=False)
    figure.update_yaxes(title=f"component 2 ({shares[1]:.0%})", zeroline=False)
    return figure.update_layout(height=520, template="plotly_white", margin={"t": 20, "r": 10})
