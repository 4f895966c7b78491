"""What the validation curve says about a training: where it was best, and whether it had come to its end."""

from typing import Any

import polars as pl

# Share of the loss. A cosine schedule ends flat, so nearly every last look is the best; by less than this it is noise.
NOTICEABLE = 0.001


def describe_validation(curves: pl.DataFrame) -> dict[str, Any]:
    """Best look, last gain, and whether more steps would have helped.

    Args:
        curves: step, metric, value of one training.

    Returns:
        best_step, best_valid_nll and the hit rates of that look; last_gain, the nats that the last look gained over the
        best before it (negative: it lost); still_improving, whether that is noticeable. All None where validation was
        not looked at; the last two None after a single look.
    """
    looks = curves.filter(pl.col("metric") == "valid_nll").sort("step")
    if looks.is_empty():
        return dict.fromkeys(
            ["best_step", "best_valid_nll", "best_valid_hr@1", "best_valid_hr@10", "last_gain", "still_improving"]
        )
    best_step, best = looks.sort("value", "step").select("step", "value").row(0)
    at_best = dict(curves.filter(pl.col("step") == best_step).select("metric", "value").iter_rows())
    gain = looks["value"][:-1].min() - looks["value"][-1] if len(looks) > 1 else None
    return {
        "best_step": best_step,
        "best_valid_nll": best,
        "best_valid_hr@1": at_best.get("valid_hr@1"),
        "best_valid_hr@10": at_best.get("valid_hr@10"),
        "last_gain": gain,
        "still_improving": None if gain is None else gain > NOTICEABLE * abs(best),
    }
