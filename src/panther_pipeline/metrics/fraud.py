"""Fraud metrics of every model of a table of scores, with intervals over users and paired differences.

Shape letters: R rows, U users, S resamples, K seeds.
"""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl
from tqdm import tqdm

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.metrics import curves
from panther_pipeline.metrics.bootstrap import draw_user_weights, percentile_interval
from panther_pipeline.metrics.config import BootstrapConfig, FraudMetricsConfig
from panther_pipeline.metrics.curves import Metric, RankedRows
from panther_pipeline.metrics.distillation import GAP_RECOVERED, STUDENT, measure_gap_recovered
from panther_pipeline.metrics.records import make_record

Tables = dict[tuple[str, int], pl.DataFrame]  # by model and seed
Values = dict[tuple[str, str], float]  # by model and metric
Resampled = dict[tuple[str, str], np.ndarray]  # by model and metric, (S,)

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
    values, resampled = measure_models(tables, number_users(user_ids_R), user_ids_R.n_unique(), config)
    add_differences(values, resampled, COMPARISONS)
    if gap := measure_gap_recovered(values, resampled, split):
        values[STUDENT, GAP_RECOVERED], resampled[STUDENT, GAP_RECOVERED] = gap
    if split == SPLIT:  # so many cards a day are those of the whole ledger: of a part of it it would mean nothing
        values |= card_precisions(tables)
    if user_ids_R.n_unique() < 2:
        resampled = {}
    return list_records(split, values, resampled, num_rows=len(user_ids_R), num_seeds=count_seeds(tables))


def group_models(test: pl.DataFrame) -> Tables:
    """The rows of each model and seed, in the order of the ledger.

    Raises:
        ConfigurationError: models or seeds score different events.
    """
    tables = {
        (model, seed): table for (model, seed), table in test.sort("row").group_by("model", "seed", maintain_order=True)
    }
    first = next(iter(tables.values()))
    for (model, seed), table in tables.items():
        if not table["row"].equals(first["row"]):
            raise ConfigurationError(
                f"{model} with seed {seed} scores other events than the first model does ({table.height} and "
                f"{first.height} rows): run the finetune pipeline again, so that all rows are comparable."
            )
    return tables


def count_seeds(tables: Tables) -> dict[str, int]:
    """How many seeds each model has."""
    return Counter(model for model, _ in tables)


def list_records(
    split: str, values: Values, resampled: Resampled, *, num_rows: int, num_seeds: dict[str, int]
) -> list[dict[str, Any]]:
    """Flat records of what is finite; the interval is that of the resampled values, where there are any."""
    records = []
    for (model, metric), value in values.items():
        has_interval = (model, metric) in resampled
        low, high = percentile_interval(resampled[model, metric]) if has_interval else (None, None)
        common = {"task": TASK, "split": split, "n": num_rows, "seeds": num_seeds[model]}
        if math.isfinite(value):
            records.append(make_record(**common, model=model, metric=metric, value=value, low=low, high=high))
    return records


def card_precisions(tables: Tables) -> Values:
    """Card precision of each model, the mean over its seeds."""
    precisions: dict[str, list[float]] = {}
    for (model, _), table in tables.items():
        precisions.setdefault(model, []).append(card_precision(table))
    return {(model, CARD_PRECISION): float(np.mean(values)) for model, values in precisions.items()}


def measure_models(
    tables: Tables, user_ix_R: np.ndarray, num_users: int, config: BootstrapConfig
) -> tuple[Values, Resampled]:
    """Every metric of every model, each the mean over the model's seeds, of the rows and of resamples of users.

    Args:
        tables: from `group_models`.
        user_ix_R: int64 the user of each row, in [0, num_users).
        num_users: users that are resampled; some may have no row here.
        config: the resamples. The same number of users and seed are the same resamples, in whichever call.
    """
    values: Values = {}
    resampled: Resampled = {}
    for model in tqdm(dict.fromkeys(name for name, _ in tables), desc="fraud metrics", unit="model"):
        seeds = [table for (name, _), table in tables.items() if name == model]
        ranked = [_rank(table) for table in seeds]
        # Drawn anew for each model with the same seed: the same resamples, without keeping them all.
        draws = draw_user_weights(num_users, config.num_resamples, config.seed)
        samples = np.array([_mean_metrics(ranked, weight_U[user_ix_R]) for weight_U in draws])
        for ix, (metric, value) in enumerate(zip(METRICS, _mean_metrics(ranked, None), strict=True)):
            values[model, metric], resampled[model, metric] = float(value), samples[:, ix]
    return values, resampled


def add_differences(values: Values, resampled: Resampled, comparisons: Iterable[tuple[str, str]]) -> None:
    """Add the paired differences of COMPARED_METRICS in place, for the (model, baseline) that are both there."""
    for model, baseline in comparisons:
        for metric in COMPARED_METRICS:
            if (model, metric) in resampled and (baseline, metric) in resampled:
                key = model, f"{metric}_difference_vs_{baseline}"
                values[key] = values[model, metric] - values[baseline, metric]
                resampled[key] = resampled[model, metric] - resampled[baseline, metric]


def number_users(user_ids_R: pl.Series) -> np.ndarray:
    """int64 (R,): 0, 1, 2, … in order of the ids."""
    return user_ids_R.rank("dense").to_numpy().astype(np.int64) - 1


def _rank(table: pl.DataFrame) -> RankedRows:
    amount_R = table["amount_cents"].fill_null(0).to_numpy()
    return RankedRows.of(table["score"].to_numpy(), table["label"].to_numpy(), amount_R)


def _mean_metrics(ranked: list[RankedRows], weight_R: np.ndarray | None) -> np.ndarray:
    """All METRICS, each the mean over seeds."""
    one_per_seed = [rows.curve(weight_R) for rows in ranked]
    return np.mean([[metric(curve) for metric in METRICS.values()] for curve in one_per_seed], axis=0)


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
