"""Both kinds of tokenizer on the same question: which combination of attribute values comes next.

Ranks of tokens cannot compare them: a structured token may stand for many tuples, a factored model has no tokens. So
each states p(tuple | history), a distribution over all tuples, for the same discretised tuple of every target:
 - factored: the product of its conditionals;
 - structured: p(token | history) · p(tuple | token), the second from training events (`metrics.tuple_shares`);
 - popularity: the tuples' smoothed shares in training, without history.

Shape letters: N events, M targets, D width, V vocabulary, C candidate tuples, F token attributes.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor
from tqdm import tqdm

from panther_pipeline.baselines.candidates import FIRST_CANDIDATE
from panther_pipeline.baselines.next_transaction import rank_with_baselines
from panther_pipeline.cache.states import iter_state_chunks
from panther_pipeline.errors import ArtifactError
from panther_pipeline.ledger.splits import TRAIN
from panther_pipeline.metrics.bootstrap import bootstrap_means
from panther_pipeline.metrics.config import BootstrapConfig, RankingConfig
from panther_pipeline.metrics.next_transaction import TASK, is_cold_user, select_targets
from panther_pipeline.metrics.records import make_record
from panther_pipeline.metrics.tuple_shares import TupleShares, count_tuples
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.tuple_head import TupleHead
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer
from panther_pipeline.tokenizer.vocabulary import Vocabulary, code_strides

MODELS = {"structured": "panther_structured", "factored": "panther_factored"}
CANDIDATES = "all combinations"
_PLACES = 10  # the tuple that came is looked for among the so many likeliest
_SCORES_PER_STEP = 1 << 24  # 64 MB of float32

# (states (m, D), rows of the targets (m,)) → log p of the tuples that came (nats), their places (0 = beyond _PLACES)
Forecast = Callable[[Tensor, np.ndarray], tuple[np.ndarray, np.ndarray]]


def score_next_tuples(
    backbone: Backbone, sequences: TokenSequences, tokenizer: Tokenizer, config: RankingConfig
) -> pl.DataFrame:
    """How likely the tuple of every target was, and its place among the ten likeliest.

    Args:
        backbone: in evaluation mode, of either kind.
        sequences: all histories.
        tokenizer: which tuples fall to which token.
        config: which targets, as in `rank_next_transactions`. A combination is always placed among all:
            `exclude_seen` speaks of tokens.

    Returns:
        One row per model and target: row (int64), user_ix (int32), model, bits (float64, -log2 p; null for the
        baselines that only rank), place (int32, null beyond the tenth), cold (bool).

    Raises:
        ArtifactError: the sequences were encoded by another tokenizer.
    """
    if tokenizer.digest != sequences.tokenizer_digest:
        raise ArtifactError(
            f"the sequences were encoded by tokenizer {sequences.tokenizer_digest[:12]}, not by {tokenizer.digest[:12]}"
            ". Run `kedro run --pipelines=tokenize` again."
        )
    rows_M = select_targets(sequences, config)
    codes_N = sequences.attribute_ids_NF.astype(np.int64) @ code_strides(np.array(sequences.attribute_sizes))
    places = _places_of_baselines(sequences, rows_M, codes_N)
    bits = {"popularity": -_popularity_log_prob(sequences, codes_N)[rows_M] / np.log(2)}
    if backbone.tuple_head is not None:
        forecast = forecast_with_head(backbone.tuple_head, sequences.attribute_ids_NF)
    else:
        forecast = forecast_with_tokens(backbone, tokenizer.vocabulary, sequences, codes_N)
    model = MODELS[backbone.tokenizer_kind]
    log_prob_M, places[model] = _score_targets(backbone, sequences, rows_M, config.batch_size, forecast)
    bits[model] = -log_prob_M / np.log(2)
    user_ix_M = sequences.user_ix_N()[rows_M]
    shared = pl.DataFrame(
        {"row": rows_M, "user_ix": user_ix_M.astype(np.int32), "cold": is_cold_user(sequences)[user_ix_M]}
    )
    return pl.concat(
        shared.select(
            "row",
            "user_ix",
            model=pl.lit(name),
            bits=pl.Series(bits[name]) if name in bits else pl.lit(None, dtype=pl.Float64),
            place=pl.Series(places_M, dtype=pl.Int32).replace(0, None),
            cold="cold",
        )
        for name, places_M in places.items()
    )


def forecast_with_head(head: TupleHead, attribute_ids_NF: np.ndarray) -> Forecast:
    """The forecast of a factored model: exact, over all tuples."""

    def forecast(h_mD: Tensor, rows_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen_mF = torch.from_numpy(attribute_ids_NF[rows_m].astype(np.int64)).to(h_mD.device)
        ids_mKF, _ = head.likeliest(h_mD, _PLACES)
        is_hit_mK = (ids_mKF == seen_mF[:, None]).all(-1)
        return head.log_prob(h_mD, seen_mF).double().cpu().numpy(), _place(is_hit_mK)

    return forecast


def forecast_with_tokens(
    backbone: Backbone, vocabulary: Vocabulary, sequences: TokenSequences, codes_N: np.ndarray
) -> Forecast:
    """The forecast of a structured model, its tokens spread over the tuples that fall to them."""
    num_tuples_V = count_tuples(vocabulary)
    is_train_N = sequences.split_N == TRAIN
    shares = TupleShares.fit(codes_N[is_train_N], sequences.token_ids_N[is_train_N], num_tuples_V)
    candidates_C = shares.likeliest(_PLACES)
    code_C, token_C = shares.codes_T[candidates_C], torch.from_numpy(shares.groups_T[candidates_C])
    log_share_C = torch.from_numpy(shares.log_share_T[candidates_C]).float()
    # [PAD], and a token whose tuples all have tokens of their own, stand for nothing that can happen.
    is_empty_V = torch.from_numpy(num_tuples_V == 0)

    def forecast(h_mD: Tensor, rows_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # The candidates are few and the sums short: on the CPU, wherever the states were computed.
        scores_mV = backbone.next_token_logits(h_mD).float().cpu()
        log_prob_mV = scores_mV.masked_fill(is_empty_V, -torch.inf).log_softmax(-1)
        tokens_m = sequences.token_ids_N[rows_m].astype(np.int64)
        log_prob_m = log_prob_mV.gather(1, torch.from_numpy(tokens_m)[:, None])[:, 0].double().numpy()
        place_m = _place_among(log_prob_mV[:, token_C] + log_share_C, code_C, codes_N[rows_m])
        return log_prob_m + shares.log_share(codes_N[rows_m], tokens_m), place_m

    return forecast


def _score_targets(
    backbone: Backbone, sequences: TokenSequences, rows_M: np.ndarray, batch_size: int, forecast: Forecast
) -> tuple[np.ndarray, np.ndarray]:
    log_prob_M, places_M = np.empty(len(rows_M)), np.empty(len(rows_M), dtype=np.int32)
    step = max(1, _SCORES_PER_STEP // (backbone.vocab_size * _PLACES))
    with tqdm(total=len(rows_M), desc="tuples", unit="event", unit_scale=True) as bar:
        for states_m, h_mD in iter_state_chunks(backbone, sequences, rows_M - 1, batch_size):
            for start in range(0, len(states_m), step):
                rows_m = states_m[start : start + step] + 1
                at_m = np.searchsorted(rows_M, rows_m)
                with torch.inference_mode():
                    log_prob_M[at_m], places_M[at_m] = forecast(h_mD[start : start + step], rows_m)
            bar.update(len(states_m))
    return log_prob_M, places_M


def _place(is_hit_mK: Tensor) -> np.ndarray:
    """1 for a hit in the first column, ...; 0 without any."""
    return torch.where(is_hit_mK.any(-1), is_hit_mK.int().argmax(-1) + 1, 0).cpu().numpy()


def _place_among(scores_mC: Tensor, code_C: np.ndarray, codes_m: np.ndarray) -> np.ndarray:
    """Place of each code among the candidates, 0 beyond _PLACES or if it is none.

    Tuples that came equally often within a token tie at every target: the lower code goes first, not what a sort does.
    """
    own_m = torch.from_numpy(np.minimum(np.searchsorted(code_C, codes_m), len(code_C) - 1))
    own_score_m1 = scores_mC.gather(1, own_m[:, None])
    comes_before = torch.arange(len(code_C)) < own_m[:, None]
    place_m = 1 + ((scores_mC > own_score_m1) | ((scores_mC == own_score_m1) & comes_before)).sum(1).numpy()
    return np.where((code_C[own_m.numpy()] == codes_m) & (place_m <= _PLACES), place_m, 0)


def _popularity_log_prob(sequences: TokenSequences, codes_N: np.ndarray) -> np.ndarray:
    num_tuples = int(np.prod(np.array(sequences.attribute_sizes) - 1))
    nobody_N = np.zeros(len(codes_N), dtype=np.int64)
    is_train_N = sequences.split_N == TRAIN
    shares = TupleShares.fit(codes_N[is_train_N], nobody_N[is_train_N], np.array([num_tuples]))
    return shares.log_share(codes_N, nobody_N)


def _places_of_baselines(sequences: TokenSequences, rows_M: np.ndarray, codes_N: np.ndarray) -> dict[str, np.ndarray]:
    """The baselines of the token table, with every tuple a token of its own."""
    distinct, index_N = np.unique(codes_N, return_inverse=True)
    as_tokens = replace(
        sequences,
        token_ids_N=(index_N + FIRST_CANDIDATE).astype(np.int32),
        vocab_size=len(distinct) + FIRST_CANDIDATE,
    )
    ranks = rank_with_baselines(as_tokens, rows_M)
    return {name: np.where(ranks_M <= _PLACES, ranks_M, 0).astype(np.int32) for name, ranks_M in ranks.items()}


def measure_next_tuples(scores: pl.DataFrame, config: BootstrapConfig) -> list[dict[str, Any]]:
    """bits_per_transaction, tuple_hr@1 and tuple_hr@10 of every model, with intervals over users.

    Args:
        scores: from `score_next_tuples`.
        config: of the intervals.

    Returns:
        Records of split "test" (every target) and "test_cold" (targets of users without training events, if any).
        The model's name says its kind of tokenizer: panther_structured or panther_factored.
    """
    splits = {"test": scores, "test_cold": scores.filter("cold")}
    return [record for name, table in splits.items() if len(table) for record in _measure_split(name, table, config)]


def _measure_split(split: str, scores: pl.DataFrame, config: BootstrapConfig) -> list[dict[str, Any]]:
    columns: dict[tuple[str, str], np.ndarray] = {}
    for model in scores["model"].unique(maintain_order=True):
        table = scores.filter(model=model)
        user_ix_M, place_M = table["user_ix"].to_numpy(), table["place"].fill_null(_PLACES + 1).to_numpy()
        columns |= {(model, f"tuple_hr@{k}"): (place_M <= k).astype(np.float64) for k in (1, _PLACES)}
        if table["bits"].null_count() == 0:
            columns[model, "bits_per_transaction"] = table["bits"].to_numpy()
    mean_S, low_S, high_S = bootstrap_means(
        np.column_stack(list(columns.values())), user_ix_M, num_resamples=config.num_resamples, seed=config.seed
    )
    return [
        make_record(
            task=TASK,
            model=model,
            metric=metric,
            split=split,
            value=value,
            low=None if np.isnan(low) else low,
            high=None if np.isnan(high) else high,
            n=len(user_ix_M),
            candidates=CANDIDATES,
        )
        for (model, metric), value, low, high in zip(columns, mean_S, low_S, high_S, strict=True)
    ]
