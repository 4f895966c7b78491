"""Nodes of the `tokenize` pipeline."""

from typing import Any

import plotly.graph_objects as go
import polars as pl

from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.report import coverage_plot
from panther_pipeline.tokenizer import coverage
from panther_pipeline.tokenizer.build import build_sequences
from panther_pipeline.tokenizer.config import VocabularyConfig
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer


def fit_tokenizer(
    valid_events: pl.LazyFrame, profiles: pl.DataFrame, config: VocabularyConfig, splits: SplitConfig
) -> Tokenizer:
    """Bins, categories and vocabulary, fitted on training events alone."""
    return Tokenizer.fit(valid_events, profiles, config, splits)


def encode_events(
    valid_events: pl.LazyFrame, profiles: pl.DataFrame, tokenizer: Tokenizer, splits: SplitConfig
) -> TokenSequences:
    """Token and attribute ids of every event; row n is row n of `valid_events`."""
    return build_sequences(valid_events, profiles, tokenizer, splits)


def tabulate_vocabulary(tokenizer: Tokenizer) -> pl.DataFrame:
    """The vocabulary as a table that anyone can open."""
    return coverage.tabulate_vocabulary(tokenizer)


def measure_coverage(token_sequences: TokenSequences, tokenizer: Tokenizer) -> dict[str, Any]:
    """Coverage, back-off and [UNK] per split and month."""
    return coverage.measure_coverage(token_sequences, tokenizer)


def plot_coverage(vocabulary: pl.DataFrame, coverage_report: dict[str, Any]) -> go.Figure:
    """Coverage by vocabulary size, and its drift."""
    return coverage_plot.plot_coverage(vocabulary, coverage_report)
