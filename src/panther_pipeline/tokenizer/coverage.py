"""What the vocabulary covers: as a table, and per split and calendar month, with what has drifted since training.

Shape letters: N events, V vocabulary, F token attributes, L back-off levels.
"""

import logging
from typing import Any

import numpy as np
import polars as pl

from panther_pipeline.errors import ArtifactError
from panther_pipeline.ledger.splits import SPLIT_NAMES, TRAIN
from panther_pipeline.tokenizer.fields import UNKNOWN
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer
from panther_pipeline.tokenizer.vocabulary import FIRST_TOKEN

logger = logging.getLogger(__name__)
_BATCH_EVENTS = 1 << 20
MOST_UNKNOWN = 0.05  # more unknown values than in training, by this share of events: the field has drifted
MOST_SHIFTED = 0.25  # population stability index from which a shift is commonly called large
_FEWEST_EVENTS = 100  # a smaller group shifts by chance


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
    """How often each level of the vocabulary is used, per split and per calendar month (UTC), and what has drifted.

    Returns:
        A JSON value: `splits` and `months` are lists of records with num_events, whole_rate (events that
        keep their whole tuple: the coverage the paper speaks of), coverage (anything but [UNK]), unk_rate,
        backoff_rates (for 1, 2, ... dropped attributes), unknown_rates (per field: missing, rare or
        never seen values) and stability (per field: population stability index against training).
        `drift` lists the groups, training aside, in which a field shows `MOST_UNKNOWN` more unknown values than
        training or an index above `MOST_SHIFTED`: {field, group, num_events, unknown_rate, train_unknown_rate,
        stability}.

    Raises:
        ArtifactError: the sequences were encoded by another tokenizer.
    """
    if sequences.tokenizer_digest != tokenizer.digest:
        raise ArtifactError(
            f"The sequences were encoded by tokenizer {sequences.tokenizer_digest[:12]}, not by this one, "
            f"{tokenizer.digest[:12]}. Run `kedro run --pipelines=tokenize` again."
        )
    splits, months = _count_usage(sequences, tokenizer)
    train = splits.get(SPLIT_NAMES[TRAIN])
    names = tokenizer.attribute_names
    records = {
        key: [
            {key[:-1]: name, **group.record(names, train, tokenizer.content.max_dropped)}
            for name, group in groups.items()
        ]
        for key, groups in {"splits": splits, "months": months}.items()
    }
    groups = {
        name: record for key in records for record in records[key] if (name := record[key[:-1]]) != SPLIT_NAMES[TRAIN]
    }
    content = tokenizer.content
    drift = _find_drift(groups, train, names)
    if drift:
        worst = max(drift, key=lambda record: record["stability"])
        logger.warning(
            "drift since training in %d fields and groups, most in field '%s', %s: population stability index %.2f; "
            "all of them: coverage_report, key drift", len(drift), worst["field"], worst["group"], worst["stability"],
        )  # fmt: skip
    return {
        "tokenizer_digest": tokenizer.digest,
        "vocab_size": tokenizer.vocab_size,
        "num_train_tuples": content.num_train_tuples,
        "num_backoff_tokens": int((tokenizer.vocabulary.levels_V[FIRST_TOKEN:] > 0).sum()),
        "drop_order": content.drop_order,
        "information_nats": dict(zip(names, content.information_nats, strict=True)),
        **records,
        "drift": drift,
    }


