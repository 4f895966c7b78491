"""Merchant-risk metrics of every model of a table of scores, with intervals over counterparties, paired differences.

A counterparty has a row per as-of instant, and its rows are alike: what is resampled is the counterparty with all its
rows. Rows of all test instants are ranked together, since their scores are probabilities of the same thing.

Shape letters: R rows, C counterparties, S resamples, M metrics.
"""

import math
from typing import Any

import numpy as np
import polars as pl
from tqdm import tqdm

from panther_pipeline.metrics import curves
from panther_pipeline.metrics.bootstrap import draw_user_weights, percentile_interval
from panther_pipeline.metrics.config import BootstrapConfig, MerchantRiskMetricsConfig
from panther_pipeline.metrics.curves import Metric, RankedRows
from panther_pipeline.metrics.records import make_record

TASK, SPLIT, UNSUSPECTED = "merchant_risk", "test", "test_unsuspected"
_FEWEST_FRAUDS = 10  # of a part that is measured apart, as in metrics.fraud
MERCHANT_MODELS = [  # in the order of tables
    "no_skill",
    "known_frauds",
    "deviation_median",
    "trees_activity",
    "trees_deviations",
    "trees_both",
]
# What deviations add to activity and known frauds, and whether they do without; fixed beforehand.
COMPARISONS = [("trees_both", "trees_activity"), ("trees_deviations", "trees_activity")]
COMPARED_METRICS = ["average_precision", "roc_auc", "precision@1%"]


def measure_merchant_scores(
    merchant_scores: pl.DataFrame, config: BootstrapConfig, merchant: MerchantRiskMetricsConfig
) -> list[dict[str, Any]]:
    """Metrics of every model on all test rows, and apart on the rows of counterparties without a known fraud.

    Args:
        merchant_scores: the table of `tasks.merchant_risk.score`; all models and seeds score the same rows.
        config: resamples, of counterparties.
        merchant: how many counterparties are flagged.

    Returns:
        Flat records; a value is the mean over the model's seeds. precision@ and recall@ are those of the flagged: the
        top 1 % of the rows, and as many rows as flagging `num_flagged` counterparties at every instant would give.
        Differences are named `<metric>_difference_vs_<baseline>`; both models see the same resamples. Left out: what is
        undefined, more flags than rows, and the rows without a known fraud if fewer than 10 of them see one.
    """
    test = merchant_scores.filter(split=SPLIT)
    unsuspected = test.filter(known_frauds=0)
    num_struck = unsuspected.filter(label=1).select("counterparty", "as_of").n_unique()
    parts = {SPLIT: test, UNSUSPECTED: unsuspected if num_struck >= _FEWEST_FRAUDS else test.clear()}
    return [r for split, rows in parts.items() if rows.height for r in _measure_part(split, rows, config, merchant)]


def _measure_part(
    split: str, test: pl.DataFrame, config: BootstrapConfig, merchant: MerchantRiskMetricsConfig
) -> list[dict[str, Any]]:
    tables = test.sort("as_of", "counterparty", maintain_order=True).partition_by("model", "seed", as_dict=True)
    first = next(iter(tables.values()))
    has_interval = first["counterparty"].n_unique() > 1
    records = []
    for (model, metric), (value, value_S) in _resample(tables, first, config, _choose_metrics(first, merchant)).items():
        low, high = percentile_interval(value_S) if has_interval else (None, None)
        seeds = sum(name == model for name, _ in tables)
        common = {"task": TASK, "split": split, "n": first.height, "seeds": seeds}
        if math.isfinite(value):
            records.append(make_record(**common, model=model, metric=metric, value=value, low=low, high=high))
    return records


def _resample(
    tables: dict[tuple[str, int], pl.DataFrame],
    first: pl.DataFrame,
    config: BootstrapConfig,
    metrics: dict[str, Metric],
) -> dict[tuple[str, str], tuple[float, np.ndarray]]:
    """Value and resampled values (S,) of each (model, metric): means over seeds, differences included."""
    counterparty_ix_R = first["counterparty"].rank("dense").to_numpy().astype(np.int64) - 1
    num_counterparties = int(counterparty_ix_R.max()) + 1
    found = {}
    for model in tqdm(dict.fromkeys(name for name, _ in tables), desc="merchant metrics", unit="model"):
        ranked = [_rank(table) for (name, _), table in tables.items() if name == model]
        # Drawn anew for each model with the same seed: the same resamples, without keeping them all.
        draws = draw_user_weights(num_counterparties, config.num_resamples, config.seed)
        value_M = _mean_metrics(ranked, metrics, None)
        sample_SM = np.array([_mean_metrics(ranked, metrics, weight_C[counterparty_ix_R]) for weight_C in draws])
        found |= {(model, metric): (float(value_M[m]), sample_SM[:, m]) for m, metric in enumerate(metrics)}
    for model, baseline in COMPARISONS:
        for metric in COMPARED_METRICS:
            if (model, metric) in found and (baseline, metric) in found:
                (value, value_S), (base, base_S) = found[model, metric], found[baseline, metric]
                found[model, f"{metric}_difference_vs_{baseline}"] = value - base, value_S - base_S
    return found


def _choose_metrics(rows: pl.DataFrame, merchant: MerchantRiskMetricsConfig) -> dict[str, Metric]:
    per_row = rows["as_of"].n_unique() / rows.height
    shares = {"1%": 0.01} | {str(num): num * per_row for num in merchant.num_flagged}
    shares = {name: share for name, share in shares.items() if share <= 1}
    metrics: dict[str, Metric] = {"average_precision": curves.average_precision, "roc_auc": curves.roc_auc}
    metrics |= {f"precision@{name}": curves.precision_at_share(share) for name, share in shares.items()}
    return metrics | {f"recall@{name}": curves.recall_at_share(share) for name, share in shares.items()}


def _rank(table: pl.DataFrame) -> RankedRows:
    return RankedRows.of(table["score"].to_numpy(), table["label"].to_numpy())


def _mean_metrics(ranked: list[RankedRows], metrics: dict[str, Metric], weight_R: np.ndarray | None) -> np.ndarray:
    """(M,): the mean over seeds."""
    one_per_seed = [rows.curve(weight_R) for rows in ranked]
    return np.mean([[metric(curve) for metric in metrics.values()] for curve in one_per_seed], axis=0)
