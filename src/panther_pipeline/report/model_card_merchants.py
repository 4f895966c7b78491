"""The card's section on merchant risk: what is flagged and how much of it is right; every text is escaped."""

from typing import Any

from panther_pipeline.metrics.merchant_risk import MERCHANT_MODELS, SPLIT, TASK, UNSUSPECTED
from panther_pipeline.report.model_card_tables import difference_table, metric_table

_MISSING = (
    '<p class="soft">Not measured: this ledger has no counterparties or no labels, is not split by time, or is too '
    "short for windows, horizon and label delay; the log of the run says which.</p>"
)


def merchant_risk_section(metrics: list[dict[str, Any]]) -> str:
    """Tables of all counterparties and of those without a known fraud, and paired differences, as HTML."""
    everyone = _table(metrics, SPLIT)
    if not everyone:
        return _MISSING
    text = (
        "<p>Will there be a fraud at this counterparty soon? precision@ and recall@ are those of the flagged: the top "
        "1 % of all rows, or so many counterparties per instant. no_skill flags at random.</p>"
    )
    unsuspected = _table(metrics, UNSUSPECTED)
    if unsuspected:
        unsuspected = f"<h3>Counterparties without a known fraud</h3>{unsuspected}"
    same = "Same counterparties and instants, same resamples of counterparties."
    return text + everyone + unsuspected + difference_table(metrics, TASK, same)


def _table(metrics: list[dict[str, Any]], split: str) -> str:
    records = [r for r in metrics if r["task"] == TASK and r["split"] == split and "difference" not in r["metric"]]
    if not records:
        return ""
    columns = list(dict.fromkeys(r["metric"] for r in records))
    precisions = [name for name in columns if not name.startswith("recall")]
    recalls = [name for name in columns if name.startswith("recall")]
    caption = (
        f"{records[0]['n']:,} rows, one per counterparty and instant, at their natural prevalence, "
        f"{max(r['seeds'] for r in records)} seeds of the trees; 95 % intervals over counterparties; the best of each "
        "column in colour."
    )
    return metric_table(records, MERCHANT_MODELS, precisions, "") + metric_table(
        records, MERCHANT_MODELS, recalls, caption
    )
