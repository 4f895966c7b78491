"""Nodes of `prequential`: a backbone that stays, heads that are refitted, and how both fare as time goes on."""

from typing import Any

import plotly.graph_objects as go
import polars as pl

from panther_pipeline.cache import embed
from panther_pipeline.cache.embed import EventEmbeddingConfig
from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.metrics import prequential as measures
from panther_pipeline.metrics.config import BootstrapConfig
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.report import prequential_plot, prequential_table, run_facts
from panther_pipeline.scoring import prequential, shifts
from panther_pipeline.scoring.fit import HeadConfig
from panther_pipeline.scoring.shifts import PrequentialConfig, Shift
from panther_pipeline.scoring.task import FraudTaskConfig
from panther_pipeline.scoring.trees import TreeConfig
from panther_pipeline.tokenizer.sequences import TokenSequences


def plan_shifts(
    valid_events: pl.LazyFrame, config: PrequentialConfig, task: FraudTaskConfig, splits: SplitConfig
) -> list[Shift]:
    """The points in time at which heads are refitted."""
    columns = valid_events.lazy().select("event_time", "label").collect()
    return shifts.plan_shifts(columns, config, task, splits)


def embed_shifts(
    valid_events: pl.LazyFrame,
    backbone: Backbone,
    token_sequences: TokenSequences,
    event_surprises: pl.DataFrame,
    prequential_shifts: list[Shift],
    config: EventEmbeddingConfig,
) -> pl.DataFrame:
    """The embeddings of all events that any shift reads."""
    events = valid_events.lazy().collect()
    rows_M = shifts.choose_rows_of_shifts(events, prequential_shifts)
    embedded = embed.embed_rows(backbone, token_sequences, event_surprises, rows_M, config)
    return embedded.with_columns(event_id=events["event_id"].gather(embedded["row"]))


def score_shifts(
    valid_events: pl.LazyFrame,
    event_features: pl.DataFrame,
    shift_embeddings: pl.DataFrame,
    prequential_shifts: list[Shift],
    config: PrequentialConfig,
    head: HeadConfig,
    trees: TreeConfig,
) -> pl.DataFrame:
    """Every model, refitted and not, on every test window."""
    events = valid_events.lazy().collect()
    return prequential.score_shifts(events, event_features, shift_embeddings, prequential_shifts, config, head, trees)


def measure_shifts(prequential_scores: pl.DataFrame, config: BootstrapConfig) -> list[dict[str, Any]]:
    """Metrics of each shift and their means."""
    return measures.measure_shifts(prequential_scores, config)


def write_prequential_table(
    prequential_metrics: list[dict[str, Any]],
    prequential_shifts: list[Shift],
    config: PrequentialConfig,
    token_sequences: TokenSequences,
    backbone: Backbone,
    code_version: dict[str, str],
    seed: int,
    transfer_report: dict[str, Any],
) -> str:
    """The metrics as a page for people."""
    facts = run_facts.describe_run(token_sequences, backbone, code_version, seed, transfer_report)
    return prequential_table.render_prequential_table(prequential_metrics, prequential_shifts, config.seeds, facts)


def plot_prequential(prequential_metrics: list[dict[str, Any]]) -> go.Figure:
    """A line per model over the shifts."""
    return prequential_plot.plot_prequential(prequential_metrics)
