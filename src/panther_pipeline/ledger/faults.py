"""Which rows are at fault and why: the first reason of the closed list, duplicates across the whole ledger included."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from pydantic import Field

from panther_pipeline.cards.keys import TOKEN_PATTERN
from panther_pipeline.config import Config
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.mapping import event_columns, role_sources, tie_columns
from panther_pipeline.ledger.ordering import tie_order
from panther_pipeline.ledger.reasons import Reason
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.ledger.stream import batches_of, counted
from panther_pipeline.ledger.texts import SCIENTIFIC_ID
from panther_pipeline.ledger.values import mask_values

_USUAL_ID = r"^[!-*,-~]+$"  # printable, without blanks or the plus of scientific notation: nothing to look for
_CONTROL_OR_PADDED = r"^\s|\s$|\p{C}"  # \p{C}: control and invisible characters, a line end among them
_ROUNDED_CARD = TOKEN_PATTERN + r"[eE]\+[0-9]+$"  # the token of a card number that was in scientific notation
_RIVAL_ROWS = 1 << 21  # rows with an event id that occurs twice, looked at together
_PROBLEM_COLUMNS = ("problem", "problem_column", "problem_value")
FAULT_SCHEMA = {"source_row": pl.Int64, "reason": pl.String, "problem_column": pl.String, "problem_value": pl.String}
_ROLE_OF_REASON = {
    Reason.MISSING_USER_ID: "user_id",
    Reason.MALFORMED_USER_ID: "user_id",
    Reason.MISSING_EVENT_ID: "event_id",
    Reason.MALFORMED_EVENT_ID: "event_id",
    Reason.DUPLICATE_EVENT_ID: "event_id",
    Reason.MISSING_TIME: "event_time",
    Reason.TIME_BEFORE_EARLIEST: "event_time",
    Reason.TIME_AFTER_LATEST: "event_time",
    Reason.MISSING_AMOUNT: "amount_cents",
    Reason.AMOUNT_OUT_OF_RANGE: "amount_cents",
}


class QuarantineRules(Config):
    """What a row needs beyond being readable."""

    required: list[str]  # columns of `events` that may not be empty, besides user_id, event_id, event_time, amount
    max_id_chars: int = Field(ge=1)  # a longer id is quarantined: it is a swallowed line, not an id


def find_faults(events: pl.DataFrame | pl.LazyFrame, schema: LedgerSchema, rules: QuarantineRules) -> pl.DataFrame:
    """The rows that cannot be accepted, each with its first reason in the order of `Reason`.

    Of rows with the same event_id, the earliest in time is kept, then the lower tie-break, then the lower content: so
    the outcome does not depend on the order of the file. Only rows that are otherwise acceptable compete.

    Args:
        events: what `mapping.map_events` returns, of any length: read in batches, twice where an event id occurs
            twice. Held in memory are the faulty rows and 8 bytes for every row.
        schema: the schema it was mapped with.
        rules: further requirements.

    Returns:
        source_row, reason, problem_column, problem_value (masked), sorted by source_row.

    Raises:
        ConfigurationError: `rules.required` names a column that `events` does not have.
    """
    unknown = [name for name in rules.required if name not in event_columns(schema)]
    if unknown:
        raise ConfigurationError(f"validation.rules.required names {unknown}; this ledger has {event_columns(schema)}.")
    events = events.lazy()
    tests = _tests(schema, rules)
    needed = {"source_row", "user_id", "event_id", "event_time", "amount_cents", *rules.required, *_PROBLEM_COLUMNS}
    columns = [name for name in events.collect_schema().names() if name in needed]
    found, hashes = [], []
    for batch in counted(batches_of(events.select(columns)), "judge"):
        suspects = batch.filter(_is_suspect(tests, rules))
        faults = _describe(suspects, tests, schema, rules).filter(pl.col("reason").is_not_null())
        if faults.height:
            found.append(faults)
            batch = batch.join(faults, on="source_row", how="anti")
        if schema.event_id:
            hashes.append(batch["event_id"].hash())
    found += _find_duplicates(events, hashes, found, schema)
    return pl.concat([pl.DataFrame(schema=FAULT_SCHEMA), *found]).sort("source_row")


def accepted_rows(events: pl.DataFrame | pl.LazyFrame, event_faults: pl.DataFrame) -> pl.LazyFrame:
    """The events that are not at fault, in their order."""
    if event_faults.is_empty():
        return events.lazy()
    return events.lazy().join(
        event_faults.lazy().select("source_row"), on="source_row", how="anti", maintain_order="left"
    )


def _tests(schema: LedgerSchema, rules: QuarantineRules) -> dict[Reason, pl.Expr]:
    """What each reason looks for; the reasons not named here were found while the row was read."""
    time, cents = pl.col("event_time"), pl.col("amount_cents")
    tests = {
        Reason.MISSING_USER_ID: pl.col("user_id").is_null(),
        Reason.MALFORMED_USER_ID: _is_malformed("user_id", rules),
        Reason.MISSING_TIME: time.is_null() & ~pl.col("problem").str.starts_with("time_").fill_null(False),
        Reason.TIME_BEFORE_EARLIEST: time < schema.event_time.earliest_instant,
        Reason.TIME_AFTER_LATEST: time >= schema.event_time.end_instant,
    }
    if schema.event_id:
        tests[Reason.MISSING_EVENT_ID] = pl.col("event_id").is_null()
        tests[Reason.MALFORMED_EVENT_ID] = _is_malformed("event_id", rules)
    if schema.amount:
        read = ~pl.col("problem").str.contains("^(amount|currency)_").fill_null(False)
        tests[Reason.MISSING_AMOUNT] = cents.is_null() & read
        tests[Reason.AMOUNT_OUT_OF_RANGE] = ~cents.is_between(*schema.range_cents)
    if rules.required:
        tests[Reason.MISSING_REQUIRED_VALUE] = pl.any_horizontal([pl.col(name).is_null() for name in rules.required])
    return tests


def _is_suspect(tests: dict[Reason, pl.Expr], rules: QuarantineRules) -> pl.Expr:
    """Rows that may be at fault, found without the costly tests: few as a rule, and they are judged exactly."""
    cheap = {
        Reason.MALFORMED_USER_ID: _is_unusual("user_id", rules),
        Reason.MALFORMED_EVENT_ID: _is_unusual("event_id", rules),
    }
    return pl.any_horizontal(
        pl.col("problem").is_not_null(), *(cheap.get(reason, test).fill_null(False) for reason, test in tests.items())
    )


def _is_unusual(column: str, rules: QuarantineRules) -> pl.Expr:
    text = pl.col(column)
    return ~text.str.contains(_USUAL_ID) | (text.str.len_bytes() > rules.max_id_chars)


def _is_malformed(column: str, rules: QuarantineRules) -> pl.Expr:
    text = pl.col(column)
    too_long = text.str.len_chars() > rules.max_id_chars
    is_rounded = text.str.contains(SCIENTIFIC_ID) | text.str.contains(_ROUNDED_CARD)
    return text.str.contains(_CONTROL_OR_PADDED) | is_rounded | too_long


def _describe(
    rows: pl.DataFrame, tests: dict[Reason, pl.Expr], schema: LedgerSchema, rules: QuarantineRules
) -> pl.DataFrame:
    """The first reason of faulty rows, the column at fault and its value, masked."""
    in_order = [
        pl.when((pl.col("problem") == reason.value).or_(tests.get(reason, pl.lit(False)))).then(pl.lit(reason.value))
        for reason in Reason
    ]
    rows = rows.with_columns(reason=pl.coalesce(in_order))
    sources = role_sources(schema)
    column, value = pl.when(False).then(pl.lit("")), pl.when(False).then(pl.lit(""))
    for reason, role in _ROLE_OF_REASON.items():
        here = pl.col("reason") == reason.value
        column = column.when(here).then(pl.lit(sources[role]))
        value = value.when(here).then(_shown(role))
    missing = [pl.when(pl.col(name).is_null()).then(pl.lit(sources.get(name) or name)) for name in rules.required]
    required = pl.coalesce(missing) if missing else pl.lit(None, dtype=pl.String)
    mapped = (pl.col("problem") == pl.col("reason")).fill_null(False)
    is_required = pl.col("reason") == Reason.MISSING_REQUIRED_VALUE.value
    described = rows.select(
        "source_row",
        "reason",
        problem_column=pl.when(mapped).then("problem_column").when(is_required).then(required).otherwise(column),
        problem_value=pl.when(mapped).then("problem_value").otherwise(value),
    )
    return described.with_columns(mask_values(described["problem_value"])).cast(FAULT_SCHEMA)


def _shown(role: str) -> pl.Expr:
    value = pl.col(role)
    return ((value.cast(pl.Float64) / 100) if role == "amount_cents" else value).cast(pl.String)


def _find_duplicates(
    events: pl.LazyFrame, hashes: list[pl.Series], found: list[pl.DataFrame], schema: LedgerSchema
) -> Iterator[pl.DataFrame]:
    """All but the first acceptable row of each event id, as faults."""
    repeated, num_rows = _repeated(hashes)
    parts = -(-num_rows // _RIVAL_ROWS)
    faulty = pl.concat([part.select("source_row") for part in found]) if found else None
    for part in range(parts):
        chosen = repeated[part::parts]
        yield _lose(_rivals(events, chosen, faulty), schema)


def _repeated(hashes: Sequence[pl.Series]) -> tuple[np.ndarray, int]:
    """Hashes that occur more than once, and how many rows have them; chance matches are told apart later."""
    if not hashes:
        return np.array([], dtype=np.uint64), 0
    ordered = pl.concat(hashes).sort().to_numpy()
    same = ordered[1:] == ordered[:-1]
    if not same.any():
        return np.array([], dtype=np.uint64), 0
    repeated = np.unique(ordered[1:][same])
    num_rows = np.searchsorted(ordered, repeated, side="right") - np.searchsorted(ordered, repeated, side="left")
    return repeated, int(num_rows.sum())


def _rivals(events: pl.LazyFrame, chosen: np.ndarray, faulty: pl.DataFrame | None) -> pl.DataFrame:
    """The acceptable rows whose event id has one of these hashes."""
    wanted = pl.DataFrame({"_hash": chosen})
    rows = []
    for batch in batches_of(events):
        hit = batch.with_columns(_hash=pl.col("event_id").hash()).join(wanted, on="_hash", how="semi").drop("_hash")
        rows.append(hit if faulty is None else hit.join(faulty, on="source_row", how="anti"))
    return pl.concat(rows, rechunk=True)


def _lose(rivals: pl.DataFrame, schema: LedgerSchema) -> pl.DataFrame:
    content = [name for name in event_columns(schema) if name != "source_row"]
    ties = tie_order(tie_columns(schema))
    ordered = rivals.sort("event_time", *ties, *content, "source_row", nulls_last=True)
    losers = ordered.filter(~pl.col("event_id").is_first_distinct())
    return losers.select(
        "source_row",
        reason=pl.lit(Reason.DUPLICATE_EVENT_ID.value),
        problem_column=pl.lit(role_sources(schema)["event_id"]),
        problem_value=mask_values(losers["event_id"]),
    ).cast(FAULT_SCHEMA)
