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
    "is_chosen": pl.Boolean,  # at the threshold that saves most on the calibration rows; none where nothing pays there
}


def tabulate_alert_budgets(fraud_scores: pl.DataFrame, costs: CostConfig) -> pl.DataFrame:
    """Alerts, what they catch and what they save, at thresholds from the highest score to the lowest.

    Args:
        fraud_scores: the table of `scoring.scores`, of which the first seed of each model is read. Test rows are
            tabulated; calibration rows, whose labels were known before the test, choose a threshold.
        costs: of an alert and of a missed fraud.

    Returns:
        `BUDGET_SCHEMA`, by model and ascending number of alerts; no rows where no fraud is known in the test window.
        Events of equal score are alerts together. A day is a day (UTC) with at least one test event.
    """
    first_seed = pl.col("seed") == pl.col("seed").min().over("model")
    scores = fraud_scores.filter(pl.col("label").is_not_null()).filter(first_seed)
    test, calibration = (scores.filter(split=split) for split in ("test", "calibration"))
    if not (test["label"] == 1).any():
        return pl.DataFrame(schema=BUDGET_SCHEMA)
    tables = []
    for (model,), rows in test.group_by("model", maintain_order=True):
        threshold = _choose_threshold(calibration.filter(model=model), costs)
        tables.append(_tabulate(rows, costs, threshold).insert_column(0, pl.lit(model).alias("model")))
    return pl.concat(tables).cast(BUDGET_SCHEMA)


def _choose_threshold(rows: pl.DataFrame, costs: CostConfig) -> float | None:
    """The threshold that saves most, None where none saves anything."""
    if not (rows["label"] == 1).any():
        return None
    best = _tabulate(rows, costs, None).sort("saved", descending=True)
    return best["threshold"][0] if best["saved"][0] > 0 else None


def _tabulate(rows: pl.DataFrame, costs: CostConfig, chosen: float | None) -> pl.DataFrame:
    """The columns of `BUDGET_SCHEMA` but for the model; a chosen threshold that flags an event has a row of its own."""
    num_days = rows["event_time"].dt.truncate("1d").n_unique()
    ranked = rows.sort("score", descending=True)
    score_R, fraud_R = ranked["score"].to_numpy(), ranked["label"].to_numpy().astype(np.int64)
    lost_R = fraud_R * ranked["amount_cents"].fill_null(0).abs().to_numpy()
    wanted = np.unique(np.geomspace(1, len(score_R), NUM_BUDGETS).astype(np.int64))
    # All of a tie: a threshold cannot tell its events apart.
    thresholds = np.append(score_R[wanted - 1], [] if chosen is None else [chosen])
    flagged = len(score_R) - np.searchsorted(score_R[::-1], thresholds, side="left")
    alerts = np.unique(flagged[flagged > 0])
    is_chosen = np.zeros(len(alerts), dtype=bool) if chosen is None else alerts == flagged[-1]
    caught, caught_cents = np.cumsum(fraud_R)[alerts - 1], np.cumsum(lost_R)[alerts - 1]
    avoided = costs.missed_share * caught_cents / 100 + costs.missed_fixed * caught
    return pl.DataFrame(
        {
            "threshold": score_R[alerts - 1],
            "alerts": alerts,
            "alerts_per_day": alerts / num_days,
            "precision": caught / alerts,
            "recall": caught / fraud_R.sum(),
            "value_recall": caught_cents / max(lost_R.sum(), 1),
            "saved": avoided - costs.review * alerts,
            "is_chosen": is_chosen,
        }
    )
