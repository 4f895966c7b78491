"""Fitting the tokenizer: nothing but the training split is looked at, and never more of it than a batch at a time.

Two passes over the training events: the values of every field are counted, then the tuples of the discretised values,
with what one event tells about the next on the way. Held in memory are distinct values and distinct tuples.

Shape letters: N events, F token attributes, T distinct tuples.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
import polars as pl

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.splits import TRAIN, SplitConfig, assign_split
from panther_pipeline.ledger.stream import counted, user_batches
from panther_pipeline.tokenizer.artifact import TokenizerContent, TokenRow
from panther_pipeline.tokenizer.columns import read_column, select_columns
from panther_pipeline.tokenizer.config import SEPARATOR, FieldConfig, VocabularyConfig
from panther_pipeline.tokenizer.counting import TupleCounter, ValueCounter
from panther_pipeline.tokenizer.field_fitting import fit_field
from panther_pipeline.tokenizer.fields import FittedField
from panther_pipeline.tokenizer.information import measure_information
from panther_pipeline.tokenizer.labels import WILDCARD_LABEL
from panther_pipeline.tokenizer.vocabulary import FIRST_TOKEN, Vocabulary, fit_vocabulary

_INFORMATION_ROWS = 1 << 21  # training events whose information is measured; of more, whole users are drawn


def fit_content(
    events: pl.DataFrame | pl.LazyFrame, profiles: pl.DataFrame, config: VocabularyConfig, splits: SplitConfig
) -> TokenizerContent:
    """Everything a tokenizer is made of (see `Tokenizer.fit`)."""
    events = in_order(events)
    fields, users, num_train = _fit_fields(events, config, splits)
    sizes_F = np.array([field.size for field in fields], dtype=np.int64)
    tuples = TupleCounter(sizes_F)
    sampled, follows = [], []
    for train in training_batches(events, config, splits, "count tuples"):
        ids_NF = _encode(train, fields, config.zone)
        tuples.add(ids_NF)
        drawn_N = _draw_users(train["user_id"], num_train)
        sampled.append(ids_NF[drawn_N])
        follows.append(_follows(train)[drawn_N])
    nats_F = measure_information(np.concatenate(sampled), np.concatenate(follows))
    # Of two that tell equally little, the one declared later goes first.
    drop_order = sorted(range(len(fields)), key=lambda f: (nats_F[f], -f))
    vocabulary = fit_vocabulary(tuples, [_label_ranks(field) for field in fields], drop_order, config)
    return TokenizerContent(
        kind=config.kind,
        fields=fields,
        profile_fields=_fit_profiles(profiles, users, config),
        zone=config.zone,
        drop_order=[fields[f].name for f in drop_order],
        information_nats=nats_F.tolist(),
        max_dropped=vocabulary.max_dropped,
        train_end=splits.training_bound,
        num_train_tuples=tuples.num_tuples,
        num_unknown=int(vocabulary.counts_V[1]),
        tokens=_token_rows(vocabulary, fields),
    )


def in_order(events: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame | pl.LazyFrame:
    """A table in memory sorted by (user_id, event_seq); a lazy one is so already, as `validate` hands it on."""
    if isinstance(events, pl.LazyFrame):
        return events
    return events.filter(pl.col("event_time").is_not_null()).sort("user_id", "event_seq")


def training_batches(
    events: pl.DataFrame | pl.LazyFrame, config: VocabularyConfig, splits: SplitConfig, what: str
) -> Iterator[pl.DataFrame]:
    """Training events in batches of whole users, with what the fields read; `what` names the progress bar."""
    fields = [(field.source, field.column or field.name) for field in config.fields]
    for batch in counted(user_batches(select_columns(events, fields)), what):
        split_N = assign_split(batch["event_time"].dt.timestamp("us").to_numpy(), batch["user_id"], splits)
        train = batch.filter(pl.Series(split_N == TRAIN))
        if train.height:
            yield train


def _fit_fields(
    events: pl.DataFrame | pl.LazyFrame, config: VocabularyConfig, splits: SplitConfig
) -> tuple[list[FittedField], pl.Series, int]:
    """Fitted fields, the users with a training event, the number of training events.

    Raises:
        ConfigurationError: there is no training event; names the ledger's time span.
    """
    counters = [ValueCounter() for _ in config.fields]
    users, num_train = [], 0
    for train in training_batches(events, config, splits, "count values"):
        users.append(train["user_id"].unique())
        num_train += train.height
        for counter, field in zip(counters, config.fields, strict=True):
            if field.kind != "fixed":
                counter.add(read_column(train, field.source, field.column or field.name, config.zone))
    if not num_train:
        raise ConfigurationError(_no_training_events(events, splits))
    fields = [
        fit_field(field, counter.counts(), config.min_count)
        for counter, field in zip(counters, config.fields, strict=True)
    ]
    return fields, pl.concat(users), num_train


def _no_training_events(events: pl.DataFrame | pl.LazyFrame, splits: SplitConfig) -> str:
    time = pl.col("event_time")
    span = events.lazy().select(n=pl.len(), first=time.min(), last=time.max()).collect().row(0, named=True)
    here = f"the ledger's {span['n']} events run from {span['first']} to {span['last']}"
    if not splits.is_by_time:
        return (
            f"No event is left for training: {here}, and {splits.protocol} trains on the first of every user that "
            f"ledger.splits.held_out_user_share {splits.held_out_user_share} does not hold out."
        )
    return f"No event lies before train_end {splits.train_end}: {here}. Move ledger.splits.train_end."


def _encode(train: pl.DataFrame, fields: list[FittedField], zone: str) -> np.ndarray:
    return np.stack([f.encode(read_column(train, f.source, f.column, zone)) for f in fields], axis=1)


def _follows(train: pl.DataFrame) -> np.ndarray:
    """bool (N,): row n is the next event of row n-1's user; a training history has no holes."""
    users = train["user_id"]
    return (users == users.shift(1)).fill_null(False).to_numpy()


def _draw_users(user_ids_N: pl.Series, num_train: int) -> np.ndarray:
    """bool (N,): whether the event's user is among those whose information is measured; a fixed function of the id."""
    if num_train <= _INFORMATION_ROWS:
        return np.ones(len(user_ids_N), dtype=bool)
    limit = _INFORMATION_ROWS / num_train * 2**32
    drawn = [u for u in user_ids_N.unique() if int(hashlib.sha256(u.encode()).hexdigest()[:8], 16) < limit]
    return user_ids_N.is_in(drawn).to_numpy()


def _fit_profiles(profiles: pl.DataFrame, users: pl.Series, config: VocabularyConfig) -> list[FittedField]:
    """A vocabulary per profile attribute, from users who have a training event."""
    if "user_id" not in profiles.columns:
        return []
    seen = profiles.filter(pl.col("user_id").is_in(users.implode()))
    seen = seen.unique("user_id", keep="first", maintain_order=True)
    fields = []
    for name in (column for column in profiles.columns if column != "user_id"):
        if profiles[name].dtype.is_numeric():
            field = FieldConfig(name=name, source="number", kind="quantile", num_bins=config.profile_num_bins)
        else:
            field = FieldConfig(
                name=name, source="category", kind="categorical", max_categories=config.profile_max_categories
            )
        counter = ValueCounter()
        counter.add(read_column(seen, field.source, name, config.zone))
        fields.append(fit_field(field, counter.counts(), config.min_count))
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
