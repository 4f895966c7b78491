"""What an alert budget catches, and what it saves: the table from which a threshold is chosen.

Shape letters: R rows of one model, by descending score.
"""

import numpy as np
import polars as pl

from panther_pipeline.metrics.config import CostConfig

NUM_BUDGETS = 200  # per model, evenly spread over the logarithm of the number of alerts
BUDGET_SCHEMA = {
    "model": pl.String,
    "threshold": pl.Float64,  # an event with this score or a higher one is an alert
    "alerts": pl.Int64,
    "alerts_per_day": pl.Float64,
    "precision": pl.Float64,
    "recall": pl.Float64,
    "value_recall": pl.Float64,  # share of the amount of all frauds
    "saved": pl.Float64,  # loss avoided less reviews, against looking at nothing; units of the currency
}


def tabulate_alert_budgets(fraud_scores: pl.DataFrame, costs: CostConfig) -> pl.DataFrame:
    """Alerts, what they catch and what they save, at thresholds from the highest score to the lowest.

    Args:
        fraud_scores: the table of `scoring.scores`; its test rows are read, of the first seed of each model.
        costs: of an alert and of a missed fraud.

    Returns:
        `BUDGET_SCHEMA`, by model and ascending number of alerts; no rows where no fraud is known in the test window.
        Events of equal score are alerts together. A day is a day (UTC) with at least one test event.
    """
    test = fraud_scores.filter((pl.col("split") == "test") & pl.col("label").is_not_null())
    test = test.filter(pl.col("seed") == pl.col("seed").min().over("model"))
    if not (test["label"] == 1).any():
        return pl.DataFrame(schema=BUDGET_SCHEMA)
    num_days = test["event_time"].dt.truncate("1d").n_unique()
    tables = [_tabulate(model, rows, num_days, costs) for (model,), rows in test.group_by("model", maintain_order=True)]
    return pl.concat(tables)


def _tabulate(model: str, rows: pl.DataFrame, num_days: int, costs: CostConfig) -> pl.DataFrame:
    ranked = rows.sort("score", descending=True)
    score_R, fraud_R = ranked["score"].to_numpy(), ranked["label"].to_numpy().astype(np.int64)
    lost_R = fraud_R * ranked["amount_cents"].fill_null(0).abs().to_numpy()
    wanted = np.unique(np.geomspace(1, len(score_R), NUM_BUDGETS).astype(np.int64))
    # All of a tie: a threshold cannot tell its events apart.
    alerts = np.unique(len(score_R) - np.searchsorted(score_R[::-1], score_R[wanted - 1], side="left"))
    caught, caught_cents = np.cumsum(fraud_R)[alerts - 1], np.cumsum(lost_R)[alerts - 1]
    avoided = costs.missed_share * caught_cents / 100 + costs.missed_fixed * caught
    return pl.DataFrame(
        {
            "model": [model] * len(alerts),
            "threshold": score_R[alerts - 1],
            "alerts": alerts,
            "alerts_per_day": alerts / num_days,
            "precision": caught / alerts,
            "recall": caught / fraud_R.sum(),
            "value_recall": caught_cents / max(lost_R.sum(), 1),
            "saved": avoided - costs.review * alerts,
        },
        schema=BUDGET_SCHEMA,
    )
