"""What is known of users: static profiles, and labels as of a date."""

import logging
from typing import Any

import polars as pl

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.card_guard import CardGuard
from panther_pipeline.ledger.cells import take_cells, text_of
from panther_pipeline.ledger.columns import TIME_SEPARATOR, Attribute, IdColumn, column_keys
from panther_pipeline.ledger.identifiers import read_ids
from panther_pipeline.ledger.joins import prepare_lookups, present_columns, read_table
from panther_pipeline.ledger.mapping import INSTANT
from panther_pipeline.ledger.reasons import Reason
from panther_pipeline.ledger.schema import LedgerSchema, ProfileColumns
from panther_pipeline.ledger.source import as_source, main_source
from panther_pipeline.ledger.texts import MISSING_CATEGORY
from panther_pipeline.ledger.values import mask_values, read_attribute, read_times

logger = logging.getLogger(__name__)
_SHOWN_CELLS = 3


def map_profiles(raw: Any, schema: LedgerSchema) -> pl.DataFrame:
    """One row per user: user_id and the declared attributes, sorted by user_id.

    Args:
        raw: the profile table, or several by name; not read when the schema declares none.
        schema: `profiles` (null: this ledger has none).

    Returns:
        user_id (text) and attributes: a category is text, "(missing)" where empty; a number is float64, null
        where empty or unreadable, of which a warning counts the rows. Without profiles: user_id only, no rows.

    Raises:
        SourceError: a column is missing, a user has two profiles that differ, or not one value of an
            attribute declared as number can be read.
        ConfigurationError: a user id holds a card number and no key is set to replace it.
    """
    declared = schema.profiles
    if declared is None:
        return pl.DataFrame(schema={"user_id": pl.String})
    rows = _join_tables(raw, declared)
    guard = CardGuard(schema.card_numbers, lambda row: f"raw_profiles, row {row + 1}")
    user_ids = _read_user_ids(rows, declared.user_id, schema, "profiles.user_id", guard)
    values = {a.name: _read_profile_attribute(rows, a, schema.missing, guard) for a in declared.attributes}
    profiles = pl.DataFrame({"user_id": user_ids, **values})
    nameless = profiles["user_id"].null_count()
    if nameless:
        logger.warning("raw_profiles: %d of %d rows have no user id and are left out", nameless, profiles.height)
    profiles = profiles.filter(pl.col("user_id").is_not_null()).unique().sort("user_id")
    twice = profiles.filter(pl.col("user_id").is_duplicated())["user_id"].unique()
    if twice.len():
        raise SourceError(
            f"raw_profiles describes {twice.len()} users more than once, with different values. "
            f"Keep one row per user (column {declared.user_id.columns}, ledger.schema.profiles.user_id)."
        )
    return profiles


def map_user_labels(raw: Any, schema: LedgerSchema) -> pl.DataFrame:
    """Labels of users as of a date, sorted by user and date.

    Args:
        raw: the table of labels; not read when the schema declares none.
        schema: `user_labels` (null: this ledger has none).

    Returns:
        user_id (text), as_of (datetime[µs, UTC]), label (int8). Nothing at or after `as_of` may be used to predict
        the label. Without user labels: no rows.

    Raises:
        SourceError: a column is missing; a user, date or label cannot be read, or two labels of one user and date
            differ. A label is too dear to be quarantined unseen.
        ConfigurationError: a user id holds a card number and no key is set to replace it.
    """
    columns = {"user_id": pl.String, "as_of": INSTANT, "label": pl.Int8}
    declared = schema.user_labels
    if declared is None:
        return pl.DataFrame(schema=columns)
    rows = read_table(as_source(raw, "raw_user_labels"), "raw_user_labels")
    wanted = column_keys("user_labels.user_id", declared.user_id.columns)
    wanted |= column_keys("user_labels.as_of.column", declared.as_of.columns) | {"user_labels.column": declared.column}
    present_columns(wanted, rows.columns, table="raw_user_labels")
    as_of = take_cells(rows, declared.as_of.columns, separator=TIME_SEPARATOR, missing=schema.missing)
    text = text_of(take_cells(rows, [declared.column], separator="", missing=schema.missing))
    label = pl.select(
        pl.when(text.is_in(declared.positive)).then(1).when(text.is_in(declared.negative)).then(0).cast(pl.Int8)
    ).to_series()
    instants = read_times(as_of, declared.as_of).values
    allowed = (instants >= declared.as_of.earliest_instant) & (instants < declared.as_of.end_instant)
    guard = CardGuard(schema.card_numbers, lambda row: f"raw_user_labels, row {row + 1}")
    labels = pl.DataFrame({
        "user_id": _read_user_ids(rows, declared.user_id, schema, "user_labels.user_id", guard),
        "as_of": pl.select(pl.when(allowed).then(instants)).to_series(),
        "label": label,
    })  # fmt: skip
    for name, cells in {"user_id": labels["user_id"], "as_of": as_of, "label": text}.items():
        _refuse_gaps(labels[name], cells, name)
    labels = labels.unique().sort("user_id", "as_of")
    twice = labels.filter(pl.struct("user_id", "as_of").is_duplicated()).height // 2
    if twice:
        raise SourceError(f"raw_user_labels holds {twice} pairs of user and date with two different labels. Keep one.")
    return labels


