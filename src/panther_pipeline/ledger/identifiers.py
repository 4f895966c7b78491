"""Identifiers as exact text, and the damage that spreadsheets and floats do to them.

A 16-digit card number that passed through a float or a spreadsheet keeps 15 digits: different users become one, and no
later step can tell. So damage is looked for here and refused.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.cells import text_of
from panther_pipeline.ledger.columns import ID_SEPARATOR, IdColumn
from panther_pipeline.ledger.texts import SCIENTIFIC_ID

# Digits are [0-9] throughout: \d would take those of every script.
_FLOAT_ID = r"^([0-9]+)\.0+$"
_MOST_DAMAGED = 0.01  # above this share the whole column is at fault, not single rows
_ENOUGH_IDS = 1000  # so many must be known before the share is believed and the rest is not waited for
_LONG_ID = r"^[1-9][0-9]{15,18}$"
_LEAST_LONG_IDS = 20  # fewer distinct ones may look damaged by chance
_EXACT_DIGITS = 15  # what a spreadsheet, and any float, keeps
_EXACT_IN_A_FLOAT = 2**53


class IdReader:
    """Reads one id column of a source, batch by batch, and counts the damage over all of them.

    An id that is several columns is their texts, without white space around them, joined by '-'. So that '1-2' with '3'
    is not '1' with '2-3', a '-' or '\\' inside a part gets a '\\' before it; it is empty where a part is.

    Args:
        config: the columns, and how they are written.
        key: the configuration key that names them, for errors.
    """

    def __init__(self, config: IdColumn, *, key: str) -> None:
        self._config = config
        self._key = key
        self._columns = [_DamageCount(f"column '{column}' ({key})") for column in config.columns]

    def read(self, parts: Sequence[pl.Series]) -> pl.Series:
        """Exact text, null where empty: '007', 'NA' and 'null' stay what they are; integers keep all digits.

        Args:
            parts: text or integers; the columns of `config`, in order.

        Raises:
            SourceError: a column of floats; ids in scientific notation; ids such as 17850.0 where the schema does not
                say `written_as: float`; long ids that all are what is left after rounding.
        """
        texts = [self._read_part(part, count) for part, count in zip(parts, self._columns, strict=True)]
        return _without_blank(texts[0]) if len(texts) == 1 else _join(texts)

    def conclude(self) -> None:
        """Judge the share of damaged ids, now that all have been seen.

        Raises:
            SourceError: more than 1 % are in scientific notation, or written as floats.
        """
        for count in self._columns:
            count.judge()

    def _read_part(self, column: pl.Series, count: "_DamageCount") -> pl.Series:
        if column.dtype.is_integer() or column.dtype == pl.Null:
            _refuse_rounded(column, count.where)
            return column.cast(pl.String)
        is_float = self._config.written_as == "float"
        if not isinstance(column.dtype, pl.String | pl.Categorical | pl.Enum):
            if not (is_float and column.dtype.is_float()):
                raise SourceError(
                    f"{count.where} holds {column.dtype} values: an id must be text or an integer, since a float "
                    "keeps 15 digits only and turns 007 into 7.0. Read the column as text in the catalog."
                )
            if not (column.is_finite() & (column.abs() < 10**_EXACT_DIGITS)).all():
                raise SourceError(_too_long_for_a_float(count.where))
        ids = column.cast(pl.String)
        count.add(ids, with_floats=not is_float)
        if is_float:
            ids = _read_float_ids(ids, count.where)
        _refuse_rounded(ids, count.where)
        return ids


def read_ids(parts: Sequence[pl.Series], config: IdColumn, *, key: str) -> pl.Series:
    """The ids of a whole table at once, as `IdReader` reads them."""
    reader = IdReader(config, key=key)
    ids = reader.read(parts)
    reader.conclude()
    return ids


class _DamageCount:
    """How many ids of a column were seen, and how many of them were written by something that destroys ids."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._rows = self._ids = self._scientific = self._floats = self._first = 0

    def add(self, ids: pl.Series, *, with_floats: bool) -> None:
        before = self._scientific
        if (ids.str.contains("E+", literal=True) | ids.str.contains("e+", literal=True)).any():
            damaged = ids.str.contains(SCIENTIFIC_ID).fill_null(False)
            self._scientific += damaged.sum()
            self._first = self._first if before else self._rows + (damaged.arg_max() or 0)
        if with_floats and ids.str.ends_with(".0").any():
            self._floats += ids.str.contains(_FLOAT_ID).sum()
        self._rows += ids.len()
        self._ids += ids.len() - ids.null_count()
        if self._ids >= _ENOUGH_IDS:
            self.judge()

    def judge(self) -> None:
        if self._scientific > _MOST_DAMAGED * self._ids:
            raise SourceError(
                f"{self.where} is written in scientific notation in {self._scientific} of {self._rows} rows, first in "
                f"row {self._first + 1} of them: the digits after it are lost, so different ids have become one. "
                "Export the file again with this column as text."
            )
        if self._floats > _MOST_DAMAGED * self._ids:
            raise SourceError(
                f"{self.where} is written as decimal numbers (such as 17850.0) in {self._floats} of {self._rows} rows: "
                "it passed through a float, which keeps 15 digits and no leading zeros. Export the column as text; or, "
                "if ids are short numbers and nothing was lost, state {columns: [...], written_as: float}."
            )


