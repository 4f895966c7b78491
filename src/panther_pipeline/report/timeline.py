"""One user's history, event by event: how surprised the model was, and what it expected instead.

The forecast of an event is made from the events before it alone.

Shape letters: M events shown, m of them at a time, D width, V vocabulary, K expected, F token attributes.
"""

from collections.abc import Callable

import numpy as np
import polars as pl
import torch
from pydantic import Field
from torch import Tensor

from panther_pipeline.baselines.candidates import FIRST_CANDIDATE, MISS
from panther_pipeline.baselines.next_transaction import fit_popularity
from panther_pipeline.cache.states import iter_state_chunks
from panther_pipeline.config import Config
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.splits import SPLIT_NAMES, TEST
from panther_pipeline.metrics.ranking import rank_tokens
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer

SCHEMA = {
    "user_id": pl.String,
    "event_time": pl.Datetime("us", "UTC"),
    "position": pl.Int64,
    "split": pl.String,
    "token": pl.String,
    "surprise_bits": pl.Float64,
    "rank": pl.Int32,
    "expected": pl.List(pl.Struct({"token": pl.String, "prob": pl.Float64})),
    "label": pl.Int8,
}
_ENOUGH_EVENTS = 20  # test events of a user whose mean surprise is taken for typical
_PLACES = 10  # tuples are ranked among the so many likeliest: their number is too large to rank them all
_SCORES_PER_STEP = 1 << 24  # 64 MB of float32

# states (m, D), rows of the events that came after them (m,) → surprise in bits (m,), place (m,; 0 = unknown),
# and for each event the names and probabilities of what was expected most
Forecast = Callable[[Tensor, np.ndarray], tuple[np.ndarray, np.ndarray, list[list[dict]]]]


class TimelineConfig(Config):
    """Whose history is drawn and how much of it."""

    enabled: bool  # false: no user's history in the card
    user_id: str | None  # null = chosen by `choose_user`
    max_events: int = Field(gt=0)  # the latest so many are drawn
    num_expected: int = Field(gt=0)  # likeliest transactions named per event
    batch_size: int = Field(gt=0)  # windows per forward pass


