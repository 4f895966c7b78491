"""No card number leaves ingestion: ids get a token of it, other text a mask, and both are counted."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from panther_pipeline.cards.columns import holds_card_numbers, replace_in_column
from panther_pipeline.cards.keys import HOW_TO_SET, read_card_key
from panther_pipeline.cards.numbers import mask_card_numbers
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.reasons import Reason
from panther_pipeline.ledger.values import Reading

Where = Callable[[int], str]  # source_row → the file and line as messages name them
_FEWEST_UNITS = 10**12  # the smallest number of 13 digits


class CardGuard:
    """Replaces card numbers in what is read of one source.

    Args:
        setting: `ledger.schema.card_numbers`: tokenize, or allow (nothing is replaced).
        where: says where a row stands.
        environment: where the key is.

    Raises:
        ConfigurationError: the key that is set cannot be used.
    """

    def __init__(self, setting: str, where: Where, environment: Mapping[str, str] = os.environ) -> None:
        self._is_on = setting == "tokenize"
        self._where = where
        self._key = read_card_key(environment) if self._is_on else None
        self._tokenized: Counter[str] = Counter()
        self._masked: Counter[str] = Counter()

    def guard_ids(self, ids: pl.Series, role: str, source_row: pl.Series) -> pl.Series:
        """Ids with a token in place of each card number.

        Args:
            ids: text, named after its source column.
            role: what the counts call it.
            source_row: of each id.

        Raises:
            ConfigurationError: there is a card number and no key; names file, row and column and how to set one.
        """
        if not self._is_on:
            return ids
        replaced, is_card = replace_in_column(ids, self._key.tokenize if self._key else mask_card_numbers)
        if is_card.any():
            if self._key is None:
                self._refuse(ids.name, source_row.filter(is_card)[0])
            self._tokenized[role] += int(is_card.sum())
        return replaced

    def guard_text(self, text: pl.Series, role: str) -> pl.Series:
        """Text with `[card number]` in place of each."""
        if not self._is_on or text.dtype != pl.String:
            return text
        replaced, is_card = replace_in_column(text, mask_card_numbers)
        if is_card.any():
            self._masked[role] += int(is_card.sum())
        return replaced

    def guard_numbers(self, reading: Reading, cells: pl.Series, role: str, *, per_unit: int, reason: Reason) -> Reading:
        """Numbers that are no card numbers; one that is becomes a value that could not be read.

        Args:
            reading: the numbers.
            cells: what they were read from.
            role: what the counts call them.
            per_unit: 100 where they are cents.
            reason: what is wrong with a card number here.
        """
        if not self._is_on or not (is_large := reading.values.abs() >= _FEWEST_UNITS * per_unit).any():
            return reading
        is_card = is_large.fill_null(False) & holds_card_numbers(cells)
        if not is_card.any():
            return reading
        self._masked[role] += int(is_card.sum())
        return Reading(reading.values.set(is_card, None), reading.problem.set(is_card, reason.value))

    def as_json(self) -> dict[str, Any]:
        """Key id, and in how many cells of each role a card number was replaced; empty where there was none."""
        if not self._tokenized and not self._masked:
            return {}
        used = self._key.id if self._key and self._tokenized else None
        return {"key_id": used, "tokenized": dict(self._tokenized), "masked": dict(self._masked)}

    def _refuse(self, column: str, source_row: int) -> None:
        raise ConfigurationError(
            f"{self._where(source_row)}, column {column}: a card number stands in an id, and no key is set to replace "
            f"it, so nothing was written. {HOW_TO_SET}. If the ids of this ledger only look like card numbers, state "
            "ledger.schema.card_numbers: allow."
        )
