"""The training curves as one interactive figure."""

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

_PANELS = {
    "Loss (nats per event)": [
        "train_next_token_loss",
        "train_sampled_token_loss",
        "train_next_tuple_loss",
        "train_all_action_loss",
        "train_attribute_loss",
        "valid_nll",
    ],
    "Validation hit rate": ["valid_hr@1", "valid_hr@10"],
    "Contrastive loss": ["train_contrastive_loss"],
    "Learning rate": ["learning_rate"],
}


def plot_training_curves(training_curves: pl.DataFrame) -> go.Figure:
    """Losses, hit rates and learning rate over the optimizer steps.

    Args:
        training_curves: step, metric, value; metrics that did not occur (no validation, no profiles) leave no
        panel.
    """
    present = set(training_curves["metric"].unique())
    panels = {title: [name for name in names if name in present] for title, names in _PANELS.items()}
    panels = {title: names for title, names in panels.items() if names}
    figure = make_subplots(rows=1, cols=max(1, len(panels)), subplot_titles=list(panels))
    for column, names in enumerate(panels.values(), start=1):
        for name in names:
            curve = training_curves.filter(pl.col("metric") == name).sort("step")
            figure.add_scatter(x=curve["step"].to_list(), y=curve["value"].to_list(), name=name, row=1, col=column)
        figure.update_xaxes(title_text="step", row=1, col=column)
    return figure.update_layout(title="Pretraining", template="plotly_white", legend={"orientation": "h", "y": -0.25})