class _Usage:
    """Counts of one group of events."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        sizes = [len(tokenizer.fields) + 1, *tokenizer.attribute_sizes]
        self.counts = [np.zeros(size, dtype=np.int64) for size in sizes]  # by back-off level, then by each attribute

    @property
    def levels_L(self) -> np.ndarray:
        return self.counts[0]

    @property
    def values_F(self) -> list[np.ndarray]:
        return self.counts[1:]

    @property
    def num_events(self) -> int:
        return int(self.levels_L.sum())

    def unknown_rates(self) -> list[float]:
        return [float(counts[UNKNOWN] / self.num_events) for counts in self.values_F]

    def record(self, names: list[str], train: "_Usage | None", max_dropped: int) -> dict[str, Any]:
        rates_L = self.levels_L / self.num_events
        stability = [
            _stability_index(own, base) for own, base in zip(self.values_F, train.values_F, strict=True)
        ] if train else [None] * len(names)  # fmt: skip
        return {
            "num_events": self.num_events,
            "whole_rate": float(rates_L[0]),
            "coverage": float(1 - rates_L[-1]),
            "unk_rate": float(rates_L[-1]),
            "backoff_rates": {str(level): float(rates_L[level]) for level in range(1, max_dropped + 1)},
            "unknown_rates": dict(zip(names, self.unknown_rates(), strict=True)),
            "stability": dict(zip(names, stability, strict=True)),
        }


def _count_usage(sequences: TokenSequences, tokenizer: Tokenizer) -> tuple[dict[str, _Usage], dict[str, _Usage]]:
    """Usage per split, in the order of `SPLIT_NAMES`, and per month, in the order of time."""
    splits: dict[str, _Usage] = {}
    months: dict[str, _Usage] = {}
    for start in range(0, sequences.num_events, _BATCH_EVENTS):
        rows = slice(start, start + _BATCH_EVENTS)
        columns = [tokenizer.vocabulary.levels_V[sequences.token_ids_N[rows]], *sequences.attribute_ids_NF[rows].T]
        month_N = sequences.time_us_N[rows].astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
        for groups, key_N in ((splits, sequences.split_N[rows].astype(np.int64)), (months, month_N)):
            first = key_N.min()  # keys lie close together: counting is faster than sorting
            keys = np.flatnonzero(np.bincount(key_N - first)) + first
            group_N = np.searchsorted(keys, np.arange(first, keys[-1] + 1))[key_N - first]
            names = [SPLIT_NAMES[k] if groups is splits else str(np.datetime64(int(k), "M")) for k in keys]
            usages = [groups.setdefault(name, _Usage(tokenizer)) for name in names]
            for column, values_N in enumerate(columns):
                size = len(usages[0].counts[column])
                cells = np.bincount(group_N * size + values_N, minlength=len(keys) * size).reshape(len(keys), size)
                for usage, counts in zip(usages, cells, strict=True):
                    usage.counts[column] += counts
    return {name: splits[name] for name in SPLIT_NAMES.values() if name in splits}, dict(sorted(months.items()))


def _stability_index(counts: np.ndarray, base: np.ndarray) -> float:
    """Population stability index, sum of (p - q) ln(p / q), less what chance alone would show, at least 0.

    Half an event is added to every value that occurs, so that none is 0. Two draws of n and m events from the same B
    values have an index of (B - 1)(1/n + 1/m) on average (Yurdakul, 2018, Statistical Properties of the Population
    Stability Index): for a month of 200 events and 60 categories that is above the usual limit of 0.25 already.
    """
    occurs = (counts > 0) | (base > 0)
    p, q = counts[occurs] + 0.5, base[occurs] + 0.5
    chance = (len(p) - 1) * (1 / p.sum() + 1 / q.sum())
    p, q = p / p.sum(), q / q.sum()
    return max(0.0, float(((p - q) * np.log(p / q)).sum()) - chance)


def _find_drift(groups: dict[str, dict[str, Any]], train: _Usage | None, names: list[str]) -> list[dict[str, Any]]:
    if train is None:
        return []
    found = []
    for group, record in groups.items():
        for name, base in zip(names, train.unknown_rates(), strict=True):
            unknown, stability = record["unknown_rates"][name], record["stability"][name]
            is_shifted = stability > MOST_SHIFTED and record["num_events"] >= _FEWEST_EVENTS
            if unknown - base > MOST_UNKNOWN or is_shifted:
                facts = {"unknown_rate": unknown, "train_unknown_rate": base, "stability": stability}
                found.append({"field": name, "group": group, "num_events": record["num_events"], **facts})
    return found
