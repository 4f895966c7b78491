"""The tables of the model card, from metric records; every text is escaped."""

from html import escape
from typing import Any

from panther_pipeline.metrics.distillation import GAP_RECOVERED, PLAIN, STUDENT, TEACHER
from panther_pipeline.metrics.fraud import FRAUD_MODELS, OPTIONAL_HEADS, OPTIONAL_MODELS
from panther_pipeline.metrics.records import find_value

Record = dict[str, Any]

RANKING_METRICS = ["hr@1", "hr@5", "hr@10", "ndcg@10", "mrr"]
RANKING_MODELS = ["popularity", "repeat_last", "personal_frequency", "markov"]
TUPLE_METRICS = ["bits_per_transaction", "tuple_hr@1", "tuple_hr@10"]
TUPLE_MODELS = ["panther_structured", "panther_factored"]  # one of them in a run: the kind of its tokenizer
FRAUD_METRICS = [
    "average_precision",
    "roc_auc",
    "recall@0.01%",
    "recall@0.1%",
    "recall@1%",
    "card_precision@100",
]
LOWER_IS_BETTER = ("brier", "expected_calibration_error", "bits_per_transaction")
_COLUMNS_PER_TABLE = 6  # more do not fit the page with their intervals
_OURS = ("panther", "panther_head", *OPTIONAL_HEADS, *TUPLE_MODELS)


def table(
    head: list[str],
    rows: list[list[str]],
    *,
    caption: str = "",
    ours: list[bool] | None = None,
    num_text: int = 1,
) -> str:
    """A table whose first columns are text, to the left, and whose other columns are numbers, to the right.

    Args:
        head: plain text.
        rows: cells as HTML, already escaped; a cell may be a whole `<td>`.
        caption: HTML below the table.
        ours: which rows are set apart.
        num_text: how many columns are text.
    """
    heads = "".join(f"<th{_align(i, num_text)}>{escape(name)}</th>" for i, name in enumerate(head))
    body = []
    for at, row in enumerate(rows):
        cells = [
            cell if cell.startswith("<td") else f"<td{_align(i, num_text)}>{cell}</td>" for i, cell in enumerate(row)
        ]
        body.append(f"<tr{' class=ours' if ours and ours[at] else ''}>{''.join(cells)}</tr>")
    foot = f"<caption>{caption}</caption>" if caption else ""
    inner = f"{foot}<thead><tr>{heads}</tr></thead><tbody>{''.join(body)}</tbody>"
    return f'<div class="wide"><table>{inner}</table></div>'


def _align(column: int, num_text: int) -> str:
    return " class=n" if column >= num_text else ""


def ranking_table(metrics: list[Record], split: str, task: str = "next_transaction") -> str:
    """Ranking metrics of one task and split, models as rows; an empty text when it was not measured."""
    records = [r for r in metrics if r["task"] == task and r["split"] == split and r["metric"] in RANKING_METRICS]
    if not records:
        return ""
    last = ("panther", "panther_head", "oracle")
    models = _ordered({r["model"] for r in records} - set(last), RANKING_MODELS)
    models += [model for model in last if find_value(records, model=model)]
    num_targets, candidates = records[0]["n"], records[0]["candidates"]
    caption = (
        f"{num_targets:,} transactions, each ranked among {candidates}; below each number its 95 % interval over "
        "users; the highest model in colour."
    )
    return metric_table(records, models, RANKING_METRICS, caption)


def tuple_table(metrics: list[Record], split: str) -> str:
    """The same targets as combinations of attribute values; an empty text when it was not measured."""
    records = [
        r for r in metrics if r["task"] == "next_transaction" and r["split"] == split and r["metric"] in TUPLE_METRICS
    ]
    if not records:
        return ""
    ours = [model for model in TUPLE_MODELS if find_value(records, model=model)]
    models = [*_ordered({r["model"] for r in records} - set(ours), RANKING_MODELS), *ours]
    caption = (
        f"{records[0]['n']:,} transactions, each the combination of all its attribute values; below each number its "
        "95 % interval over users; the best of each column in colour."
    )
    return metric_table(records, models, TUPLE_METRICS, caption)


