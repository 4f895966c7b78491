"""How much of the possible a model reached, where the process that drew the ledger is known.

Shape letters: N rows of the oracle table, M targets, G tuples of the token grid.
"""

import logging
from typing import Any

import numpy as np
import polars as pl

from panther_pipeline.baselines.candidates import FIRST_CANDIDATE, MISS
from panther_pipeline.ledger.simulator import SimulationTruth, best_next_tokens
from panther_pipeline.metrics.bootstrap import percentile_interval, resample_means
from panther_pipeline.metrics.config import ALL_TOKENS, BootstrapConfig
from panther_pipeline.metrics.next_transaction import MODEL, TASK
from panther_pipeline.metrics.ranking import hit_at
from panther_pipeline.metrics.records import make_record
from panther_pipeline.tokenizer.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

_KNOWN_CATEGORIES = ("category", "channel")  # what the simulator's forecast is about, beside the amount


def measure_oracle(
    oracle: pl.DataFrame,
    truth: SimulationTruth | pl.DataFrame,
    valid_events: pl.DataFrame,
    tokenizer: Tokenizer,
    ranks: pl.DataFrame,
    config: BootstrapConfig,
) -> list[dict[str, Any]]:
    """hr@1 of the best possible forecast on the same targets, and each model's share of it.

    The best forecast knows every user's tastes exactly; it is a ceiling in expectation, not one that can be
    reached.

    Args:
        oracle: the simulator's state before each transaction; a frame without rows for any other ledger.
        truth: the same simulation's constants.
        valid_events: the ledger, for the ids of the targets.
        tokenizer: what a token is.
        ranks: from `rank_next_transactions`.
        config: of the intervals.

    Returns:
        Records hr@1 of model "oracle" and share_of_oracle of "panther" (if it ranks tokens), per split; none without
        an oracle, when the tokens are made of things the simulator gives no distribution for, or when the targets were
        ranked among other candidates than all tokens (the log says which).
    """
    if oracle.is_empty() or not isinstance(truth, SimulationTruth):
        return []
    foreign = [f.name for f in tokenizer.fields if f.source != "amount" and f.column not in _KNOWN_CATEGORIES]
    if foreign:
        logger.warning("No oracle: the tokens contain %s, for which the simulator gives no distribution.", foreign)
        return []
    if ranks["candidates"][0] != ALL_TOKENS:
        logger.warning("No oracle: it is of all tokens, and the targets were ranked among %s.", ranks["candidates"][0])
        return []
    # A factored backbone ranks no tokens; the targets of every model are the same.
    model = MODEL if MODEL in ranks["model"] else ranks["model"][0]
    targets = ranks.filter(model=model)
    targets = targets.with_columns(event_id=valid_events["event_id"].gather(targets["row"]))
    known = oracle.unique("transaction_id", keep="first", maintain_order=True)
    states = targets.select("event_id").join(
        known, left_on="event_id", right_on="transaction_id", how="left", maintain_order="left"
    )
    is_known_M = states["user_ix"].is_not_null().to_numpy()
    best_M = _best_probability(states.filter(is_known_M), truth, tokenizer)
    targets = targets.filter(is_known_M).with_columns(best=best_M)
    splits = {"test": targets, "test_cold": targets.filter("cold")}
    return [record for split, table in splits.items() if len(table) for record in _measure_split(split, table, config)]


def _best_probability(states: pl.DataFrame, truth: SimulationTruth, tokenizer: Tokenizer) -> np.ndarray:
    has_amount = any(field.source == "amount" for field in tokenizer.fields)
    edges = np.array(tokenizer.amount_edges_cents if has_amount else [], dtype=np.int64)

    def encode(category_G: np.ndarray, channel_G: np.ndarray, bin_G: np.ndarray) -> np.ndarray:
        values = {"category": category_G, "channel": channel_G}
        columns = [
            bin_G + 2 if field.source == "amount" else tokenizer.attribute_ids(field.name, values[field.column])
            for field in tokenizer.fields
        ]
        ids_G = tokenizer.encode_attribute_tuples(np.column_stack(columns)).astype(np.int64)
        # [UNK] is no forecast: were its tuples one token, the ceiling would count guesses no model may make.
        return np.where(ids_G < FIRST_CANDIDATE, -1 - np.arange(len(ids_G)), ids_G)

    return best_next_tokens(states, truth, edges_cents=edges, encode=encode)[1]


def _measure_split(split: str, targets: pl.DataFrame, config: BootstrapConfig) -> list[dict[str, Any]]:
    hits_M = hit_at(targets["rank"].fill_null(MISS).to_numpy(), 1)
    both_M2 = np.column_stack([targets["best"].to_numpy(), hits_M])
    mean, means_R2 = resample_means(
        both_M2, targets["user_ix"].to_numpy(), num_resamples=config.num_resamples, seed=config.seed
    )
    best_R, model_R = means_R2.T
    low, high = zip(percentile_interval(best_R), percentile_interval(model_R / best_R), strict=True)
    shared = {"task": TASK, "split": split, "n": len(targets), "candidates": ALL_TOKENS}
    best = make_record(**shared, model="oracle", metric="hr@1", value=mean[0], low=low[0], high=high[0])
    if targets["model"][0] != MODEL:
        return [best]
    return [
        best,
        make_record(**shared, model=MODEL, metric="share_of_oracle", value=mean[1] / mean[0], low=low[1], high=high[1]),
    ]
