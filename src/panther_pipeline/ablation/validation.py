"""What the validation curve says about a training: where it was best, and whether it had come to its end."""

from typing import Any

import polars as pl

from panther_pipeline.training.config import TrainingConfig

# Share of the loss. A cosine schedule ends flat, so nearly every last look is the best; by less than this it is noise.
NOTICEABLE = 0.001
_METRICS = ("valid_nll", "valid_hr@1", "valid_hr@10")


def describe_validation(curves: pl.DataFrame, config: TrainingConfig) -> dict[str, Any]:
    """Which look was kept, what it saw, and whether more steps would have helped.

    Args:
        curves: step, metric, value of one training.
        config: what makes a look the best one, and whether the best or the last weights are kept.

    Returns:
        kept_step with valid_nll and the hit rates at it; last_gain, the nats that the last look gained over the best
        before it (negative: it lost); still_improving, whether that is noticeable. All None where validation was not
        looked at; the last two None after a single look.
    """
    looks = (
        curves.filter(pl.col("metric").is_in(_METRICS)).pivot(on="metric", index="step", values="value").sort("step")
    )
    if looks.is_empty():
        return dict.fromkeys(["kept_step", *_METRICS, "last_gain", "still_improving"])
    best = f"valid_{config.best_metric}"
    by_merit = looks.sort(best, "step", descending=[config.best_metric != "nll", False])
    kept = by_merit.row(0, named=True) if config.keep == "best" else looks.row(-1, named=True)
    losses = looks["valid_nll"]
    gain = losses[:-1].min() - losses[-1] if len(looks) > 1 else None
    return {
        "kept_step": kept.pop("step"),
        **kept,
        "last_gain": gain,
        "still_improving": None if gain is None else gain > NOTICEABLE * abs(losses.min()),
    }
