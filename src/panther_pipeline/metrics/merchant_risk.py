"""Merchant-risk metrics of every model of a table of scores, with intervals over counterparties, paired differences.

A counterparty has a row per as-of instant, and its rows are alike: what is resampled is the counterparty with all its
rows. Rows of all test instants are ranked together, since their scores are probabilities of the same thing.

Shape letters: R rows.
"""

from typing import Any

import polars as pl

from panther_pipeline.metrics import curves
from panther_pipeline.metrics.comparison import (
    add_differences,
    check_same_rows,
    count_seeds,
    list_records,
    measure_models,
    number_units,
)
from panther_pipeline.metrics.config import BootstrapConfig, MerchantRiskMetricsConfig
from panther_pipeline.metrics.curves import Metric

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

    Raises:
        ConfigurationError: models or seeds score different rows.
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
    check_same_rows(tables, ["counterparty", "as_of", "label"], "counterparties or instants")
    first = next(iter(tables.values()))
    names_R, metrics = first["counterparty"], _choose_metrics(first, merchant)
    num_counterparties = names_R.n_unique()
    values, resampled = measure_models(
        tables, number_units(names_R), num_counterparties, metrics, config, what="merchant metrics"
    )
    add_differences(values, resampled, COMPARISONS, COMPARED_METRICS)
    if num_counterparties < 2:
        resampled = {}
    return list_records(TASK, split, values, resampled, num_rows=first.height, num_seeds=count_seeds(tables))


def _choose_metrics(rows: pl.DataFrame, merchant: MerchantRiskMetricsConfig) -> dict[str, Metric]:
    per_row = rows["as_of"].n_unique() / rows.height
    shares = {"1%": 0.01} | {str(num): num * per_row for num in merchant.num_flagged}
    shares = {name: share for name, share in shares.items() if share <= 1}
    metrics: dict[str, Metric] = {"average_precision": curves.average_precision, "roc_auc": curves.roc_auc}
    metrics |= {f"precision@{name}": curves.precision_at_share(share) for name, share in shares.items()}
    return metrics | {f"recall@{name}": curves.recall_at_share(share) for name, share in shares.items()}
