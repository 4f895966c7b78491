"""Prequential metrics as Markdown: what was refitted when, what it gave week by week, how sure the differences are."""

from typing import Any

from panther_pipeline.metrics.fraud import order_models
from panther_pipeline.metrics.records import find_value
from panther_pipeline.scoring.scores import AGED
from panther_pipeline.scoring.shifts import Shift

Record = dict[str, Any]
_METRICS = ("average_precision", "roc_auc", "recall@0.1%", "recall@1%", "card_precision@100", "brier")
_DIFFERENCE = "_difference_vs_"
_TITLE = "# Fraud over time"
_NOTE = (
    f"A model named `…{AGED}` was fitted at the first shift that could be fitted, and never since; tokenizer and "
    "backbone never were. The mean is over the shifts, the first among them, where a model and its aged self are one. "
    "In brackets the 95 % interval (bootstrap over users, the same ones in all shifts); a difference is **bold** where "
    "it excludes 0."
)


def render_prequential_table(
    metrics: list[Record], shifts: list[Shift], seeds: list[int], run_facts: dict[str, str]
) -> str:
    """A page that can be committed as it is.

    Args:
        metrics: from `measure_shifts`.
        shifts: from `plan_shifts`.
        seeds: of each fit.
        run_facts: from `describe_run`.
    """
    if not metrics:
        return f"{_TITLE}\n\nNothing was measured: no shift has labels of both classes to fit on and to judge by.\n"
    blocks = [_TITLE, _facts(shifts, seeds, run_facts), _shift_table(metrics, shifts), _NOTE]
    compared = dict.fromkeys(r["metric"].partition(_DIFFERENCE)[0] for r in metrics if _DIFFERENCE in r["metric"])
    present = {record["metric"] for record in metrics}
    blocks += [f"## {metric}\n\n{_metric_table(metrics, metric)}" for metric in _METRICS if metric in present]
    blocks += [f"## {metric}, differences\n\n{_difference_table(metrics, metric)}" for metric in compared]
    return "\n\n".join(blocks) + "\n"


def _facts(shifts: list[Shift], seeds: list[int], run_facts: dict[str, str]) -> str:
    lines = [
        f"commit {run_facts['commit']}",
        f"data {run_facts['data fingerprint']}, tokenizer {run_facts['tokenizer']}, backbone {run_facts['backbone']}",
        f"tokenizer and backbone learnt from events before {_day(shifts[0].splits.train_end)}",
        f"{len(shifts)} shifts; one fit per shift, model and seed ({', '.join(map(str, seeds))})",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _shift_table(metrics: list[Record], shifts: list[Shift]) -> str:
    """When each shift was, and how many events it judged."""
    judged = {record["split"]: f"{record['n']:,}" for record in metrics}
    rows = [
        [shift.name, _day(shift.splits.valid_end), _day(shift.splits.test_end), judged.get(shift.name, "not measured")]
        for shift in shifts
    ]
    return _table(["shift", "labels known before", "judged until", "events judged"], rows)


def _metric_table(metrics: list[Record], metric: str) -> str:
    """One row per model, one column per shift and one for their mean."""
    splits = _splits(metrics)
    models = order_models(record["model"] for record in metrics)
    rows = [
        [model, *(_cell(find_value(metrics, model=model, metric=metric, split=split), ".4f") for split in splits)]
        for model in models
    ]
    return _table(["model", *splits], rows)


def _difference_table(metrics: list[Record], metric: str) -> str:
    splits = _splits(metrics)
    pairs = dict.fromkeys(
        (record["model"], record["metric"]) for record in metrics if record["metric"].startswith(metric + _DIFFERENCE)
    )
    rows = []
    for model, name in pairs:
        cells = (_cell(find_value(metrics, model=model, metric=name, split=split), "+.4f") for split in splits)
        rows.append([f"{model} − {name.partition(_DIFFERENCE)[2]}", *cells])
    return _table(["difference", *splits], rows)


def _cell(record: Record | None, form: str) -> str:
    if record is None:
        return ""
    low, high = record["low"], record["high"]
    text = f"{record['value']:{form}}" + ("" if low is None else f"<br>[{low:{form}}, {high:{form}}]")
    is_clear = _DIFFERENCE in record["metric"] and low is not None and (low > 0 or high < 0)
    return f"**{text}**" if is_clear else text


def _splits(metrics: list[Record]) -> list[str]:
    """In the order of time, the mean last: as `measure_shifts` lists them."""
    return list(dict.fromkeys(record["split"] for record in metrics))


def _day(instant: str) -> str:
    return instant[:10]


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
