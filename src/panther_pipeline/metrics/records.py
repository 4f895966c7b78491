"""The one shape of a metric: a flat record, as `metrics.json` keeps it."""

import math
from typing import Any

from panther_pipeline.errors import PantherError

FIELDS = ("task", "model", "metric", "split", "value", "low", "high", "n", "seeds", "candidates")


def make_record(
    *,
    task: str,
    model: str,
    metric: str,
    split: str,
    value: float,
    low: float | None,
    high: float | None,
    n: int,
    seeds: int = 1,
    candidates: str | None = None,
) -> dict[str, Any]:
    """One measured number with its 95 % interval.

    Args:
        task: next_transaction, fraud, user_label or merchant_risk.
        model: which predictor.
        metric: for example hr@1 or average_precision.
        split: for example test or test_cold.
        value: the number.
        low: lower end of the interval; None where none can be given, for example with a single user.
        high: upper end of the interval.
        n: how many events the number is over.
        seeds: over how many training seeds it was averaged.
        candidates: among what something was ranked; numbers of different candidates are not comparable. None where
            nothing was.

    Raises:
        PantherError: a number that is not finite; the message names the record.
    """
    numbers = {"value": value, "low": low, "high": high}
    broken = [name for name, number in numbers.items() if number is not None and not math.isfinite(number)]
    if broken:
        raise PantherError(
            f"metric {task}/{model}/{metric}/{split}: {', '.join(broken)} is not finite. "
            "A metric that cannot be computed is left out, not written as NaN."
        )
    rounded = {name: None if number is None else float(number) for name, number in numbers.items()}
    return {
        "task": task,
        "model": model,
        "metric": metric,
        "split": split,
        **rounded,
        "n": int(n),
        "seeds": int(seeds),
        "candidates": candidates,
    }


def find_value(records: list[dict[str, Any]], **wanted: Any) -> dict[str, Any] | None:
    """The first record whose fields equal `wanted`, or None."""
    return next((r for r in records if all(r[key] == value for key, value in wanted.items())), None)