def _without_blank(ids: pl.Series) -> pl.Series:
    if not ids.str.contains(r"^\s*$").any():
        return ids
    return pl.select(pl.when(ids.str.strip_chars() != "").then(ids)).to_series().rename(ids.name)


def _join(texts: Sequence[pl.Series]) -> pl.Series:
    parts = pl.DataFrame([_escape(text_of(text)).alias(str(i)) for i, text in enumerate(texts)])
    joined = parts.select(pl.concat_str(pl.all(), separator=ID_SEPARATOR, ignore_nulls=False)).to_series()
    return joined.rename(" + ".join(text.name for text in texts))


def _escape(text: pl.Series) -> pl.Series:
    special = rf"[{ID_SEPARATOR}\\]"
    return text.str.replace_all(f"({special})", r"\${1}") if text.str.contains(special).any() else text


def _read_float_ids(ids: pl.Series, where: str) -> pl.Series:
    """17850.0 → 17850; what is not so written stays and is judged as any id."""
    whole = ids.str.strip_chars().str.extract(_FLOAT_ID)
    if (whole.str.len_bytes().max() or 0) > _EXACT_DIGITS:
        raise SourceError(_too_long_for_a_float(where))
    return pl.select(pl.coalesce(whole, ids)).to_series().rename(ids.name)


def _too_long_for_a_float(where: str) -> str:
    return (
        f"{where} is declared as written_as: float, but holds ids of more than {_EXACT_DIGITS} digits, which a float "
        "does not keep. Export the file again with this column as text."
    )


def _refuse_rounded(ids: pl.Series, where: str) -> None:
    """Long ids that all end in 0, or all are exact floats: a cardinality that collapsed.

    Ids that are multiples of more than rounding explains, such as times in round milliseconds, are meant to be so.
    """
    if ids.dtype.is_integer():
        if (ids.max() or 0) < 10**_EXACT_DIGITS:
            return
        long = ids.filter(ids >= 10**_EXACT_DIGITS)
    elif ids.dtype == pl.String and (ids.str.len_bytes().max() or 0) > _EXACT_DIGITS:
        long = ids.filter(ids.str.contains(_LONG_ID).fill_null(False))
    else:
        return
    number = long.unique().cast(pl.Int64, strict=False).drop_nulls().to_numpy()
    digits = np.searchsorted(10 ** np.arange(_EXACT_DIGITS, 19, dtype=np.int64), number, side="right")
    in_a_float = number[number > _EXACT_IN_A_FLOAT]
    spacing = np.spacing(in_a_float.astype(np.float64)).astype(np.int64)
    if _is_rounded(number, 10**digits) or _is_rounded(in_a_float, spacing):
        raise SourceError(
            f"{where} holds {len(number)} different ids of 16 digits or more, and all of them are what is left of a "
            "number after it was rounded to 15 digits or to a float: different ids have become one. Export the file "
            "again with this column as text."
        )


def _is_rounded(number: np.ndarray, unit: np.ndarray) -> bool:
    """All are multiples of what rounding leaves, and not all of the next larger such unit."""
    if len(number) < _LEAST_LONG_IDS:
        return False
    coarser = unit * 10 if (unit % 10 == 0).all() else unit * 2
    return bool((number % unit == 0).all() and (number % coarser != 0).any())
