"""What the vocabulary covers: as a table, and per split and calendar month.

Shape letters: N events, V vocabulary, F token attributes, L back-off levels.
"""

from typing import Any

import numpy as np
import polars as pl

from panther_pipeline.errors import ArtifactError
from panther_pipeline.ledger.splits import SPLIT_NAMES
from panther_pipeline.tokenizer.fields import UNKNOWN
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer
from panther_pipeline.tokenizer.vocabulary import FIRST_TOKEN


def tabulate_vocabulary(tokenizer: Tokenizer) -> pl.DataFrame:
    """One row per token id.

    Returns:
        id, token (its name), count (training events that use it), share of training events,
        cumulative_coverage (share of training events with this id or a smaller one, [UNK] left out),
        backoff_level (attributes dropped; null for [PAD], all of them for [UNK]).
    """
    counts_V = tokenizer.vocabulary.counts_V
    total = max(1, int(counts_V.sum()))
    covered_V = np.cumsum(np.where(np.arange(len(counts_V)) < FIRST_TOKEN, 0, counts_V))
    levels = [None, *tokenizer.vocabulary.levels_V[1:].tolist()]
    return pl.DataFrame(
        {
            "id": np.arange(len(counts_V)),
            "token": tokenizer.names,
            "count": counts_V,
            "share": counts_V / total,
            "cumulative_coverage": covered_V / total,
            "backoff_level": pl.Series(levels, dtype=pl.Int8),
        }
    )


def measure_coverage(sequences: TokenSequences, tokenizer: Tokenizer) -> dict[str, Any]:
    """How often each level of the vocabulary is used, per split and per calendar month (UTC).

    Returns:
        A JSON value: `splits` and `months` are lists of records with num_events, whole_rate (events that
        keep their whole tuple: the coverage the paper speaks of), coverage (anything but [UNK]), unk_rate,
        backoff_rates (for 1, 2, ... dropped attributes) and unknown_rates (per field: missing, rare or
        never seen values).

    Raises:
        ArtifactError: the sequences were encoded by another tokenizer.
    """
    if sequences.tokenizer_digest != tokenizer.digest:
        raise ArtifactError(
            f"The sequences were encoded by tokenizer {sequences.tokenizer_digest[:12]}, not by this one, "
            f"{tokenizer.digest[:12]}. Run `kedro run --pipelines=tokenize` again."
        )
    level_N = tokenizer.vocabulary.levels_V[sequences.token_ids_N]
    unknown_NF = sequences.attribute_ids_NF == UNKNOWN
    months_N = sequences.time_us_N.astype("datetime64[us]").astype("datetime64[M]")
    splits = {SPLIT_NAMES[code]: sequences.split_N == code for code in SPLIT_NAMES}
    months = {str(month): months_N == month for month in np.unique(months_N)}

    def records(key: str, groups: dict[str, np.ndarray]) -> list[dict[str, Any]]:
        return [
            {key: name, **_usage(level_N[mask_N], unknown_NF[mask_N], tokenizer)}
            for name, mask_N in groups.items()
            if mask_N.any()
        ]

    content = tokenizer.content
    return {
        "tokenizer_digest": tokenizer.digest,
        "vocab_size": tokenizer.vocab_size,
        "num_train_tuples": content.num_train_tuples,
        "num_backoff_tokens": int((tokenizer.vocabulary.levels_V[FIRST_TOKEN:] > 0).sum()),
        "drop_order": content.drop_order,
        "information_nats": dict(zip(tokenizer.attribute_names, content.information_nats, strict=True)),
        "splits": records("split", splits),
        "months": records("month", months),
    }


def _usage(level_N: np.ndarray, unknown_NF: np.ndarray, tokenizer: Tokenizer) -> dict[str, Any]:
    num_fields = len(tokenizer.fields)
    rates_L = np.bincount(level_N, minlength=num_fields + 1) / len(level_N)
    return {
        "num_events": len(level_N),
        "whole_rate": float(rates_L[0]),
        "coverage": float(1 - rates_L[num_fields]),
        "unk_rate": float(rates_L[num_fields]),
        "backoff_rates": {str(level): float(rates_L[level]) for level in range(1, tokenizer.content.max_dropped + 1)},
        "unknown_rates": dict(zip(tokenizer.attribute_names, unknown_NF.mean(axis=0).tolist(), strict=True)),
    }
