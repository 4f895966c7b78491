"""The card's section on the next value of each attribute; every text is escaped."""

from html import escape
from typing import Any

from panther_pipeline.metrics.records import find_value
from panther_pipeline.report.model_card_tables import difference_table, ranking_table

Record = dict[str, Any]


def next_value_section(metrics: list[Record]) -> str:
    """A table per attribute, users without training events apart, and the differences, as HTML."""
    tasks = dict.fromkeys(r["task"] for r in metrics if r["task"].startswith("next_"))
    parts = [_attribute(metrics, task) for task in tasks if task != "next_transaction"]
    return "".join(parts) or '<p class="soft">Not measured: finetuning.next_value.attributes names none.</p>'


def _attribute(metrics: list[Record], task: str) -> str:
    parts = [f"<h3>{escape(task.removeprefix('next_').replace('_', ' ').capitalize())}</h3>"]
    coverage = find_value(metrics, task=task, metric="coverage", split="test")
    if coverage is not None:
        share = f"{coverage['value']:.2%}"
        parts.append(f"<p>{share} of the transactions have a value that training knew: no model can hit more.</p>")
    parts.append(ranking_table(metrics, "test", task))
    if cold := ranking_table(metrics, "test_cold", task):
        parts.append(f"<h4>Users without training events</h4>{cold}")
    return "".join([*parts, difference_table(metrics, task)])
