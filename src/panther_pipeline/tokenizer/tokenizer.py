"""The tokenizer: fitted on the events of a ledger, it encodes tables of them as it encodes one event.

Shape letters: N events, U users, F token attributes, P profile attributes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.tokenizer.columns import read_column
from panther_pipeline.tokenizer.config import VocabularyConfig
from panther_pipeline.tokenizer.event_tokenizer import EventTokenizer
from panther_pipeline.tokenizer.fields import FittedField
from panther_pipeline.tokenizer.fitting import fit_content


@dataclass(frozen=True, kw_only=True)
class EncodedEvents:
    """Tokens of a table of events, row n for row n."""

    token_ids_N: np.ndarray  # int32; never 0
    attribute_ids_NF: np.ndarray  # int32; what the event has, also where its token dropped it
    backoff_level_N: np.ndarray  # int8; attributes dropped, F = [UNK]


class Tokenizer(EventTokenizer):
    """A tokenizer that is fitted, and encodes whole tables; what serves has one event at a time and no tables."""

    @classmethod
    def fit(
        cls,
        events: pl.DataFrame | pl.LazyFrame,
        profiles: pl.DataFrame,
        config: VocabularyConfig,
        splits: SplitConfig,
    ) -> Self:
        """Fit everything on the events of the training split; no other event is looked at.

        Args:
            events: the ledger (`valid_events`): a table in memory, rows in any order, or a lazy one of any length
                sorted by (user_id, event_seq).
            profiles: one row per user, or a frame without columns.
            config: fields and sizes.
            splits: which events are training events.

        Raises:
            ConfigurationError: no training event, or more combinations than can be numbered.
            SourceError: a column that a field reads is missing.
        """
        return cls(fit_content(events, profiles, config, splits))

    def encode(self, events: pl.DataFrame) -> EncodedEvents:
        """Tokens of a table; values never seen in training get the unknown or an outer bin, never an error.

        Args:
            events: columns of `valid_events` that the fields read, in any order of rows. A `gap` field reads
                `previous_event_time` if the table has it, else the table must hold whole histories.

        Raises:
            SourceError: a column is missing.
        """
        columns = [self._encode_column(events, field) for field in self.fields]
        attribute_ids_NF = np.stack(columns, axis=1)
        token_ids_N = self.encode_attribute_tuples(attribute_ids_NF)
        return EncodedEvents(
            token_ids_N=token_ids_N,
            attribute_ids_NF=attribute_ids_NF,
            backoff_level_N=self.vocabulary.levels_V[token_ids_N],
        )

    def attribute_ids(self, name: str, values: pl.Series | Sequence[Any] | np.ndarray) -> np.ndarray:
        """int32 (N,) attribute ids of values of field `name`, in the units of `decode`.

        Raises:
            ConfigurationError: no such field.
        """
        field = self._field(name)
        kind = pl.String if field.categories is not None else pl.Float64 if field.source == "number" else pl.Int64
        return field.encode(pl.Series(values).cast(kind, strict=False))

    def encode_profiles(self, profiles: pl.DataFrame, user_ids: Sequence[str]) -> np.ndarray:
        """int32 (U, P) profile ids of the users; a user without a profile is unknown (1) throughout."""
        if not self.profile_fields:
            return np.zeros((len(user_ids), 0), dtype=np.int32)
        users = pl.DataFrame({"user_id": pl.Series(user_ids, dtype=pl.String)})
        if "user_id" in profiles.columns:
            known = profiles.unique("user_id", keep="first", maintain_order=True)
            users = users.join(known, on="user_id", how="left", maintain_order="left")
        missing = [field.column for field in self.profile_fields if field.column not in users.columns]
        users = users.with_columns(pl.lit(None, dtype=pl.String).alias(column) for column in missing)
        return np.stack([self._encode_column(users, field) for field in self.profile_fields], axis=1)

    def _field(self, name: str) -> FittedField:
        field = next((field for field in self.fields if field.name == name), None)
        if field is None:
            raise ConfigurationError(f"No field '{name}'; there are {', '.join(self.attribute_names)}.")
        return field

    def _encode_column(self, table: pl.DataFrame, field: FittedField) -> np.ndarray:
        return field.encode(read_column(table, field.source, field.column, self._content.zone))
