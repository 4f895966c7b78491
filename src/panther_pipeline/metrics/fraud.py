"""Fraud metrics of every model of a table of scores, with intervals over users and paired differences.

Shape letters: R rows.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from panther_pipeline.metrics import curves
from panther_pipeline.metrics.comparison import (
    Resampled,
    Tables,
    Values,
    add_differences,
    check_same_rows,
    count_seeds,
    list_records,
    measure_models,
    number_units,
)
from panther_pipeline.metrics.config import BootstrapConfig, FraudMetricsConfig
from panther_pipeline.metrics.curves import Metric, RankedRows
from panther_pipeline.metrics.distillation import GAP_RECOVERED, STUDENT, measure_gap_recovered

TASK, SPLIT, SHORT, COLD = "fraud", "test", "test_short_history", "test_cold"
FEWEST_FRAUDS = 10  # of a part that is measured apart: of one fraud every metric is 0 or 1, in every resample
CARDS_PER_DAY = 100  # as the Handbook's card precision@100
CARD_PRECISION = f"card_precision@{CARDS_PER_DAY}"

METRICS: dict[str, Metric] = {
    "average_precision": curves.average_precision,
    "roc_auc": curves.roc_auc,
    "recall@0.01%": curves.recall_at_share(0.0001),
    "recall@0.1%": curves.recall_at_share(0.001),
    "recall@1%": curves.recall_at_share(0.01),
    "recall@fpr=1%": curves.recall_at_false_positive_rate(0.01),
    "value_recall@1%": curves.value_recall_at_share(0.01),
    "brier": curves.brier,
    "expected_calibration_error": curves.expected_calibration_error,
}
FRAUD_MODELS = [  # in the order of tables
    "deviation_surprise",
    "deviation_cosine",
    "trees_features",
    "trees_embeddings",
    "trees_both",
    "panther_head",
]
HEAD_BASELINE = "head_features"  # the head without the backbone, where finetuning.head asks for it
OPTIONAL_HEADS = [  # where finetuning.history and finetuning.tuning name them
    "head_textcnn",
    "head_attention",
    "head_distilled",
    "head_tuned",
    "head_lora",
]

OPTIONAL_MODELS = [HEAD_BASELINE, *OPTIONAL_HEADS]  # after FRAUD_MODELS

# What the embeddings add and what the head adds to trees. Fixed beforehand: the best of several is no fair baseline.
COMPARISONS = [
    ("trees_both", "trees_features"),
    ("panther_head", "trees_features"),
    ("panther_head", "trees_both"),
    ("panther_head", HEAD_BASELINE),
    *((model, "panther_head") for model in OPTIONAL_HEADS),
]
COMPARED_METRICS = ["average_precision", "roc_auc", "recall@0.1%"]


def order_models(present: Iterable[str]) -> list[str]:
    """The models that are there, known ones first, in the order of tables."""
    names = set(present)
    known = FRAUD_MODELS + OPTIONAL_MODELS
    return [name for name in known if name in names] + sorted(names - set(known))


def measure_fraud_scores(
    fraud_scores: pl.DataFrame, config: BootstrapConfig, fraud: FraudMetricsConfig | None = None
) -> list[dict[str, Any]]:
    """Metrics of every model on the test rows, and apart on those of users with a short history or never learnt from.

    Args:
        fraud_scores: the table of `scoring.scores`: all models and seeds score the same events.
        config: resamples of users.
        fraud: what a short history is; None = nothing apart. A part with fewer than 10 frauds is not measured.

    Returns:
        Flat records. A value is the mean over the model's seeds, its interval is of that mean. Paired
        differences are named `<metric>_difference_vs_<baseline>`; both models see the same resamples; see
        `metrics.distillation` for the share of a teacher's lead that its student recovers. What is
        undefined (no fraud, or nothing but fraud) is left out. Card precision has no interval: blocking found
        cards ties a day to the days before, and a resample repeats cards.

    Raises:
        ConfigurationError: models or seeds score different events.
    """
    if fraud_scores.is_empty():
        return []
    test = fraud_scores.filter((pl.col("split") == SPLIT) & pl.col("label").is_not_null())
    parts = {SPLIT: test}
    if fraud is not None:
        parts[SHORT] = _enough(test.filter(pl.col("event_seq") < fraud.short_history))
        parts[COLD] = _enough(test.filter("cold"))
    return [record for split, rows in parts.items() if rows.height for record in _measure_part(split, rows, config)]


def _enough(part: pl.DataFrame) -> pl.DataFrame:
    """The part, without rows when too few frauds are among them."""
    return part if part.filter(label=1)["row"].n_unique() >= FEWEST_FRAUDS else part.clear()


def _measure_part(split: str, test: pl.DataFrame, config: BootstrapConfig) -> list[dict[str, Any]]:
    tables = group_models(test)
    user_ids_R = next(iter(tables.values()))["user_id"]
    values, resampled = measure_fraud_models(tables, number_units(user_ids_R), user_ids_R.n_unique(), config)
    add_differences(values, resampled, COMPARISONS, COMPARED_METRICS)
    if gap := measure_gap_recovered(values, resampled, split):
        values[STUDENT, GAP_RECOVERED], resampled[STUDENT, GAP_RECOVERED] = gap
    if split == SPLIT:  # so many cards a day are those of the whole ledger: of a part of it it would mean nothing
        values |= card_precisions(tables)
    if user_ids_R.n_unique() < 2:
        resampled = {}
    return list_records(TASK, split, values, resampled, num_rows=len(user_ids_R), num_seeds=count_seeds(tables))


def group_models(test: pl.DataFrame) -> Tables:
    """The rows of each model and seed, in the order of the ledger.

    Raises:
        ConfigurationError: models or seeds score different events.
    """
    tables = {
        (model, seed): table for (model, seed), table in test.sort("row").group_by("model", "seed", maintain_order=True)
    }
    check_same_rows(tables, ["row", "label"], "events")
    return tables


def measure_fraud_models(
    tables: Tables, user_ix_R: np.ndarray, num_users: int, config: BootstrapConfig
) -> tuple[Values, Resampled]:
    """METRICS of every model; see `comparison.measure_models`."""
    return measure_models(tables, user_ix_R, num_users, METRICS, config, rank_with_amounts, "fraud metrics")


def card_precisions(tables: Tables) -> Values:
    """Card precision of each model, the mean over its seeds."""
    precisions: dict[str, list[float]] = {}
    for (model, _), table in tables.items():
        precisions.setdefault(model, []).append(card_precision(table))
    return {(model, CARD_PRECISION): float(np.mean(values)) for model, values in precisions.items()}


def rank_with_amounts(table: pl.DataFrame) -> RankedRows:
    """Rows of the ledger, with what each was worth."""
    amount_R = table["amount_cents"].fill_null(0).to_numpy()
    return RankedRows.of(table["score"].to_numpy(), table["label"].to_numpy(), amount_R)


def card_precision(scores: pl.DataFrame, num_cards: int = CARDS_PER_DAY) -> float:
    """Share of compromised cards among the `num_cards` a day that investigators would look at.

    Each day (UTC) a card's score is its highest one; the top cards are looked at; a compromised card found
    once is blocked and counts on no later day. A day with fewer cards still divides by `num_cards`, as in the
    source.

    Args:
        scores: user_id, event_time, label, score of one model and seed.
        num_cards: cards investigated a day, at least 1.

    Returns:
        Mean over days, NaN without rows. Equal scores are taken in order of user_id.

    Source: Fraud-Detection-Handbook, chapter 4, `card_precision_top_k`.
    """
    cards = (
        scores.group_by(pl.col("event_time").dt.truncate("1d").alias("day"), "user_id")
        .agg(pl.col("score").max(), pl.col("label").max())
        .sort(["day", "score", "user_id"], descending=[False, True, False])
    )
    found: set[str] = set()
    precisions = []
    for _, day in cards.group_by("day", maintain_order=True):
        top = day.filter(~pl.col("user_id").is_in(list(found))).head(num_cards)
        caught = top.filter(pl.col("label") == 1)["user_id"].to_list()
        found.update(caught)
        precisions.append(len(caught) / num_cards)
    return float(np.mean(precisions)) if precisions else float("nan")
