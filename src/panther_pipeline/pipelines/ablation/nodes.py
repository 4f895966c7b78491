"""Nodes of `ablation`: a declared grid in, its trainings, measures, table and figures out."""

from contextlib import AbstractContextManager
from typing import Any

import plotly.graph_objects as go
import polars as pl

from panther_pipeline.ablation import plots, results, table
from panther_pipeline.ablation.config import AblationConfig
from panther_pipeline.ablation.grid import Blocks, Grid, PlannedRun, plan_grid
from panther_pipeline.ablation.runs import FinishedRun, run_grid
from panther_pipeline.ablation.store import RunStore
from panther_pipeline.metrics.config import BootstrapConfig, RankingConfig
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.pipelines.reporting import mlflow_child_run
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer
from panther_pipeline.training.config import LossConfig, TrainingConfig
from panther_pipeline.training.run import Report


def plan_ablation(
    token_sequences: TokenSequences,
    tokenizer: Tokenizer,
    ablation: AblationConfig,
    model: ModelConfig,
    loss: LossConfig,
    training: TrainingConfig,
) -> Grid:
    """Every variant's configuration; whatever is wrong with any of them is said here."""
    return plan_grid(ablation, Blocks(model=model, loss=loss, training=training), token_sequences, tokenizer.kind)


def run_ablation(
    ablation_grid: Grid,
    token_sequences: TokenSequences,
    ablation_runs: RunStore,
    ranking: RankingConfig,
    code_version: dict[str, str],
) -> list[FinishedRun]:
    """Train what is not finished, each run as a child of the tracked one, and rank the same targets with all."""
    return run_grid(ablation_grid, token_sequences, ablation_runs, ranking, code_version, _tracked)


def _tracked(run: PlannedRun) -> AbstractContextManager[Report]:
    blocks = run.variant.blocks
    params = {"model": blocks.model, "loss": blocks.loss, "training": run.training}
    return mlflow_child_run(f"{run.variant.name}/{run.seed}", params | {"num_parameters": run.variant.num_parameters})


def measure_ablation(
    ablation_grid: Grid,
    ablation_finished_runs: list[FinishedRun],
    token_sequences: TokenSequences,
    ranking: RankingConfig,
    bootstrap: BootstrapConfig,
    protocol: str,
    code_version: dict[str, str],
) -> dict[str, Any]:
    """Metrics with intervals, and the paired differences to the reference and to the best simple model."""
    return results.collect_results(
        ablation_grid, ablation_finished_runs, token_sequences, ranking, bootstrap, protocol, code_version
    )


def collect_ablation_curves(ablation_finished_runs: list[FinishedRun]) -> pl.DataFrame:
    """The curves of all runs in one table."""
    return results.collect_curves(ablation_finished_runs)


def write_ablation_table(ablation_results: dict[str, Any]) -> str:
    """The results as Markdown."""
    return table.render_table(ablation_results)


def plot_ablation(ablation_results: dict[str, Any]) -> go.Figure:
    """Every model with its seeds and intervals."""
    return plots.plot_ablation(ablation_results)


def plot_ablation_curves(ablation_curves: pl.DataFrame) -> go.Figure:
    """The validation loss of every run over its steps."""
    return plots.plot_ablation_curves(ablation_curves)
