"""Columns that know the label too well: either the label in other words, or something written after it was known.

Each declared attribute, the counterparty and the amount is asked alone to predict the label. What it knows is learnt on
one half of the users (the share of positives per category, or per quantile bin of a number) and judged on the other.
A model that may use such a column looks brilliant until it is used.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.ledger.values import mask_values

MOST_ROWS = 250_000  # labelled rows looked at; of a longer ledger, some users chosen by a hash
TOO_GOOD_AUC = 0.95
RULE_ROWS, RULE_LABEL_SHARE, RULE_POSITIVE_SHARE = 50, 0.99, 0.1  # a value that settles the label for many positives
NUM_BINS = 32
_FEWEST = 10  # positives, and negatives, in each half: an AUC of fewer is noise
_BUCKETS = 1 << 20
_SHOWN_ROWS = 5


def find_label_leaks(accepted: pl.LazyFrame, num_labelled: int, schema: LedgerSchema) -> Iterator[dict[str, Any]]:
    """A finding `label_leak` or `label_rule` for each column that predicts the label too well alone.

    Args:
        accepted: events without a fault.
        num_labelled: how many of them have a label.
        schema: what the columns are.

    Yields:
        {kind, severity: warning, column, statement, count, share, rows}; rows are numbers in the source. label_leak: an
        AUC above TOO_GOOD_AUC. label_rule: one value, or all numbers beyond a threshold, with at least RULE_ROWS rows
        of which RULE_LABEL_SHARE are positive, which hold RULE_POSITIVE_SHARE of all positives.
    """
    kinds = {attribute.name: attribute.kind for attribute in schema.attributes}
    kinds |= {"counterparty": "category"} if schema.counterparty else {}
    kinds |= {"amount_cents": "number"} if schema.amount else {}
    if not kinds or not num_labelled:
        return
    sample = _sample(accepted, num_labelled, list(kinds))
    note = f" (on {sample.height:,} labelled rows" + (
        f", of {num_labelled:,}: a part of the users)" if sample.height < num_labelled else ")"
    )
    for column, kind in kinds.items():
        finding = _judge(sample.select("source_row", "label", "half", value=column), column, kind == "number")
        if finding:
            yield finding | {"statement": finding["statement"] + note}


def _sample(accepted: pl.LazyFrame, num_labelled: int, columns: list[str]) -> pl.DataFrame:
    """Whole users, so that the halves share none."""
    user = pl.col("user_id").hash(seed=7)
    kept = min(_BUCKETS, _BUCKETS * MOST_ROWS // num_labelled)
    rows = accepted.filter(pl.col("label").is_not_null() & (user % _BUCKETS < kept)).head(MOST_ROWS)
    half = pl.col("user_id").hash(seed=8) % 2
    return rows.select("source_row", "label", *columns, half=half.cast(pl.Int8)).collect(engine="streaming")


def _judge(rows: pl.DataFrame, column: str, is_number: bool) -> dict[str, Any] | None:
    auc = _auc(rows, is_number)
    if auc is not None and auc > TOO_GOOD_AUC:
        statement = (
            f"{_called(column)} alone tells positive from negative labels with an AUC of {auc:.3f}: is it the label in "
            "other words, or was it written once the label was known? If so, take it out of ledger.schema and name its "
            "source column in ledger.schema.forbidden"
        )
        return _finding("label_leak", column, statement, rows, pl.lit(True))
    rule = _rule(rows, column, is_number)
    if rule:
        told, where = rule
        found = rows.filter(where)
        positive, all_positive = int(found["label"].sum()), int(rows["label"].sum())
        statement = (
            f"{told}: {positive:,} of {found.height:,} such rows are labelled positive, and they are "
            f"{positive / all_positive:.1%} of all positives. That may be how the ledger is, or how the label was made"
        )
        return _finding("label_rule", column, statement, rows, where)
    return None


def _auc(rows: pl.DataFrame, is_number: bool) -> float | None:
    """How well the column ranks the labels of users it was not learnt on; null where a half has too few of a label."""
    from sklearn.metrics import roc_auc_score

    positives = rows.group_by("half").agg(pl.col("label").sum().cast(pl.Int64), pl.len())
    fewest = positives.select(pl.min_horizontal("label", pl.col("len") - pl.col("label")).min()).item()
    if positives.height < 2 or fewest < _FEWEST:
        return None
    learn = rows.filter(pl.col("half") == 0)
    if is_number:
        edges = learn["value"].drop_nulls().cast(pl.Float64).to_numpy()
        edges = np.unique(np.quantile(edges, np.linspace(0, 1, NUM_BINS + 1)[1:-1])) if len(edges) else edges
        bins = np.searchsorted(edges, rows["value"].cast(pl.Float64).fill_null(0).to_numpy(), "left")
        rows = rows.with_columns(value=pl.when(pl.col("value").is_not_null()).then(pl.Series(bins)))
        learn = rows.filter(pl.col("half") == 0)
    prior = learn["label"].mean()
    per_value = learn.group_by("value").agg(score=(pl.col("label").sum() + prior) / (pl.len() + 1))
    judged = rows.filter(pl.col("half") == 1).join(per_value, on="value", how="left", nulls_equal=True)
    return float(roc_auc_score(judged["label"].to_numpy(), judged["score"].fill_null(prior).to_numpy()))


def _rule(rows: pl.DataFrame, column: str, is_number: bool) -> tuple[str, pl.Expr] | None:
    enough = RULE_POSITIVE_SHARE * int(rows["label"].sum())
    tails = [tail for upper in (True, False) if (tail := _tail(rows, column, upper, enough))] if is_number else []
    if tails:
        return tails[0]
    counted = rows.group_by("value").agg(pl.col("label").sum().cast(pl.Int64), pl.len())
    settled = (pl.col("len") >= RULE_ROWS) & (pl.col("label") >= RULE_LABEL_SHARE * pl.col("len"))
    found = counted.filter(settled & (pl.col("label") >= max(enough, 1))).sort("label", descending=True)
    if found.is_empty():
        return None
    value = found["value"][0]
    if value is None:
        return f"{_called(column)} is empty", pl.col("value").is_null()
    return f"{_called(column)} is {_shown(value, column)}", pl.col("value") == value


def _tail(rows: pl.DataFrame, column: str, upper: bool, enough: float) -> tuple[str, pl.Expr] | None:
    """The longest run of largest (or smallest) numbers that is nearly all positive."""
    per_value = rows.drop_nulls("value").group_by("value").agg(pl.col("label").sum().cast(pl.Int64), pl.len())
    running = per_value.sort("value", descending=upper).with_columns(pl.col("label", "len").cum_sum())
    settled = (pl.col("len") >= RULE_ROWS) & (pl.col("label") >= RULE_LABEL_SHARE * pl.col("len"))
    found = running.filter(settled & (pl.col("label") >= max(enough, 1))).tail(1)
    if found.is_empty() or found["len"][0] == running["len"][-1]:
        return None
    value = found["value"][0]
    where = pl.col("value") >= value if upper else pl.col("value") <= value
    return f"{_called(column)} is {_shown(value, column)} or {'more' if upper else 'less'}", where


def _called(column: str) -> str:
    return "amount" if column == "amount_cents" else column


def _shown(value: Any, column: str) -> str:
    if column == "amount_cents":
        return f"{value / 100:,.2f}"
    return f"'{mask_values(pl.Series([value]))[0]}'" if isinstance(value, str) else f"{value:,g}"


def _finding(kind: str, column: str, statement: str, rows: pl.DataFrame, where: pl.Expr) -> dict[str, Any]:
    found = rows.filter(where)
    shown = found.filter(pl.col("label") == 1)["source_row"].bottom_k(_SHOWN_ROWS).sort().to_list()
    return {
        "kind": kind, "severity": "warning", "column": column, "statement": statement, "count": found.height,
        "share": found.height / rows.height, "rows": shown,
    }  # fmt: skip
