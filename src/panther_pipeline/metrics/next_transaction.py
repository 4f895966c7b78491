"""Next-transaction comparison: the backbone and the baselines on the same targets.

A target is an event of the test (or validation) window with at least one event of its user before it. The forecast
of row r is made after row r - 1; it reads no time, amount or category of row r.

Shape letters: N events, M targets, U users.
"""

from typing import Any

import numpy as np
import polars as pl
from tqdm import tqdm

from panther_pipeline.baselines.candidates import MISS, SeenTokens
from panther_pipeline.baselines.next_transaction import fit_popularity, rank_with_baselines
from panther_pipeline.cache.states import iter_state_chunks
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.splits import SPLIT_NAMES, TEST, TRAIN
from panther_pipeline.metrics.bootstrap import bootstrap_means
from panther_pipeline.metrics.config import BootstrapConfig, RankingConfig
from panther_pipeline.metrics.ranking import rank_targets, ranking_statistics
from panther_pipeline.metrics.records import make_record
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.tokenizer.sequences import TokenSequences

TASK = "next_transaction"
MODEL = "panther"


def select_targets(sequences: TokenSequences, config: RankingConfig, split: int = TEST) -> np.ndarray:
    """Rows of a split that have a predecessor, of all users or of a random draw of them.

    Args:
        sequences: all histories.
        config: how many users.
        split: TEST or VALID of `panther_pipeline.ledger.splits`.

    Returns:
        int64 (M,), ascending.

    Raises:
        ConfigurationError: there is none; the message names the parameters that decide it.
    """
    is_target_N = np.asarray(sequences.split_N == split)
    starts = sequences.offsets_U1[:-1][np.diff(sequences.offsets_U1) > 0]
    is_target_N[starts] = False
    rows_M = np.flatnonzero(is_target_N)
    if len(rows_M) == 0:
        raise ConfigurationError(
            f"no event of the split '{SPLIT_NAMES[split]}' has an earlier event of its user: nothing can be forecast. "
            "Check ledger.splits against the times of the ledger and the lengths of its histories."
        )
    users = np.unique(sequences.user_ix_N()[rows_M])
    if config.max_users is not None and len(users) > config.max_users:
        drawn = np.random.default_rng(config.seed).choice(users, config.max_users, replace=False)
        rows_M = rows_M[np.isin(sequences.user_ix_N()[rows_M], drawn)]
    return rows_M


def is_cold_user(sequences: TokenSequences) -> np.ndarray:
    """bool (U,): users without an event in the training window."""
    in_train = np.concatenate([[0], np.cumsum(sequences.split_N == TRAIN)])
    return in_train[sequences.offsets_U1[1:]] == in_train[sequences.offsets_U1[:-1]]


def rank_next_transactions(backbone: Backbone, sequences: TokenSequences, config: RankingConfig) -> pl.DataFrame:
    """Rank the token of every target with every baseline and with the backbone.

    A factored backbone scores combinations of attributes. The probability of a token that dropped some is a sum over
    all their values, which no search gives exactly, so it has no row here: `metrics.tuples` ranks what it predicts.

    Args:
        backbone: in evaluation mode.
        sequences: all histories.
        config: which targets, and among what they are ranked.

    Returns:
        One row per model and target: row (int64, into `sequences`), user_ix (int32), model, rank (int32; null
        where it is a miss: the token is [UNK], or was seen before and `exclude_seen`), log_prob (float32 nats; the
        backbone's alone), cold (bool), candidates (among what was ranked; the same in every row).
    """
    rows_M = select_targets(sequences, config)
    ranks, log_probs = rank_with_baselines(sequences, rows_M, exclude_seen=config.exclude_seen), {}
    if backbone.tuple_head is None:
        ranks[MODEL], log_probs[MODEL] = rank_with_backbone(backbone, sequences, rows_M, config)
    return tabulate_ranks(sequences, rows_M, ranks, log_probs, config.candidates)