def fraud_table(metrics: list[Record], split: str = "test") -> str:
    """Fraud metrics of the test window; the rows of the comparison are there even when not measured.

    Of another split than the test window an empty text when not measured.
    """
    records = [
        r for r in metrics
        if r["task"] == "fraud" and r["split"] == split
        and "difference" not in r["metric"] and r["metric"] != GAP_RECOVERED
    ]  # fmt: skip
    if not records and split != "test":
        return ""
    if not records:
        caption = "Not measured: this ledger has no labels, or its test window lacks one of the two classes."
        return metric_table([], FRAUD_MODELS, FRAUD_METRICS, caption)
    models = FRAUD_MODELS + _ordered({r["model"] for r in records} - set(FRAUD_MODELS), OPTIONAL_MODELS)
    columns = _ordered({r["metric"] for r in records}, FRAUD_METRICS)
    fewest, most = min(r["seeds"] for r in records), max(r["seeds"] for r in records)
    seeds = f"{most}" if fewest == most else f"{fewest} to {most}"
    caption = (
        f"{max(r['n'] for r in records):,} labelled transactions at their natural prevalence, {seeds} "
        f"{'seed' if most == 1 else 'seeds'}; 95 % intervals over users; the best of each column in colour."
    )
    parts = [columns[at : at + _COLUMNS_PER_TABLE] for at in range(0, len(columns), _COLUMNS_PER_TABLE)]
    return "".join(metric_table(records, models, part, caption if part is parts[-1] else "") for part in parts)


def metric_table(records: list[Record], models: list[str], columns: list[str], caption: str) -> str:
    """Models × metrics with intervals; – where a number is missing."""
    best = {column: _best(records, models, column) for column in columns}
    rows = [
        [
            escape(model),
            *(_cell(find_value(records, model=model, metric=column), best[column]) for column in columns),
        ]
        for model in models
    ]
    return table(["model", *columns], rows, caption=escape(caption), ours=[model in _OURS for model in models])


def difference_table(
    metrics: list[Record], task: str, same: str = "Same transactions, same resamples of users."
) -> str:
    """Paired differences, one per row; an empty text without any. `same` says what both models share."""
    records = [r for r in metrics if r["task"] == task and "_difference_vs_" in r["metric"]]
    rows = []
    for record in records:
        metric, other = record["metric"].split("_difference_vs_", 1)
        rows.append(
            [f"{escape(record['model'])} − {escape(other)}", escape(metric), escape(record["split"]),
             f"{record['value']:+.4f}",
             f"{record['low']:+.4f} to {record['high']:+.4f}" if record["low"] is not None else "–",
             _verdict(record)]
        )  # fmt: skip
    caption = f"{same} No direction is named when the interval contains 0."
    head = ["difference", "metric", "split", "value", "95 % interval", "the first is"]
    return table(head, rows, caption=caption, num_text=3) if rows else ""


def recovered_gap(metrics: list[Record]) -> str:
    """What the taught head has of its teacher's lead, as a sentence; an empty text when no head was taught."""
    both = [find_value(metrics, task="fraud", split="test", model=m, metric="average_precision")
            for m in (TEACHER, STUDENT)]  # fmt: skip
    if None in both:
        return ""
    share = find_value(metrics, task="fraud", split="test", model=STUDENT, metric=GAP_RECOVERED)
    if share is None:
        return f"<p>{TEACHER} is not ahead of {PLAIN} in average precision: {STUDENT} has nothing to recover.</p>"
    interval = (
        f"95 % interval {share['low']:.0%} to {share['high']:.0%}" if share["low"] is not None
        else f"without an interval, since that of the lead of {TEACHER} reaches 0"
    )  # fmt: skip
    return (
        f"<p>{STUDENT} reads what {PLAIN} reads and was taught by heads of the kind of {TEACHER}, which "
        f"read the history and were fitted on other users. It recovers {share['value']:.0%} of the lead of {TEACHER} "
        f"in average precision ({interval}).</p>"
    )


def number(value: float | None) -> str:
    """Four decimals; counts and money without."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"


def _cell(record: Record | None, best: Record | None) -> str:
    if record is None:
        return '<td class="n soft">–</td>'
    low_high = f"<small>{number(record['low'])} – {number(record['high'])}</small>" if record["low"] is not None else ""
    return f'<td class="n{" best" if record is best else ""}">{number(record["value"])}{low_high}</td>'


def _best(records: list[Record], models: list[str], column: str) -> Record | None:
    found = [r for r in records if r["metric"] == column and r["model"] in models and r["model"] != "oracle"]
    sign = -1 if column in LOWER_IS_BETTER else 1
    return max(found, key=lambda r: sign * r["value"]) if len(found) > 1 else None


def _verdict(record: Record) -> str:
    if record["low"] is None or record["low"] <= 0 <= record["high"]:
        return "not told apart"
    return "higher" if record["low"] > 0 else "lower"


def _ordered(names: set[str], first: list[str]) -> list[str]:
    return [name for name in first if name in names] + sorted(names - set(first))
