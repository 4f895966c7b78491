"""The tokenizer of one event at a time: an event becomes one readable token, which can be read back.

Source: PANTHER §3.2 (arXiv 2510.10102): attributes are discretised, their Cartesian product is the
vocabulary, the most frequent combinations are kept. Different here: a rare combination drops its least
informative attributes one by one before it becomes [UNK], and says how many.

Shape letters: N events, M predictions, F token attributes, P profile attributes, V vocabulary.
"""

from collections.abc import Mapping
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

import numpy as np

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.tokenizer.artifact import TokenizerContent, content_digest, load_content, save_content
from panther_pipeline.tokenizer.config import SEPARATOR, TokenizerKind
from panther_pipeline.tokenizer.fields import PADDING, UNKNOWN, FittedField
from panther_pipeline.tokenizer.labels import WILDCARD_LABEL
from panther_pipeline.tokenizer.sources import read_value
from panther_pipeline.tokenizer.vocabulary import FIRST_TOKEN, PAD_ID, Vocabulary


class Dropped(Enum):
    """The one value that no event has, so that a category called `*` is not mistaken for it."""

    WILDCARD = WILDCARD_LABEL


WILDCARD = Dropped.WILDCARD  # what `decode` gives for an attribute that the token dropped


class EventTokenizer:
    """Fitted bins, categories and vocabulary, for one event at a time. Immutable."""

    def __init__(self, content: TokenizerContent) -> None:
        self._content = content
        self._zone = ZoneInfo(content.zone)

    def save(self, path: Path) -> None:
        """Publish as versioned JSON."""
        save_content(self._content, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ArtifactError: missing, damaged, or of another version.
        """
        return cls(load_content(path))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content: two tokenizers encode alike if it is equal."""
        return content_digest(self._content)

    @property
    def kind(self) -> TokenizerKind:
        """Whether a model reads and predicts the token ("structured") or the attribute ids alone ("factored").

        Both kinds encode, decode and name alike: the tokens of a factored tokenizer are what baselines rank and
        reports count.
        """
        return self._content.kind

    @property
    def content(self) -> TokenizerContent:
        return self._content

    @property
    def fields(self) -> list[FittedField]:
        return self._content.fields

    @property
    def profile_fields(self) -> list[FittedField]:
        return self._content.profile_fields

    @property
    def vocab_size(self) -> int:
        """Token ids in all, with [PAD] and [UNK]."""
        return FIRST_TOKEN + len(self._content.tokens)

    @property
    def attribute_names(self) -> list[str]:
        return [field.name for field in self.fields]

    @property
    def attribute_sizes(self) -> list[int]:
        return [field.size for field in self.fields]

    @property
    def profile_names(self) -> list[str]:
        return [field.name for field in self.profile_fields]

    @property
    def profile_sizes(self) -> list[int]:
        return [field.size for field in self.profile_fields]

    @property
    def amount_edges_cents(self) -> list[int]:
        """Edges between the amount bins, int cents; bin b is edges[b-1] <= amount < edges[b], its id b + 2.

        Raises:
            ConfigurationError: no field reads the amount.
        """
        edges = next((field.edges for field in self.fields if field.source == "amount"), None)
        if edges is None:
            raise ConfigurationError("This tokenizer has no amount field; tokenizer.vocabulary.fields declares none.")
        return [int(edge) for edge in edges]

    @cached_property
    def names(self) -> list[str]:
        """Readable name of each token id."""
        return ["[PAD]", "[UNK]", *(token.name for token in self._content.tokens)]

    @cached_property
    def vocabulary(self) -> Vocabulary:
        tokens, num_fields = self._content.tokens, len(self.fields)
        specials = np.zeros((FIRST_TOKEN, num_fields), np.int32)
        patterns = np.array([token.pattern for token in tokens], dtype=np.int32).reshape(-1, num_fields)
        return Vocabulary(
            patterns_VF=np.vstack([specials, patterns]),
            counts_V=np.array([0, self._content.num_unknown, *(token.count for token in tokens)], dtype=np.int64),
            sizes_F=np.array(self.attribute_sizes, dtype=np.int64),
            drop_order=[self.attribute_names.index(name) for name in self._content.drop_order],
            max_dropped=self._content.max_dropped,
        )

    @property
    def unknown_profile_P(self) -> np.ndarray:
        """int32: profile ids of a user without a profile."""
        return np.full(len(self.profile_fields), UNKNOWN, dtype=np.int32)

    def encode_event(self, event: Mapping[str, Any]) -> tuple[int, list[int]]:
        """Token id and attribute ids of one event, the same as `Tokenizer.encode` gives for its row.

        Args:
            event: the row as a mapping; instants as datetime or int microseconds UTC. Missing keys are
                unknown; a `gap` field reads `previous_event_time` (missing = the user's first event).
        """
        values = (read_value(event, field.source, field.column, self._zone) for field in self.fields)
        attribute_ids = [field.encode_one(value) for field, value in zip(self.fields, values, strict=True)]
        return self.vocabulary.encode_one(attribute_ids), attribute_ids

    def encode_values(self, values: Mapping[str, Any]) -> int:
        """Token id of one value per field, in the units of `decode`; a missing field is unknown."""
        pairs = [(field, values.get(field.name)) for field in self.fields]
        ids = [PADDING if value is WILDCARD else field.encode_one(value) for field, value in pairs]
        return self.vocabulary.encode_one(ids)

    def encode_attribute_tuples(self, attribute_ids_NF: np.ndarray) -> np.ndarray:
        """int32 (N,) token ids of attribute ids (N, F), columns in the order of `attribute_names`.

        Raises:
            ConfigurationError: a wrong shape, or an id outside its field's range.
        """
        return self.vocabulary.encode(np.asarray(attribute_ids_NF))

    def name_tuples(self, attribute_ids_NF: np.ndarray) -> list[str]:
        """The readable name of each combination of attribute ids, whether or not it has a token of its own."""
        columns = [[field.labels[i] for i in ids] for field, ids in zip(self.fields, attribute_ids_NF.T, strict=True)]
        return [SEPARATOR.join(labels) for labels in zip(*columns, strict=True)]

    def name_likeliest(self, ids: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Token ids and readable names of transactions that a model predicts.

        Args:
            ids: (M,) token ids or, of a factored backbone, (M, F) attribute ids.
        """
        if ids.ndim == 1:
            return ids, [self.names[token_id] for token_id in ids]
        return self.encode_attribute_tuples(ids), self.name_tuples(ids)

    def describe(self, token_id: int) -> dict[str, str]:
        """Field → label of the value or bin, `*` where the token dropped it."""
        labels = [field.labels[i] if i else WILDCARD_LABEL for field, i in self._pattern(token_id)]
        return dict(zip(self.attribute_names, labels, strict=True))

    def decode(self, token_id: int) -> dict[str, Any]:
        """Field → a representative value; `encode_values(decode(x)) == x` for every x but [PAD].

        Returns:
            Category text, amount in int cents, hour, weekday, gap in int microseconds (-1 = first event),
            number; None = unknown, WILDCARD = dropped.

        Raises:
            ConfigurationError: [PAD] or an id outside the vocabulary.
        """
        if token_id == PAD_ID:
            raise ConfigurationError("Token id 0 is [PAD]: it fills up short sequences and stands for no event.")
        return {field.name: field.representative(i) if i else WILDCARD for field, i in self._pattern(token_id)}

    def _pattern(self, token_id: int) -> list[tuple[FittedField, int]]:
        if not 0 <= token_id < self.vocab_size:
            raise ConfigurationError(f"Token id {token_id} is not one of 0 to {self.vocab_size - 1}.")
        return list(zip(self.fields, self.vocabulary.patterns_VF[token_id].tolist(), strict=True))
