"""Which kinds of fraud are caught: models × kinds, from metric records; every text is escaped."""

from html import escape
from typing import Any

from panther_pipeline.metrics.fraud import order_models
from panther_pipeline.metrics.fraud_kinds import BUDGETS, KIND_MARK, SHARE_OF_ORACLE
from panther_pipeline.metrics.fraud_oracle import ORACLE
from panther_pipeline.metrics.records import find_value
from panther_pipeline.report.model_card_tables import number, table

Record = dict[str, Any]

_NOTE = (
    "Recall of each kind of fraud when all transactions compete for so many alerts. Below each number its 95 % "
    "interval over users"
)
_ORACLE_NOTE = (
    ", and the share of what the oracle catches: a detector that knows the process, every user's tastes and the state "
    "of each attack, a ceiling in expectation that no model can reach. With fewer alerts than frauds the oracle "
    "spreads them over the kinds; a model that spends them on one kind may catch more of that one"
)


def is_of_kind(record: Record) -> bool:
    """Whether a fraud metric is of one kind of fraud alone."""
    return KIND_MARK in record["metric"]


def fraud_kind_tables(metrics: list[Record]) -> str:
    """A table for each alert budget; an empty text where no kind is known."""
    records = [r for r in metrics if r["task"] == "fraud" and is_of_kind(r)]
    if not records:
        return ""
    has_oracle = any(r["model"] == ORACLE for r in records)
    tables = "".join(_budget_table(records, budget) for budget in BUDGETS)
    return f"<h3>Kinds of fraud</h3><p>{_NOTE}{_ORACLE_NOTE if has_oracle else ''}.</p>{tables}"


def _budget_table(records: list[Record], budget: str) -> str:
    start = f"{budget}{KIND_MARK}"
    shown = [r for r in records if r["metric"].startswith(start) and not r["metric"].endswith(SHARE_OF_ORACLE)]
    kinds = {r["metric"].removeprefix(start): r["n"] for r in shown}
    models = order_models({r["model"] for r in shown} - {ORACLE})
    models += [ORACLE] if find_value(shown, model=ORACLE) else []
    rows = [[escape(model), *(_cell(records, model, f"{start}{kind}") for kind in kinds)] for model in models]
    head = [budget, *(f"{kind} ({n:,})" for kind, n in kinds.items())]
    return table(head, rows, ours=[model == "panther_head" for model in models])


def _cell(records: list[Record], model: str, metric: str) -> str:
    recall = find_value(records, model=model, metric=metric)
    if recall is None:
        return '<td class="n soft">–</td>'
    notes = [f"{number(recall['low'])} – {number(recall['high'])}"] if recall["low"] is not None else []
    share = find_value(records, model=model, metric=f"{metric}{SHARE_OF_ORACLE}")
    notes += [f"{share['value']:.0%} of the oracle"] if share else []
    return f'<td class="n">{number(recall["value"])}{"".join(f"<small>{note}</small>" for note in notes)}</td>'
