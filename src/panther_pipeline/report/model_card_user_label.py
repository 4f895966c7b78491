"""The card's section on labels of users; every text is escaped."""

from html import escape
from typing import Any

from panther_pipeline.metrics.records import find_value
from panther_pipeline.metrics.user_label import CONSTANT, METRICS, TASK, USER_LABEL_MODELS
from panther_pipeline.report.model_card_tables import difference_table, metric_table, number, table


def user_label_section(metrics: list[dict[str, Any]]) -> str:
    """Table of models, paired differences and what the draw of the folds changes, as HTML."""
    records = [r for r in metrics if r["task"] == TASK]
    if not records:
        return '<p class="soft">Not measured: this ledger has no labels of users, or too few of one class.</p>'
    share, first = find_value(records, model=CONSTANT, metric="average_precision"), records[0]
    positives = f", {share['value']:.1%} of them positive" if share else ""
    judged = "Each judged by models of other users" if first["split"] == "out_of_fold" else "Later than those fitted on"
    caption = (
        f"{first['n']:,} labels{positives}. {judged}; scores averaged over {first['seeds']} "
        f"{'draw' if first['seeds'] == 1 else 'draws'} of the folds; 95 % intervals over users; the best of each column in "
        "colour. constant: the share of positives for everybody."
    )
    numbers = metric_table(records, USER_LABEL_MODELS, list(METRICS), caption)
    return numbers + difference_table(metrics, TASK) + _repeats(records)


def _repeats(records: list[dict[str, Any]]) -> str:
    """Mean and spread of the metrics of a single draw; an empty text when there was one only."""
    rows = []
    for model in USER_LABEL_MODELS:
        found = [
            (
                find_value(records, model=model, metric=f"{m}_repeat_mean"),
                find_value(records, model=model, metric=f"{m}_repeat_std"),
            )
            for m in METRICS
        ]
        if all(mean and std for mean, std in found):
            rows.append([escape(model), *(f"{number(mean['value'])} ± {number(std['value'])}" for mean, std in found)])
    caption = "One draw of the folds alone: mean and standard deviation over draws."
    return table(["model", *METRICS], rows, caption=caption) if rows else ""
