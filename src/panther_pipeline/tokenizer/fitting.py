"""Fitting the tokenizer: nothing but the training split is looked at.

Shape letters: N events, F token attributes.
"""

import numpy as np
import polars as pl

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.splits import TRAIN, SplitConfig, assign_split
from panther_pipeline.tokenizer.artifact import TokenizerContent, TokenRow
from panther_pipeline.tokenizer.config import SEPARATOR, FieldConfig, VocabularyConfig
from panther_pipeline.tokenizer.fields import FittedField, fit_field
from panther_pipeline.tokenizer.information import measure_information
from panther_pipeline.tokenizer.labels import WILDCARD_LABEL
from panther_pipeline.tokenizer.sources import read_column
from panther_pipeline.tokenizer.vocabulary import FIRST_TOKEN, Vocabulary, fit_vocabulary


def fit_content(
    events: pl.DataFrame, profiles: pl.DataFrame, config: VocabularyConfig, splits: SplitConfig
) -> TokenizerContent:
    """Everything a tokenizer is made of (see `Tokenizer.fit`)."""
    train = training_events(events, splits)
    fields = [
        fit_field(field, read_column(train, field.source, field.column or field.name, config.zone), config.min_count)
        for field in config.fields
    ]
    ids_NF = np.stack(
        [field.encode(read_column(train, field.source, field.column, config.zone)) for field in fields],
        axis=1,
    )
    follows_N = _follows(train)
    nats_F = measure_information(ids_NF, follows_N)
    # Of two that tell equally little, the one declared later goes first.
    drop_order = sorted(range(len(fields)), key=lambda f: (nats_F[f], -f))
    vocabulary, num_tuples = fit_vocabulary(ids_NF, [_label_ranks(field) for field in fields], drop_order, config)
    return TokenizerContent(
        fields=fields,
        profile_fields=_fit_profiles(profiles, train, config),
        zone=config.zone,
        drop_order=[fields[f].name for f in drop_order],
        information_nats=nats_F.tolist(),
        max_dropped=vocabulary.max_dropped,
        train_end=splits.train_end,
        num_train_tuples=num_tuples,
        num_unknown=int(vocabulary.counts_V[1]),
        tokens=_token_rows(vocabulary, fields),
    )


def training_events(events: pl.DataFrame, splits: SplitConfig) -> pl.DataFrame:
    """The training split, ordered by user and position.

    Raises:
        ConfigurationError: there is none; names the ledger's time span.
    """
    timed = events.filter(pl.col("event_time").is_not_null())
    split_N = assign_split(timed["event_time"].dt.timestamp("us").to_numpy(), timed["user_id"], splits)
    train = timed.filter(pl.Series(split_N == TRAIN)).sort("user_id", "event_seq")
    if not len(train):
        raise ConfigurationError(
            f"No event lies before train_end {splits.train_end}: the ledger's {len(events)} events run from "
            f"{events['event_time'].min()} to {events['event_time'].max()}. Move ledger.splits.train_end."
        )
    return train


def _follows(train: pl.DataFrame) -> np.ndarray:
    """bool (N,): row n is the next event of row n-1's user; a training history has no holes."""
    users = train["user_id"]
    return (users == users.shift(1)).fill_null(False).to_numpy()


def _fit_profiles(profiles: pl.DataFrame, train: pl.DataFrame, config: VocabularyConfig) -> list[FittedField]:
    """A vocabulary per profile attribute, from users who have a training event."""
    if "user_id" not in profiles.columns:
        return []
    seen = profiles.filter(pl.col("user_id").is_in(train["user_id"].unique().implode()))
    seen = seen.unique("user_id", keep="first", maintain_order=True)
    fields = []
    for name in (column for column in profiles.columns if column != "user_id"):
        if profiles[name].dtype.is_numeric():
            field = FieldConfig(name=name, source="number", kind="quantile", num_bins=config.profile_num_bins)
        else:
            field = FieldConfig(
                name=name, source="category", kind="categorical", max_categories=config.profile_max_categories
            )
        fields.append(fit_field(field, read_column(seen, field.source, name, config.zone), config.min_count))
    return fields


def _label_ranks(field: FittedField) -> np.ndarray:
    """int64: alphabetical rank of each attribute id's label; id 0 stands for the wildcard here."""
    labels = [WILDCARD_LABEL, *field.labels[1:]]
    ranks = np.empty(len(labels), dtype=np.int64)
    ranks[sorted(range(len(labels)), key=labels.__getitem__)] = np.arange(len(labels))
    return ranks


def _token_rows(vocabulary: Vocabulary, fields: list[FittedField]) -> list[TokenRow]:
    labels = [[WILDCARD_LABEL, *field.labels[1:]] for field in fields]
    patterns = vocabulary.patterns_VF[FIRST_TOKEN:].tolist()
    counts = vocabulary.counts_V[FIRST_TOKEN:].tolist()
    return [
        TokenRow(
            name=SEPARATOR.join(names[i] for names, i in zip(labels, pattern, strict=True)),
            pattern=pattern,
            count=count,
        )
        for pattern, count in zip(patterns, counts, strict=True)
    ]
