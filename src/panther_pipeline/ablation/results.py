"""Everything a grid found out, as flat records: facts, variants, runs, metrics.

Shape letters: M targets, S seeds.
"""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl

from panther_pipeline.ablation.grid import Grid
from panther_pipeline.ablation.runs import FinishedRun
from panther_pipeline.ablation.statistics import Estimate, estimate_means, target_statistics
from panther_pipeline.baselines.next_transaction import rank_with_baselines
from panther_pipeline.metrics.config import BootstrapConfig, RankingConfig
from panther_pipeline.metrics.next_transaction import TASK
from panther_pipeline.metrics.ranking import ranking_statistics
from panther_pipeline.metrics.records import make_record
from panther_pipeline.report.run_facts import fingerprint_sequences
from panther_pipeline.tokenizer.sequences import TokenSequences

Values = dict[str, dict[str, np.ndarray]]  # metric → model → float64 (S, M); one row for what has no seed


def collect_results(
    grid: Grid,
    runs: list[FinishedRun],
    sequences: TokenSequences,
    ranking: RankingConfig,
    bootstrap: BootstrapConfig,
    protocol: str,
    code_version: dict[str, str],
) -> dict[str, Any]:
    """Measure all models of a grid, and what predicts without learned weights, on the same targets.

    Args:
        grid: what was asked for.
        runs: what came of it, every variant and seed once.
        sequences: all histories.
        ranking: what the runs were ranked with.
        bootstrap: of the intervals.
        protocol: how the ledger was split.
        code_version: from `read_code_version`.

    Returns:
        JSON values: facts (one record), variants, runs and metrics (records each). A metric's name is that of a value
        ("hr@10"), or of a difference to the reference ("hr@10_difference_vs_panther") or to the best model without
        weights ("hr@10_difference_vs_markov"), which is chosen per metric on the same targets and so favoured.
    """
    user_ix_M = runs[0].ranks["user_ix"].to_numpy()
    neural = _stack(grid, runs)
    simple = _rank_simple(sequences, runs[0].ranks["row"].to_numpy(), ranking)
    metrics = [
        record
        for metric in neural
        for record in _measure(metric, grid, neural[metric], simple.get(metric, {}), user_ix_M, ranking, bootstrap)
    ]
    return {
        "facts": _facts(grid, runs, sequences, ranking, protocol, code_version),
        "variants": [_describe(grid, name) for name in grid.config.chosen],
        "runs": [run.record for run in runs],
        "metrics": metrics,
    }


def _stack(grid: Grid, runs: list[FinishedRun]) -> Values:
    by_variant = {v.name: [target_statistics(r.ranks) for r in runs if r.variant == v.name] for v in grid.variants}
    metrics = by_variant[grid.reference.name][0]
    return {
        metric: {name: np.stack([one[metric] for one in seeds]) for name, seeds in by_variant.items()}
        for metric in metrics
    }


def _rank_simple(sequences: TokenSequences, rows_M: np.ndarray, ranking: RankingConfig) -> Values:
    ranks = rank_with_baselines(sequences, rows_M, exclude_seen=ranking.exclude_seen)
    statistics = {name: ranking_statistics(ranks_M) for name, ranks_M in ranks.items()}
    metrics = next(iter(statistics.values()))
    return {metric: {name: values[metric][None] for name, values in statistics.items()} for metric in metrics}


def _measure(
    metric: str,
    grid: Grid,
    neural: dict[str, np.ndarray],
    simple: dict[str, np.ndarray],
    user_ix_M: np.ndarray,
    ranking: RankingConfig,
    bootstrap: BootstrapConfig,
) -> list[dict[str, Any]]:
    reference = grid.reference.name
    columns = {(name, metric): values_SM for name, values_SM in (simple | neural).items()}
    for name, values_SM in neural.items():
        if name != reference:
            columns[name, f"{metric}_difference_vs_{reference}"] = values_SM - neural[reference]
    if simple:
        best = max(simple, key=lambda name: simple[name].mean())
        for name, values_SM in neural.items():
            columns[name, f"{metric}_difference_vs_{best}"] = values_SM - simple[best]
    estimates = estimate_means(columns, user_ix_M, bootstrap)
    # A likelihood is a share of all tokens, whatever is ranked.
    candidates = None if metric == "nll" else ranking.candidates
    return [
        _record(model, name, len(user_ix_M), len(columns[model, name]), grid.config.split, candidates, estimate)
        for (model, name), estimate in estimates.items()
    ]


def _record(
    model: str, metric: str, num_targets: int, num_seeds: int, split: str, candidates: str | None, estimate: Estimate
) -> dict:
    numbers = asdict(estimate)
    by_seed = {"seed_values": numbers.pop("seed_values")}
    record = make_record(
        task=TASK,
        model=model,
        metric=metric,
        split=split,
        n=num_targets,
        seeds=num_seeds,
        candidates=candidates,
        **numbers,
    )
    return record | by_seed


def _describe(grid: Grid, name: str) -> dict[str, Any]:
    planned = next(v for v in grid.variants if v.name == grid.same.get(name, name))
    return {
        "variant": name,
        "same_as": grid.same.get(name),
        "overrides": grid.config.chosen[name].overrides,
        "num_parameters": planned.num_parameters,
        "matched": planned.matched,
        "equal_in_size": grid.is_equal_in_size(planned),
        "model": planned.blocks.model.model_dump(),
        "loss": planned.blocks.loss.model_dump(),
        "training": planned.blocks.training.model_dump(exclude={"seed"}),
    }


def _facts(
    grid: Grid,
    runs: list[FinishedRun],
    sequences: TokenSequences,
    ranking: RankingConfig,
    protocol: str,
    code_version: dict[str, str],
) -> dict[str, Any]:
    config, ranks = grid.config, runs[0].ranks
    env = "" if config.environment == "base" else f" --env={config.environment}"
    own = {"num_seeds": config.num_seeds, "split": config.split} | ({"only": config.only} if config.only else {})
    params = {f"ablation.{key}": value for key, value in own.items()} | config.stated_params
    stated = ",".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in params.items()
    )
    return {
        "ledger": config.ledger,
        "command": f"kedro run --pipelines=ablation{env} --params={stated}",
        **code_version,
        "seeds": config.seeds,
        "data_fingerprint": fingerprint_sequences(sequences),
        "tokenizer": sequences.tokenizer_digest,
        "split": config.split,
        "protocol": protocol,
        "num_targets": len(ranks),
        "num_users": ranks["user_ix"].n_unique(),
        "num_tokens": sequences.vocab_size,
        "candidates": ranking.candidates,
        "reference": grid.reference.name,
        "machines": sorted({run.record["machine"] for run in runs}),
        # Kept runs may be older than the page.
        "trained_at": sorted(map(list, {(run.record["commit"], run.record["version.torch"]) for run in runs})),
    }


def collect_curves(runs: list[FinishedRun]) -> pl.DataFrame:
    """variant, seed, step, metric, value of every training."""
    return pl.concat(
        run.curves.select(
            pl.lit(run.variant).alias("variant"), pl.lit(run.seed).alias("seed"), "step", "metric", "value"
        )
        for run in runs
    )
