"""Which kinds of fraud each model catches with a given number of alerts, and how much of the possible that is.

All events compete for the alerts, whatever their kind; the recall counts one kind alone.

Shape letters: R rows, F rows that are fraud of a measured kind, U users, S resamples, K kinds, A alert budgets.
"""

import logging
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import polars as pl
from tqdm import tqdm

from panther_pipeline.metrics.bootstrap import draw_user_weights, percentile_interval
from panther_pipeline.metrics.comparison import number_units, rank_rows
from panther_pipeline.metrics.config import BootstrapConfig
from panther_pipeline.metrics.curves import flagged_share
from panther_pipeline.metrics.fraud import FEWEST_FRAUDS, SPLIT, TASK, group_models
from panther_pipeline.metrics.fraud_oracle import ORACLE
from panther_pipeline.metrics.records import make_record

logger = logging.getLogger(__name__)

BUDGETS = {"recall@0.1%": 0.001, "recall@1%": 0.01}  # alerts as a share of all events
KIND_MARK = "_of_"  # <recall>_of_<kind>
SHARE_OF_ORACLE = "_share_of_oracle"  # <recall>_of_<kind>_share_of_oracle

# Weights (R,) of the rows, None = 1 each → recalls (A, K).
Recalls = Callable[[np.ndarray | None], np.ndarray]


def measure_fraud_kinds(
    fraud_scores: pl.DataFrame, fraud_kinds: pl.DataFrame, config: BootstrapConfig
) -> list[dict[str, Any]]:
    """Recall of each kind of fraud at each alert budget, by every model.

    Args:
        fraud_scores: the table of `scoring.scores`, with the oracle's rows where there is an oracle.
        fraud_kinds: event_id, kind of the events that are fraud; without rows where no kind is known.
        config: resamples of users.

    Returns:
        Flat records `recall@1%_of_<kind>`, n = frauds of that kind, and `…_share_of_oracle`: the model's recall over
        the oracle's with as many alerts. The oracle catches most fraud, not most of each kind: where alerts are fewer
        than frauds, a model that spends them on one kind may have a share above 1 of it. Kinds with fewer than 10
        frauds in the test window are left out; so is everything where no kind is known.

    Raises:
        ConfigurationError: models or seeds score different events.
    """
    test = fraud_scores.filter((pl.col("split") == SPLIT) & pl.col("label").is_not_null())
    if test.is_empty() or fraud_kinds.is_empty():
        return []
    tables = group_models(test)
    first = next(iter(tables.values()))
    kind_of_R = _find_kinds(first, fraud_kinds)
    counts = dict(kind_of_R.drop_nulls().value_counts().sort("kind").iter_rows())
    kinds = [kind for kind, count in counts.items() if count >= FEWEST_FRAUDS]
    if not kinds:
        logger.warning("No kind of fraud has %d frauds in the test window: no recall by kind.", FEWEST_FRAUDS)
        return []
    kind_R = kind_of_R.replace_strict(kinds, range(len(kinds)), default=-1, return_dtype=pl.Int64).to_numpy()
    values, resampled, seeds = _resample(tables, kind_R, number_units(first["user_id"]), len(kinds), config)
    has_interval = first["user_id"].n_unique() > 1
    records = []
    for name, value, samples, seed_count in _with_shares(values, resampled, seeds):
        model, suffix = name
        for (a, budget), (k, kind) in product(enumerate(BUDGETS), enumerate(kinds)):
            if not np.isfinite(value[a, k]):
                continue
            low, high = percentile_interval(samples[:, a, k]) if has_interval else (None, None)
            metric = f"{budget}{KIND_MARK}{kind}{suffix}"
            records.append(
                make_record(
                    task=TASK, model=model, metric=metric, split=SPLIT, value=value[a, k], low=low, high=high,
                    n=counts[kind], seeds=seed_count,
                )
            )  # fmt: skip
    return records


def _find_kinds(events: pl.DataFrame, fraud_kinds: pl.DataFrame) -> pl.Series:
    """The kind of each row that is fraud, null elsewhere."""
    known = fraud_kinds.unique("event_id", keep="first", maintain_order=True)
    joined = events.select("event_id", "label").join(known, on="event_id", how="left", maintain_order="left")
    return joined.select(pl.when(pl.col("label") == 1).then("kind").alias("kind"))["kind"]


def _resample(
    tables: dict[tuple[str, int], pl.DataFrame],
    kind_R: np.ndarray,
    user_ix_R: np.ndarray,
    num_kinds: int,
    config: BootstrapConfig,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, int]]:
    """Of each model the recalls (A, K), the resampled ones (S, A, K), both means over its seeds, and their number."""
    values: dict[str, np.ndarray] = {}
    resampled: dict[str, np.ndarray] = {}
    seeds: dict[str, int] = {}
    num_users = int(user_ix_R.max()) + 1
    for model in tqdm(dict.fromkeys(name for name, _ in tables), desc="fraud kinds", unit="model"):
        measures = [_prepare(table, kind_R, num_kinds) for (name, _), table in tables.items() if name == model]
        draws = draw_user_weights(num_users, config.num_resamples, config.seed)
        values[model] = np.mean([recalls(None) for recalls in measures], axis=0)
        resampled[model] = np.array([np.mean([f(weight_U[user_ix_R]) for f in measures], axis=0) for weight_U in draws])
        seeds[model] = len(measures)
    return values, resampled, seeds


def _prepare(table: pl.DataFrame, kind_R: np.ndarray, num_kinds: int) -> Recalls:
    """Sort one model's rows once; what is returned measures any weights of them in one pass."""
    rows = rank_rows(table)
    place_F = np.flatnonzero(kind_R[rows.order_R] >= 0)  # in ranked order
    kind_F = kind_R[rows.order_R][place_F]
    block_F = np.searchsorted(rows.block_start_B, place_F, side="right") - 1

    def recalls(weight_R: np.ndarray | None) -> np.ndarray:
        curve = rows.curve(weight_R)
        weight_F = curve.weight_R[place_F]
        total_K = np.bincount(kind_F, weight_F, minlength=num_kinds)
        caught_AK = np.array(
            [
                np.bincount(kind_F, weight_F * flagged_share(curve, share)[block_F], minlength=num_kinds)
                for share in BUDGETS.values()
            ]
        )
        return np.divide(caught_AK, total_K, out=np.full(caught_AK.shape, np.nan), where=total_K > 0)

    return recalls


def _with_shares(
    values: dict[str, np.ndarray], resampled: dict[str, np.ndarray], seeds: dict[str, int]
) -> Iterator[tuple[tuple[str, str], np.ndarray, np.ndarray, int]]:
    """Each model's recalls, then its shares of the oracle's: both of the same resamples, so the ratio is paired."""
    for model in values:
        yield (model, ""), values[model], resampled[model], seeds[model]
        if ORACLE in values and model != ORACLE:
            with np.errstate(divide="ignore", invalid="ignore"):
                share_AK, share_SAK = values[model] / values[ORACLE], resampled[model] / resampled[ORACLE]
            yield (model, SHARE_OF_ORACLE), share_AK, share_SAK, seeds[model]