def _join_tables(raw: Any, declared: ProfileColumns) -> pl.DataFrame:
    rows = read_table(main_source(raw, declared.table, "raw_profiles"), "raw_profiles")
    lookups = prepare_lookups(raw, declared.joins, "raw_profiles")
    for lookup in lookups:
        wanted = column_keys(f"profiles.joins[{lookup.table}].match", lookup.on)
        present_columns(wanted, rows.columns, table="raw_profiles")
        rows = lookup.extend(rows)
    wanted = {f"profiles.attributes.{a.name}": a.column for a in declared.attributes}
    wanted |= column_keys("profiles.user_id", declared.user_id.columns)
    present_columns(wanted, rows.columns, table="raw_profiles")
    return rows


def _read_user_ids(rows: pl.DataFrame, config: IdColumn, schema: LedgerSchema, key: str, guard: CardGuard) -> pl.Series:
    missing = [*schema.missing, *config.missing]
    parts = [take_cells(rows, [column], separator="", missing=missing) for column in config.columns]
    ids = read_ids(parts, config, key=f"ledger.schema.{key}")
    return guard.guard_ids(ids, "user_id", rows["source_row"])


def _read_profile_attribute(
    rows: pl.DataFrame, attribute: Attribute, missing: list[str], guard: CardGuard
) -> pl.Series:
    key = f"profiles.attributes.{attribute.name}"
    cells = take_cells(rows, [attribute.column], separator="", missing=missing)
    reading = read_attribute(cells, attribute, key=f"ledger.schema.{key}")
    if attribute.kind == "category":
        return guard.guard_text(reading.values, attribute.name).fill_null(MISSING_CATEGORY)
    reason = Reason.ATTRIBUTE_NOT_A_NUMBER
    reading = guard.guard_numbers(reading, cells, attribute.name, per_unit=1, reason=reason)
    unreadable = cells.len() - reading.problem.null_count()
    if unreadable:  # an attribute that is always empty is allowed
        _refuse_all_unreadable(cells, reading.values, key)
        logger.warning(
            "raw_profiles: %d of %d rows hold no number in column '%s' and count as unknown there",
            unreadable, cells.len(), cells.name,
        )  # fmt: skip
    return reading.values


def _refuse_all_unreadable(cells: pl.Series, values: pl.Series, key: str) -> None:
    if values.null_count() == values.len():
        samples = mask_values(text_of(cells).drop_nulls().head(_SHOWN_CELLS)).to_list()
        raise SourceError(
            f"not one of {cells.len()} rows has a number in column '{cells.name}' (type {cells.dtype}; for example "
            f"{samples}). Probably ledger.schema.{key} names the wrong column, or its format is another one."
        )


def _refuse_gaps(values: pl.Series, cells: pl.Series, name: str) -> None:
    if values.null_count():
        samples = mask_values(cells.filter(values.is_null()).head(_SHOWN_CELLS)).to_list()
        raise SourceError(
            f"raw_user_labels: {values.null_count()} of {values.len()} rows have no readable {name}, for example "
            f"{samples}. Correct ledger.schema.user_labels (as_of also has an earliest and a latest) or the file."
        )
