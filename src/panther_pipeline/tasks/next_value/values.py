"""The values of an attribute as ids, in sequences that everything made for tokens can read.

A value has the id a token has: 0 is padding, 1 is any value that training saw too rarely or never (or none at all), and
2, 3, ... are the values by falling frequency in training. What ranks, counts or breaks ties among tokens does the same
among values.

Shape letters: N events.
"""

import logging
from dataclasses import replace

import polars as pl

from panther_pipeline.errors import ArtifactError, ConfigurationError
from panther_pipeline.ledger.schema import ROLE_COLUMNS
from panther_pipeline.ledger.splits import TRAIN
from panther_pipeline.tasks.next_value.config import NextValueConfig
from panther_pipeline.tokenizer.config import FieldConfig
from panther_pipeline.tokenizer.field_fitting import fit_field
from panther_pipeline.tokenizer.fields import FittedField
from panther_pipeline.tokenizer.sequences import TokenSequences

logger = logging.getLogger(__name__)
_COUNTERPARTY = "counterparty"


def fit_value_fields(events: pl.LazyFrame, sequences: TokenSequences, config: NextValueConfig) -> list[FittedField]:
    """The values that can be forecast of each attribute: the most frequent of the training events.

    Args:
        events: `valid_events`; row n is row n of the sequences.
        sequences: say which events are training events.
        config: which attributes, and how many values.

    Returns:
        A field for each attribute. One without any value in training is left out, with a warning.

    Raises:
        ConfigurationError: the ledger has no such categorical attribute; names those it has.
        ArtifactError: the sequences were made of other events.
    """
    known = _forecastable(events)
    wanted = known if config.attributes is None else config.attributes
    _refuse_unknown(wanted, known)
    fields = [_fit_field(name, _read_values(events, sequences, name), sequences, config) for name in wanted]
    for field in fields:
        if not field.categories:
            logger.warning("No training event has a value of '%s': its next value is not forecast.", field.name)
    return [field for field in fields if field.categories]


def encode_values(events: pl.LazyFrame, sequences: TokenSequences, field: FittedField) -> TokenSequences:
    """The same histories with the values' ids in the place of the tokens'.

    Raises:
        ArtifactError: the sequences were made of other events.
    """
    values_N = _read_values(events, sequences, field.name)
    return replace(sequences, token_ids_N=field.encode(values_N), vocab_size=field.size)


def _fit_field(name: str, values_N: pl.Series, sequences: TokenSequences, config: NextValueConfig) -> FittedField:
    source = _COUNTERPARTY if name == _COUNTERPARTY else "category"
    field = FieldConfig(name=name, source=source, kind="categorical", max_categories=config.max_values)
    trained = values_N.alias("value").filter(pl.Series(sequences.split_N == TRAIN))
    return fit_field(field, trained.value_counts(name="count"), min_count=1)


def _read_values(events: pl.LazyFrame, sequences: TokenSequences, name: str) -> pl.Series:
    values_N = events.lazy().select(name).collect()[name]
    if len(values_N) != sequences.num_events:
        raise ArtifactError(
            f"valid_events has {len(values_N)} rows, token_sequences {sequences.num_events}: they come from different "
            "runs. Run `kedro run --pipelines=tokenize` again."
        )
    return values_N


def _forecastable(events: pl.LazyFrame) -> list[str]:
    """The categorical attributes of the ledger, and its counterparty."""
    schema = events.lazy().collect_schema()
    names = [name for name, kind in schema.items() if kind == pl.String and name not in ROLE_COLUMNS]
    return names + ([_COUNTERPARTY] if _COUNTERPARTY in schema else [])


def _refuse_unknown(wanted: list[str], known: list[str]) -> None:
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ConfigurationError(
            f"finetuning.next_value.attributes names {', '.join(unknown)}, which this ledger does not have as a "
            f"category. It has: {', '.join(known) or 'none'}. Name some of these, null for all, or [] for none."
        )
