"""The heads, the backbone alone and the baselines on the same targets, those that next transactions are ranked on.

Shape letters: N events, M targets, m some of them, D width, V ids of one attribute.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl
from torch import Tensor
from tqdm import tqdm

from panther_pipeline.baselines.candidates import SeenTokens
from panther_pipeline.baselines.next_transaction import fit_popularity, rank_with_baselines
from panther_pipeline.cache.states import collect_states
from panther_pipeline.errors import ArtifactError
from panther_pipeline.metrics.config import BootstrapConfig, RankingConfig
from panther_pipeline.metrics.next_transaction import measure_ranks, select_targets, tabulate_ranks
from panther_pipeline.metrics.ranking import rank_targets
from panther_pipeline.metrics.records import make_record
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.tasks.next_value.head import NextValueHead, NextValueHeads
from panther_pipeline.tasks.next_value.marginal import ValueMarginal
from panther_pipeline.tasks.next_value.values import encode_values
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer

BACKBONE, HEAD = "panther", "panther_head"
COVERAGE = "coverage"  # metric: share of the targets whose value can be forecast at all; of no model in particular
_SCORES_AT_ONCE = 1 << 22  # 16 MB of float32
_SCHEMA = {
    "attribute": pl.String, "row": pl.Int64, "user_ix": pl.Int32, "model": pl.String, "rank": pl.Int32,
    "log_prob": pl.Float32, "cold": pl.Boolean, "candidates": pl.String,
}  # fmt: skip
Score = Callable[[Tensor, np.ndarray], Tensor]  # states (m, D) and the rows they forecast → scores (m, V)


def rank_next_values(
    backbone: Backbone,
    sequences: TokenSequences,
    tokenizer: Tokenizer,
    events: pl.LazyFrame,
    heads: NextValueHeads,
    config: RankingConfig,
) -> pl.DataFrame:
    """Rank the value of every target, attribute by attribute, with every model.

    Args:
        backbone: in evaluation mode; the one the heads were fitted on.
        sequences: all histories.
        tokenizer: made the sequences.
        events: `valid_events`; row n is row n of the sequences.
        heads: from `fit_next_value_heads`.
        config: which targets. Values are ranked among all of training: `exclude_seen` speaks of tokens.

    Returns:
        One row per attribute, model and target: attribute, and the columns of `rank_next_transactions`. The rank is
        null where the value is not among those of training. No rows without heads.

    Raises:
        ConfigurationError: no test event has an earlier event of its user.
        ArtifactError: the heads belong to another backbone.
    """
    if not heads.heads:
        return pl.DataFrame(schema=_SCHEMA)
    if heads.backbone_digest != backbone.digest:
        raise ArtifactError(
            "the next-value heads were fitted on another backbone than this one: they cannot read its states. "
            "Run `kedro run --pipelines=finetune` again."
        )
    rows_M = select_targets(sequences, config)
    h_MD = collect_states(backbone, sequences, rows_M - 1, config.batch_size)
    tables = []
    for head in tqdm(heads.heads, desc="next values", unit="attribute"):
        values = encode_values(events, sequences, head.field)
        marginal = ValueMarginal.of(head.attribute, backbone, tokenizer, sequences, values)
        tables.append(_rank_attribute(head, marginal, values, rows_M, h_MD))
    return pl.concat(tables).select(pl.col(name).cast(kind) for name, kind in _SCHEMA.items())


def measure_next_values(ranks: pl.DataFrame, config: BootstrapConfig) -> list[dict[str, Any]]:
    """Records of the task next_<attribute>: what `measure_ranks` gives, and the share of targets that can be forecast.

    Args:
        ranks: from `rank_next_values`.
        config: of the intervals.
    """
    records = []
    for (attribute,), table in ranks.group_by("attribute", maintain_order=True):
        task = f"next_{attribute}"
        records += measure_ranks(table, config, task=task, model=HEAD)
        of_head = table.filter(model=HEAD)
        records += [
            make_record(
                task=task, model="any", metric=COVERAGE, split=split, value=part["rank"].is_not_null().mean(),
                low=None, high=None, n=len(part), candidates=table["candidates"][0],
            )
            for split, part in {"test": of_head, "test_cold": of_head.filter("cold")}.items()
            if len(part)
        ]  # fmt: skip
    return records


def score_with_head(head: NextValueHead, values: TokenSequences) -> Score:
    """The head's scores; what the user had before an event is read off the values."""
    seen = SeenTokens(values)
    return lambda h_mD, rows_m: head.score(h_mD, seen.counted_pairs(rows_m))


def _rank_attribute(
    head: NextValueHead, marginal: ValueMarginal | None, values: TokenSequences, rows_M: np.ndarray, h_MD: Tensor
) -> pl.DataFrame:
    ranks, log_probs = rank_with_baselines(values, rows_M), {}
    scores: dict[str, Score] = {HEAD: score_with_head(head, values)}
    width = values.vocab_size
    if marginal is not None:
        scores = {BACKBONE: lambda h_mD, _: marginal.log_prob(h_mD)} | scores
        width = max(width, marginal.shares_VG.shape[1])
    popularity_V = fit_popularity(values)
    for model, score in scores.items():
        chunks = _chunks(rows_M, h_MD, width)
        _, ranks[model], log_probs[model] = rank_targets(chunks, score, values.token_ids_N, popularity_V)
    candidates = f"the {values.vocab_size - 2:,} values of {head.attribute}"
    table = tabulate_ranks(values, rows_M, ranks, log_probs, candidates)
    return table.with_columns(attribute=pl.lit(head.attribute))


def _chunks(rows_M: np.ndarray, h_MD: Tensor, width: int) -> Iterator[tuple[np.ndarray, Tensor]]:
    """(row before the target, state after it) in pieces whose scores fit the memory."""
    step = max(1, _SCORES_AT_ONCE // width)
    for start in range(0, len(rows_M), step):
        yield rows_M[start : start + step] - 1, h_MD[start : start + step]
