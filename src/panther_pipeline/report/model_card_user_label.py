"""The card's section on labels of users; every text is escaped."""

from html import escape
from typing import Any

from panther_pipeline.metrics.records import find_value
from panther_pipeline.metrics.user_label import CONSTANT, METRICS, OUT_OF_FOLD, TASK, USER_LABEL_MODELS
from panther_pipeline.report.model_card_tables import difference_table, metric_table, number, table


def user_label_section(metrics: list[dict[str, Any]]) -> str:
    """Table of models, paired differences and what the draw of the folds changes, as HTML."""
    records = [r for r in metrics if r["task"] == TASK]
    if not records:
        return '<p class="soft">Not measured: this ledger has no labels of users, or too few of one class.</p>'
    share, first = find_value(records, model=CONSTANT, metric="average_precision"), records[0]
    positives = f", {share['value']:.1%} of them positive" if share else ""
    folds = f"each scored by models of other users, the mean over {first['seeds']} draws of the folds"
    judged = folds if first["split"] == OUT_OF_FOLD else "later than those fitted on"
    caption = (
        f"{first['n']:,} labels{positives}, {judged}; 95 % intervals over users; the best of each column in colour. "
        "constant: the share of positives among the judged labels, for everybody; nobody knows it beforehand."
    )
    numbers = metric_table(records, USER_LABEL_MODELS, list(METRICS), caption)
    return numbers + difference_table(metrics, TASK) + _repeats(records)


def _repeats(records: list[dict[str, Any]]) -> str:
    """Mean and spread of the metrics of a single draw; an empty text when there was one only."""
    rows = [
        [escape(model), *(_mean_and_spread(records, model, metric) for metric in METRICS)]
        for model in USER_LABEL_MODELS
        if find_value(records, model=model, metric="brier_repeat_mean")
    ]
    caption = "One draw of the folds alone: mean and standard deviation over draws."
    return table(["model", *METRICS], rows, caption=caption) if rows else ""


def _mean_and_spread(records: list[dict[str, Any]], model: str, metric: str) -> str:
    mean = find_value(records, model=model, metric=f"{metric}_repeat_mean")
    spread = find_value(records, model=model, metric=f"{metric}_repeat_std")
    return f"{number(mean['value'])} ± {number(spread['value'])}" if mean and spread else "–"
