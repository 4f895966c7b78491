"""Each prototype in one line: how much attention it gets, whether it tells events apart, what attends to it most."""

from typing import Any

import polars as pl

# Attention below a tenth of even: what such a prototype holds hardly reaches any event.
_HARDLY_USED = 0.1
# A pattern is near a prototype from here on; below, the difference does not show in one decimal.
_NEAR = 1.1
# Deviation below a tenth of the mean: it gets the same from whatever happens, a constant and no pattern.
_SAME_FOR_ALL = 0.1


def summarise_prototypes(prototype_weights: pl.DataFrame, num_nearest: int) -> list[dict[str, Any]]:
    """The nearest tokens and motifs of each prototype, the prototype with the highest lift first.

    Args:
        prototype_weights: from `tabulate_prototype_weights`.
        num_nearest: tokens, and motifs, per prototype.

    Returns:
        Per prototype: prototype, share (of all attention), variation (standard deviation of its attention over all
        events, divided by the mean), state ("used", "hardly used" or "same for all events"; the last two are dead),
        tokens and motifs: up to `num_nearest` records {name, lift, num_events}, the nearest first, where lift is the
        mean attention of the pattern's events divided by the mean of all events and at least 1.1. Empty without
        prototypes.
    """
    mean = prototype_weights.filter(length=0).select("prototype", mean="weight", deviation="deviation")
    # What gets nothing from any event has no lift.
    means = mean.select("prototype", "mean").filter(pl.col("mean") > 0)
    with_lift = prototype_weights.filter(pl.col("length") > 0).join(means, on="prototype", maintain_order="left")
    with_lift = with_lift.with_columns(nearness=(pl.col("weight") / pl.col("mean")).cast(pl.Float64))
    records = [
        {
            "prototype": prototype,
            "share": share,
            "variation": deviation / share if share else 0.0,
            "state": _state(share * len(mean), deviation / share if share else 0.0),
            "tokens": _nearest(with_lift.filter(pl.col("length") == 1, prototype=prototype), num_nearest),
            "motifs": _nearest(with_lift.filter(pl.col("length") > 1, prototype=prototype), num_nearest),
        }
        for prototype, share, deviation in mean.rows()
    ]
    return sorted(records, key=_highest_lift, reverse=True)


def _state(share_of_even: float, variation: float) -> str:
    if share_of_even < _HARDLY_USED:
        return "hardly used"
    return "same for all events" if variation < _SAME_FOR_ALL else "used"


def _nearest(patterns: pl.DataFrame, num: int) -> list[dict[str, Any]]:
    above = (
        patterns.filter(pl.col("nearness") >= _NEAR).sort("nearness", descending=True, maintain_order=True).head(num)
    )
    return above.select("num_events", name="pattern", lift="nearness").to_dicts()


def _highest_lift(record: dict[str, Any]) -> float:
    return max([nearest["lift"] for nearest in record["tokens"] + record["motifs"]], default=0.0)