def tabulate_timeline(
    backbone: Backbone,
    sequences: TokenSequences,
    tokenizer: Tokenizer,
    labels: pl.Series,
    tuple_scores: pl.DataFrame,
    config: TimelineConfig,
) -> pl.DataFrame:
    """Surprise, rank and expectation of each of a user's latest events; the first event has no forecast and no row.

    Args:
        backbone: in evaluation mode, of either kind.
        sequences: all histories.
        tokenizer: for the names.
        labels: int8 (N,), 1 = fraud; null without a label.
        tuple_scores: from `score_next_tuples`, to choose a user.
        config: whose history.

    Returns:
        user_id, event_time, position (0 = the user's first event), split, token (name; of the whole combination where
        the backbone is factored), surprise_bits (float64, -log2 p of what came), rank (int32, 1 = expected most; null
        for [UNK], and beyond the tenth combination of a factored backbone), expected (the likeliest, with p), label.
        No rows when it is switched off or nobody has two events.

    Raises:
        ConfigurationError: the configured user is not in the ledger or has fewer than two events.
    """
    user = choose_user(sequences, labels, tuple_scores, config) if config.enabled else None
    if user is None:
        return pl.DataFrame(schema=SCHEMA)
    first, stop = int(sequences.offsets_U1[user]), int(sequences.offsets_U1[user + 1])
    rows_M = np.arange(max(first + 1, stop - config.max_events), stop)
    forecast = (_forecast_tokens if backbone.tuple_head is None else _forecast_tuples)(
        backbone, sequences, tokenizer, config.num_expected
    )
    parts = []
    step = max(1, _SCORES_PER_STEP // backbone.vocab_size)
    for states_m, h_mD in iter_state_chunks(backbone, sequences, rows_M - 1, config.batch_size):
        for start in range(0, len(states_m), step):
            rows_m = states_m[start : start + step] + 1
            with torch.inference_mode():
                bits_m, place_m, expected_m = forecast(h_mD[start : start + step], rows_m)
            parts.append(pl.DataFrame({"row": rows_m, "bits": bits_m, "place": place_m, "expected": expected_m}))
    table = pl.concat(parts).sort("row")
    rows_M = table["row"].to_numpy()
    if backbone.tuple_head is None:
        names = [tokenizer.names[token] for token in sequences.token_ids_N[rows_M]]
    else:
        names = tokenizer.name_tuples(sequences.attribute_ids_NF[rows_M])
    columns = {
        "user_id": [sequences.user_ids[user]] * len(rows_M),
        "event_time": sequences.time_us_N[rows_M].astype("datetime64[us]"),
        "position": rows_M - first,
        "split": [SPLIT_NAMES[split] for split in sequences.split_N[rows_M]],
        "token": names,
        "surprise_bits": table["bits"],
        "rank": table["place"].replace(0, None),
        "expected": table["expected"],
        "label": labels.gather(rows_M),
    }
    return pl.DataFrame(columns).with_columns(pl.col("event_time").dt.replace_time_zone("UTC")).cast(SCHEMA)


def choose_user(
    sequences: TokenSequences, labels: pl.Series, tuple_scores: pl.DataFrame, config: TimelineConfig
) -> int | None:
    """Position of the configured user; else who has most fraud in the test split; else a typical one.

    Typical: the median of the users' mean surprise in the test split, among those with enough events there (among all,
    where nobody has). Ties go to the first in the order of the ledger. None where no user has two events.

    Raises:
        ConfigurationError: the configured user is not there or has fewer than two events.
    """
    num_events_U = np.diff(sequences.offsets_U1)
    if config.user_id is not None:
        # Not by search: the ids are sorted as the ledger sorts, which need not be Python's order.
        user = next((u for u, user_id in enumerate(sequences.user_ids) if user_id == config.user_id), None)
        if user is None or num_events_U[user] < 2:
            raise ConfigurationError(
                "evaluation.timeline.user_id names a user with fewer than two events, or none of this ledger. Write a "
                "user_id of valid_events, or null to have one chosen."
            )
        return user
    is_fraud_N = (labels == 1).fill_null(False).to_numpy() & (sequences.split_N == TEST)
    frauds_U = np.bincount(sequences.user_ix_N()[is_fraud_N], minlength=sequences.num_users) * (num_events_U > 1)
    if frauds_U.any():
        return int(frauds_U.argmax())
    bits = tuple_scores.filter(pl.col("model").str.starts_with("panther")).group_by("user_ix").agg(
        pl.len(), pl.col("bits").mean()
    )  # fmt: skip
    enough = bits.filter(pl.col("len") >= _ENOUGH_EVENTS)
    ordered = (bits if enough.is_empty() else enough).sort("bits", "user_ix")
    return int(ordered["user_ix"][(len(ordered) - 1) // 2]) if len(ordered) else None


def _forecast_tokens(backbone: Backbone, sequences: TokenSequences, tokenizer: Tokenizer, num: int) -> Forecast:
    popularity_V = torch.from_numpy(fit_popularity(sequences)).to(backbone.device)
    num = min(num, backbone.vocab_size - FIRST_CANDIDATE)

    def forecast(h_mD: Tensor, rows_m: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[list[dict]]]:
        tokens_m = torch.from_numpy(sequences.token_ids_N[rows_m].astype(np.int64)).to(h_mD.device)
        scores_mV = backbone.next_token_logits(h_mD).float()
        rank_m = rank_tokens(scores_mV, tokens_m, popularity_V)
        log_prob_mV = scores_mV.log_softmax(-1)
        best_mK = log_prob_mV[:, FIRST_CANDIDATE:].topk(num)
        names = [[tokenizer.names[token + FIRST_CANDIDATE] for token in row] for row in best_mK.indices.tolist()]
        own_m = log_prob_mV.gather(1, tokens_m[:, None])[:, 0]
        return _bits(own_m), torch.where(rank_m == MISS, 0, rank_m).cpu().numpy(), _pair(names, best_mK.values)

    return forecast


def _forecast_tuples(backbone: Backbone, sequences: TokenSequences, tokenizer: Tokenizer, num: int) -> Forecast:
    head = backbone.tuple_head

    def forecast(h_mD: Tensor, rows_m: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[list[dict]]]:
        seen_mF = torch.from_numpy(sequences.attribute_ids_NF[rows_m].astype(np.int64)).to(h_mD.device)
        ids_mKF, log_prob_mK = head.likeliest(h_mD, max(num, _PLACES))
        is_hit_mK = (ids_mKF == seen_mF[:, None]).all(-1)
        place_m = torch.where(is_hit_mK.any(-1), is_hit_mK.int().argmax(-1) + 1, 0).cpu().numpy()
        names = [tokenizer.name_tuples(ids_KF) for ids_KF in ids_mKF[:, :num].cpu().numpy()]
        return _bits(head.log_prob(h_mD, seen_mF)), place_m, _pair(names, log_prob_mK[:, :num])

    return forecast


def _bits(log_prob_m: Tensor) -> np.ndarray:
    return -log_prob_m.double().cpu().numpy() / np.log(2)


def _pair(names: list[list[str]], log_prob_mK: Tensor) -> list[list[dict]]:
    probs = log_prob_mK.double().exp().tolist()
    return [
        [{"token": name, "prob": prob} for name, prob in zip(*both, strict=True)]
        for both in zip(names, probs, strict=True)
    ]
