"""Accept or quarantine each row, for a reason of a closed list; rows in = accepted + quarantined."""

from typing import Any

import polars as pl
from pydantic import Field

from panther_pipeline.config import Config
from panther_pipeline.errors import ConfigurationError, QuarantineError
from panther_pipeline.ledger.mapping import MISSING_CATEGORY, event_columns, role_sources
from panther_pipeline.ledger.reasons import EXPLANATIONS, Reason
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.ledger.values import SCIENTIFIC_ID, mask_values

_CONTROL_OR_PADDED = r"^\s|\s$|\p{C}"  # \p{C}: control and invisible characters, a line end among them
_SHOWN_REASONS = 3
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


class GateConfig(Config):
    """When a run must stop rather than go on with what was accepted."""

    max_quarantined_share: float = Field(ge=0, le=1)  # of all rows
    max_quarantined_rows: int | None = Field(ge=0)  # null = no limit beside the share
    stop_on_failed_expectation: bool  # false: report only


def split_events(
    events: pl.DataFrame, schema: LedgerSchema, rules: QuarantineRules
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split the event log into accepted events, ordered and numbered, and quarantined ones with a reason.

    Of rows with the same event_id, the earliest in time is kept, then the lower tie-break, then the lower
    content: so the outcome does not depend on the order of the file. Only rows that are otherwise acceptable
    compete.

    Args:
        events: what `mapping.map_events` returns.
        schema: the schema it was mapped with.
        rules: further requirements.

    Returns:
        accepted: `valid_events` as in docs/data_contract.md, sorted by (user_id, event_seq).
        quarantined: the columns of `events` and reason, sorted by source_row.

    Raises:
        ConfigurationError: `rules.required` names a column that `events` does not have.
    """
    unknown = [name for name in rules.required if name not in event_columns(schema)]
    if unknown:
        raise ConfigurationError(f"validation.rules.required names {unknown}; this ledger has {event_columns(schema)}.")
    judged = _mark_duplicates(events.with_columns(reason=_first_reason(schema, rules)), schema)
    accepted = _number_events(judged.filter(pl.col("reason").is_null()), schema)
    quarantined = _describe(judged.filter(pl.col("reason").is_not_null()), schema, rules).sort("source_row")
    _assert_nothing_lost(events, accepted, quarantined)
    return accepted, quarantined


def accept_events(accepted: pl.DataFrame, report: dict[str, Any], gate: GateConfig) -> pl.DataFrame:
    """The accepted events, unless the report says that they cannot be relied on.

    Args:
        accepted: events that no rule rejects.
        report: what `expectations.check_expectations` returns.
        gate: how much may be quarantined.

    Raises:
        QuarantineError: too many rows quarantined, nothing accepted, or an expectation failed; the message
            counts them, gives the most frequent reasons with an example, and says where all of them stand.
    """
    counts = report["counts"]
    faults = []
    if accepted.is_empty():
        faults.append("no row was accepted")
    if counts["quarantine_share"] > gate.max_quarantined_share:
        faults.append(
            f"{counts['quarantined']} of {counts['rows_in']} rows ({counts['quarantine_share']:.2%}) "
            "were quarantined, more than validation.gate.max_quarantined_share = "
            f"{gate.max_quarantined_share:.2%}"
        )
    if gate.max_quarantined_rows is not None and counts["quarantined"] > gate.max_quarantined_rows:
        faults.append(
            f"{counts['quarantined']} rows were quarantined, more than "
            f"validation.gate.max_quarantined_rows = {gate.max_quarantined_rows}"
        )
    failed = [check for check in report["expectations"] if not check["success"]]
    if failed and gate.stop_on_failed_expectation:
        named = "; ".join(check["statement"] for check in failed[:_SHOWN_REASONS])
        faults.append(f"{len(failed)} of {len(report['expectations'])} expectations failed: {named}")
    if faults:
        raise QuarantineError(_stop_message(faults, report))
    return accepted


def _first_reason(schema: LedgerSchema, rules: QuarantineRules) -> pl.Expr:
    """The first reason in the order of `Reason`, null for none; duplicates come later, among what is left."""
    earliest, latest = schema.event_time.earliest_instant, schema.event_time.end_instant
    time, cents = pl.col("event_time"), pl.col("amount_cents")
    lowest, highest = (round(bound * 100) for bound in schema.amount_range)
    required = [pl.col(name).is_null() for name in rules.required]
    tests: dict[Reason, pl.Expr] = {
        Reason.MISSING_USER_ID: pl.col("user_id").is_null(),
        Reason.MALFORMED_USER_ID: _is_malformed("user_id", rules),
        Reason.MISSING_EVENT_ID: pl.col("event_id").is_null(),
        Reason.MALFORMED_EVENT_ID: _is_malformed("event_id", rules),
        Reason.MISSING_TIME: time.is_null() & ~pl.col("problem").str.starts_with("time_").fill_null(False),
        Reason.TIME_BEFORE_EARLIEST: time < earliest,
        Reason.TIME_AFTER_LATEST: time >= latest,
        Reason.MISSING_AMOUNT: cents.is_null() & ~pl.col("problem").str.starts_with("amount_").fill_null(False)
        if schema.amount
        else pl.lit(False),
        Reason.AMOUNT_OUT_OF_RANGE: ~cents.is_between(lowest, highest),
        Reason.MISSING_REQUIRED_VALUE: pl.any_horizontal(required) if required else pl.lit(False),
    }
    in_order = [
        pl.when((pl.col("problem") == reason.value).or_(tests.get(reason, pl.lit(False)))).then(pl.lit(reason.value))
        for reason in Reason
    ]
    return pl.coalesce(in_order)


def _is_malformed(column: str, rules: QuarantineRules) -> pl.Expr:
    text = pl.col(column)
    too_long = text.str.len_chars() > rules.max_id_chars
    return text.str.contains(_CONTROL_OR_PADDED) | text.str.contains(SCIENTIFIC_ID) | too_long


def _mark_duplicates(judged: pl.DataFrame, schema: LedgerSchema) -> pl.DataFrame:
    """`reason` with duplicate_event_id filled in: all but the first acceptable row of each event id."""
    rivals = judged.filter(pl.col("reason").is_null()).filter(pl.col("event_id").is_duplicated())
    content = [name for name in event_columns(schema) if name != "source_row"]
    ordered = rivals.sort("event_time", *_tie_order(rivals), *content, "source_row", nulls_last=True)
    losers = ordered.filter(~pl.col("event_id").is_first_distinct())["source_row"]
    is_loser = pl.col("source_row").is_in(losers.implode())
    return judged.with_columns(
        reason=pl.when(is_loser).then(pl.lit(Reason.DUPLICATE_EVENT_ID.value)).otherwise("reason")
    )


def _tie_order(events: pl.DataFrame) -> list[pl.Expr]:
    """Sort keys of the tie-breaks: numbers as numbers, whatever text stands elsewhere in the column."""
    keys = []
    for name in (name for name in events.columns if name.startswith("tie_break_")):
        if events.schema[name] == pl.String:
            keys.append(pl.col(name).cast(pl.Int64, strict=False).alias(f"{name}_number"))
        keys.append(pl.col(name))
    return keys


def _number_events(events: pl.DataFrame, schema: LedgerSchema) -> pl.DataFrame:
    """Order each user's events and number them 0, 1, 2, ..."""
    categories = [attribute.name for attribute in schema.attributes if attribute.kind == "category"]
    names = [attribute.name for attribute in schema.attributes]
    columns = ["user_id", "event_id", "event_time", "event_seq", "amount_cents", *names]
    return (
        events.sort("user_id", "event_time", *_tie_order(events), "source_row", nulls_last=True)
        .with_columns(
            pl.int_range(pl.len(), dtype=pl.Int64).over("user_id").alias("event_seq"),
            *(pl.col(name).fill_null(MISSING_CATEGORY) for name in categories),
        )
        .select(*columns, "counterparty", "label", "label_time", "source_row")
    )


def _describe(quarantined: pl.DataFrame, schema: LedgerSchema, rules: QuarantineRules) -> pl.DataFrame:
    """Name the column at fault and show its value, masked, for reasons that mapping did not describe."""
    sources = role_sources(schema)
    required = pl.coalesce(
        [pl.when(pl.col(name).is_null()).then(pl.lit(sources.get(name) or name)) for name in rules.required]
        or [pl.lit(None, dtype=pl.String)]
    )
    column, value = pl.when(False).then(pl.lit("")), pl.when(False).then(pl.lit(""))
    for reason in Reason:
        role = _ROLE_OF_REASON.get(reason)
        if role:
            here = pl.col("reason") == reason.value
            column = column.when(here).then(pl.lit(sources[role]))
            value = value.when(here).then(pl.col("_" + role))
    shown = {f"_{role}": _show(quarantined[role]) for role in set(_ROLE_OF_REASON.values())}
    mapped = pl.col("problem").is_not_null() & (pl.col("problem") == pl.col("reason"))
    is_required = pl.col("reason") == Reason.MISSING_REQUIRED_VALUE.value
    return (
        quarantined.with_columns(**shown)
        .with_columns(
            problem_column=pl.when(mapped).then("problem_column").when(is_required).then(required).otherwise(column),
            problem_value=pl.when(mapped).then("problem_value").otherwise(value),
        )
        .drop(*shown)
    )


def _show(column: pl.Series) -> pl.Series:
    in_source_units = column.cast(pl.Float64) / 100 if column.name == "amount_cents" else column
    return mask_values(in_source_units)


def _assert_nothing_lost(events: pl.DataFrame, accepted: pl.DataFrame, quarantined: pl.DataFrame) -> None:
    rows = pl.concat([accepted["source_row"], quarantined["source_row"]])
    if rows.len() != events.height or rows.n_unique() != events["source_row"].n_unique():
        raise AssertionError(
            f"{events.height} rows in, {accepted.height} accepted + {quarantined.height} quarantined "
            "out: rows were lost or doubled. This is a fault of panther_pipeline, please report it."
        )


def _stop_message(faults: list[str], report: dict[str, Any]) -> str:
    lines = ["validation stopped the run: " + "; ".join(faults) + "."]
    for reason, number in list(report["reasons"].items())[:_SHOWN_REASONS]:
        example = report["examples"][reason][0]
        shown = f"row {example['source_row']}, column {example['column']}: {example['value']!r}"
        lines.append(f"  {number} x {reason} ({EXPLANATIONS[Reason(reason)]}), for example {shown}")
    lines.append(
        "All of them are in the dataset 'quarantined_events', and 'validation_page' shows them in a "
        "browser (paths: conf/base/catalog/validate.yml). Mend the source and run again from 'ingest', "
        "correct ledger.schema if it describes the source wrongly, or raise the limit in "
        "conf/base/parameters/validation.yml if this is expected."
    )
    return "\n".join(lines)
