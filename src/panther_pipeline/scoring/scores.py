"""The table of scores: one row per event, model and seed."""

import numpy as np
import polars as pl

from panther_pipeline.scoring.task import CALIBRATION, JUDGED, FraudTask

AGED = "_aged"  # ends the name of a model that was fitted at the first of several shifts and never since
SCORE_SCHEMA = {
    "event_id": pl.String,
    "row": pl.Int64,
    "user_id": pl.String,
    "event_time": pl.Datetime("us", "UTC"),
    "label": pl.Int8,
    "amount_cents": pl.Int64,
    "event_seq": pl.Int64,  # how many events of the user lie before it
    "cold": pl.Boolean,  # nothing was learnt of the user: no event in training or validation
    "split": pl.String,
    "model": pl.String,
    "seed": pl.Int64,
    "score": pl.Float64,
}


def empty_scores() -> pl.DataFrame:
    """The table without rows, for a task that cannot be fitted."""
    return pl.DataFrame(schema=SCORE_SCHEMA)


def tabulate_scores(task: FraudTask, probability_R: np.ndarray, model: str, seed: int) -> pl.DataFrame:
    """One model's probabilities of the calibration and test rows.

    Args:
        task: the task.
        probability_R: of every row of the task; those of fit rows are not kept.
        model: name of the row in the comparison.
        seed: of the fit.
    """
    names = {CALIBRATION: "calibration", JUDGED: "test"}
    kept = np.flatnonzero(np.isin(task.part_R, list(names)))
    return (
        task.events[kept]
        .with_columns(
            pl.Series("split", [names[int(part)] for part in task.part_R[kept]], dtype=pl.String),
            pl.lit(model).alias("model"),
            pl.lit(seed, dtype=pl.Int64).alias("seed"),
            pl.Series("score", probability_R[kept].astype(np.float64)),
        )
        .select(list(SCORE_SCHEMA))
        .cast(SCORE_SCHEMA)
    )


def collect_scores(*tables: pl.DataFrame) -> pl.DataFrame:
    """All models' scores under each other, in the order given."""
    return pl.concat([empty_scores(), *tables])