def rank_with_backbone(
    backbone: Backbone, sequences: TokenSequences, rows_M: np.ndarray, config: RankingConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Rank the token of each target among the candidates, each forecast from the events before it.

    Args:
        backbone: structured, in evaluation mode, on the device to use.
        sequences: all histories.
        rows_M: from `select_targets`.
        config: among what they are ranked, and how many windows at once.

    Returns:
        int64 (M,) ranks, MISS where the token is no candidate, and float32 (M,) log-probabilities among all tokens in
        nats.
    """
    states = iter_state_chunks(backbone, sequences, rows_M - 1, config.batch_size)
    with tqdm(total=len(rows_M), desc="rank", unit="event", unit_scale=True) as bar:
        ranked, ranks_M, log_prob_M = rank_targets(
            _counted(states, bar),
            lambda h_mD, _: backbone.next_token_logits(h_mD),
            sequences.token_ids_N,
            fit_popularity(sequences),
            SeenTokens(sequences) if config.exclude_seen else None,
        )
    assert np.array_equal(ranked, rows_M), "states came for other rows than asked for"
    return ranks_M, log_prob_M


def tabulate_ranks(
    sequences: TokenSequences,
    rows_M: np.ndarray,
    ranks: dict[str, np.ndarray],
    log_probs: dict[str, np.ndarray],
    candidates: str,
) -> pl.DataFrame:
    """The table that `rank_next_transactions` describes.

    Args:
        sequences: all histories.
        rows_M: the targets.
        ranks: for each model int64 (M,), MISS where it could not propose what came.
        log_probs: float32 (M,) nats of the models that have any.
        candidates: among what was ranked.
    """
    user_ix_M = sequences.user_ix_N()[rows_M]
    shared = pl.DataFrame(
        {"row": rows_M, "user_ix": user_ix_M.astype(np.int32), "cold": is_cold_user(sequences)[user_ix_M]}
    )
    return pl.concat(
        shared.select(
            "row",
            "user_ix",
            model=pl.lit(model),
            rank=rank_column(ranks_M),
            log_prob=pl.Series(log_probs.get(model, [None] * len(rows_M)), dtype=pl.Float32),
            cold="cold",
            candidates=pl.lit(candidates),
        )
        for model, ranks_M in ranks.items()
    )


def rank_column(ranks_M: np.ndarray) -> pl.Series:
    """Ranks as tables keep them: int32, null for a miss."""
    return pl.Series(np.where(ranks_M < MISS, ranks_M, -1), dtype=pl.Int32).replace(-1, None)


def _counted(states, bar: tqdm):
    for rows_m, h_mD in states:
        yield rows_m, h_mD
        bar.update(len(rows_m))


def measure_ranks(
    ranks: pl.DataFrame, config: BootstrapConfig, *, task: str = TASK, model: str = MODEL
) -> list[dict[str, Any]]:
    """hr@1, hr@5, hr@10, ndcg@10 and mrr of every model, and one model's distance from the best other.

    Args:
        ranks: from `rank_next_transactions`, or of its columns.
        config: of the intervals.
        task: of the records.
        model: whose distance; the backbone's.

    Returns:
        Records of split "test" (every target) and "test_cold" (targets of users without training events, if
        any). The best other model is chosen per metric and split by its value on that same split, which
        favours the baseline.
    """
    splits = {"test": ranks, "test_cold": ranks.filter("cold")}
    return [
        record
        for split, table in splits.items()
        if len(table)
        for record in _measure_split(split, table, config, task, model)
    ]


def _measure_split(
    split: str, ranks: pl.DataFrame, config: BootstrapConfig, task: str, ours: str
) -> list[dict[str, Any]]:
    wide = ranks.pivot(on="model", index=["row", "user_ix"], values="rank", maintain_order=True)
    models = [column for column in wide.columns if column not in ("row", "user_ix")]
    user_ix_M = wide["user_ix"].to_numpy()
    statistics = {model: ranking_statistics(wide[model].fill_null(MISS).to_numpy()) for model in models}
    columns = {(model, metric): values for model in models for metric, values in statistics[model].items()}
    others = [model for model in models if model != ours]
    if ours in models and others:
        for metric in statistics[ours]:
            best = max(others, key=lambda model: statistics[model][metric].mean())
            difference_M = statistics[ours][metric] - statistics[best][metric]
            columns[ours, f"{metric}_difference_vs_{best}"] = difference_M
    means = bootstrap_means(
        np.column_stack(list(columns.values())),
        user_ix_M,
        num_resamples=config.num_resamples,
        seed=config.seed,
    )
    return [
        make_record(
            task=task,
            model=model,
            metric=metric,
            split=split,
            value=value,
            low=low,
            high=high,
            n=len(wide),
            candidates=ranks["candidates"][0],
        )
        for (model, metric), value, low, high in zip(columns, *(_none_for_nan(m) for m in means), strict=True)
    ]


def _none_for_nan(values_S: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values_S]
