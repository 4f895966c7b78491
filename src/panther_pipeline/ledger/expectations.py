"""Great Expectations on the accepted events: a suite that follows from the schema, plus what the YAML adds.

Polars has no engine in Great Expectations, and rows are cheap to hand to pandas as long as only the columns
that are checked go over. What needs neighbouring rows (no gap in event_seq, time never goes back) or both
tables (rows in = accepted + quarantined) is counted in polars first and expected to be 0.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import Field

from panther_pipeline.config import Config
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.mapping import closest, event_columns
from panther_pipeline.ledger.reasons import Reason
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.ledger.values import mask_values

if TYPE_CHECKING:
    import pandas as pd

Checks = list[tuple[str, dict[str, Any]]]
_NUMBERS_ONLY = (bool, int, float)


class Expectation(Config):
    """One more expectation of the accepted events."""

    type: str  # as in the Great Expectations gallery, with or without "expect_"
    column: str | None = None  # column of `valid_events`; null for an expectation of the table or several columns
    kwargs: dict[str, Any] = Field(default_factory=dict)  # the expectation's other arguments


class ExpectationsConfig(Config):
    """What is checked beside the schema, and how much of the quarantine the page shows."""

    extra: list[Expectation]
    sample_rows: int = Field(ge=1, le=100)  # quarantined rows shown per reason


def check_expectations(
    accepted: pl.DataFrame, quarantined: pl.DataFrame, schema: LedgerSchema, config: ExpectationsConfig
) -> dict[str, Any]:
    """Validate the accepted events and summarise the quarantine, as plain JSON values.

    Args:
        accepted: accepted events, as `quarantine.split_events` returns them.
        quarantined: quarantined events, likewise.
        schema: what the columns mean and which ranges are allowed.
        config: further expectations.

    Returns:
        success: whether every expectation holds.
        counts: rows_in, accepted, quarantined, quarantine_share (0 to 1).
        reasons: reason → rows, most frequent first.
        examples: reason → list of {source_row, column, value}; values are masked.
        expectations: list of {type, column, kwargs, statement, success, element_count, unexpected_count,
            unexpected_percent, observed_value, error}.

    Raises:
        ConfigurationError: an unknown expectation or column, or arguments that Great Expectations refuses.
    """
    rows = _schema_checks(schema) + [
        (e.type, {**({"column": e.column} if e.column else {}), **e.kwargs}) for e in config.extra
    ]
    facts = _count_facts(accepted, quarantined, schema)
    always_zero: Checks = [
        ("column_values_to_be_between", {"column": name, "min_value": 0, "max_value": 0}) for name in facts.columns
    ]
    expectations = _run_suite("events", _to_pandas(accepted, rows), rows)
    expectations += _run_suite("facts", facts.to_pandas(), always_zero)
    rows_in = accepted.height + quarantined.height
    share = quarantined.height / rows_in if rows_in else 0.0
    return {
        "success": all(check["success"] for check in expectations),
        "counts": {
            "rows_in": rows_in, "accepted": accepted.height, "quarantined": quarantined.height,
            "quarantine_share": share,
        },
        "reasons": _count_reasons(quarantined),
        "examples": _sample_rows(quarantined, config.sample_rows),
        "expectations": expectations,
    }  # fmt: skip


def _schema_checks(schema: LedgerSchema) -> Checks:
    present = ["user_id", "event_id", "event_time", "event_seq", *(["amount_cents"] if schema.amount else [])]
    checks: Checks = [("column_values_to_not_be_null", {"column": column}) for column in present]
    checks.append(("column_values_to_be_unique", {"column": "event_id"}))
    first, end = schema.event_time.earliest_instant, schema.event_time.end_instant
    bounds = {"min_value": first, "max_value": end, "strict_max": True}
    checks.append(("column_values_to_be_between", {"column": "event_time", **bounds}))
    if schema.amount:
        lowest, highest = (round(bound * 100) for bound in schema.amount_range)
        bounds = {"min_value": lowest, "max_value": highest}
        checks.append(("column_values_to_be_between", {"column": "amount_cents", **bounds}))
    if schema.label:
        checks.append(("column_values_to_be_in_set", {"column": "label", "value_set": [0, 1]}))
    return checks


def _count_facts(accepted: pl.DataFrame, quarantined: pl.DataFrame, schema: LedgerSchema) -> pl.DataFrame:
    """One row of counts that must all be 0."""
    same_user = pl.col("user_id") == pl.col("user_id").shift()
    counts = accepted.select(
        event_seq_gaps=(
            pl.when(same_user).then(pl.col("event_seq").diff() != 1).otherwise(pl.col("event_seq") != 0)
        ).sum(),
        steps_back_in_time=(same_user & (pl.col("event_time").diff() < pl.duration(seconds=0))).sum(),
        labels_known_before_their_event=(pl.col("label_time") < pl.col("event_time")).sum(),
    )
    source_rows = pl.concat([accepted["source_row"], quarantined["source_row"]])
    last = source_rows.max()
    expected = {*event_columns(schema), "event_seq"}
    # Rows are numbered where they are read: a number missing or doubled here is a row lost on the way.
    return counts.with_columns(
        rows_unaccounted_for=pl.lit((0 if last is None else last + 1) - source_rows.n_unique()),
        rows_doubled=pl.lit(source_rows.len() - source_rows.n_unique()),
        columns_missing_or_extra=pl.lit(len(expected ^ set(accepted.columns))),
        reasons_outside_the_closed_list=pl.lit(
            (~quarantined["reason"].is_in([r.value for r in Reason]).fill_null(False)).sum()
        ),
    ).cast(pl.Int64)


def _to_pandas(events: pl.DataFrame, checks: Checks) -> "pd.DataFrame":
    """The columns that some check names, and at least one, so that the row count is right."""
    needed: dict[str, None] = {"event_id": None}
    for kind, kwargs in checks:
        for key, value in kwargs.items():
            if key.startswith("column"):
                needed |= dict.fromkeys([value] if isinstance(value, str) else value)
        if kind.removeprefix("expect_").startswith("table_column"):
            needed |= dict.fromkeys(events.columns)
    unknown = [column for column in needed if column not in events.columns]
    if unknown:
        close = closest(unknown[0], events.columns)
        raise ConfigurationError(
            f"validation.expectations.extra names column '{unknown[0]}'"
            f"{f', did you mean {close!r}?' if close else ''}; the accepted events have: "
            f"{', '.join(events.columns)}."
        )
    return events.select(list(needed)).to_pandas()


def _run_suite(name: str, frame: "pd.DataFrame", checks: Checks) -> list[dict[str, Any]]:
    import great_expectations as gx  # here, since it takes four seconds that only this node should pay
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

    # Nothing is written to disk, and nothing is reported to the makers of the package.
    stores = InMemoryStoreBackendDefaults()
    project = DataContextConfig(
        store_backend_defaults=stores, analytics_enabled=False, progress_bars={"globally": False}
    )
    context = gx.get_context(mode="ephemeral", project_config=project)
    asset = context.data_sources.add_pandas("ledger").add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
    built = [_build(kind, kwargs, position) for position, (kind, kwargs) in enumerate(checks)]
    outcome = batch.validate(gx.ExpectationSuite(name=name, expectations=built), result_format="SUMMARY")
    in_order = sorted(outcome.results, key=lambda result: result.expectation_config.meta["position"])
    return [_summarise(result, *checks[position]) for position, result in enumerate(in_order)]


def _build(kind: str, kwargs: dict[str, Any], position: int) -> Any:
    import great_expectations.expectations as gallery

    words = ("expect_" + kind.removeprefix("expect_")).split("_")
    cls = getattr(gallery, "".join(word.capitalize() for word in words), None)
    if cls is None:
        known = {_snake(name): name for name in dir(gallery) if name.startswith("Expect")}
        close = closest(kind.removeprefix("expect_"), list(known))
        raise ConfigurationError(
            f"validation.expectations.extra: Great Expectations knows no '{kind}'"
            f"{f', did you mean {close!r}?' if close else ''}. It knows: {', '.join(sorted(known))}."
        )
    try:
        return cls(**kwargs, meta={"position": position})
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"validation.expectations.extra: '{kind}' with {kwargs}: {error}") from None


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name.removeprefix("Expect")).strip("_")


def _summarise(result: Any, kind: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """One result as JSON. Cell values stay out: the report must not repeat what an account holder did."""
    kind = kind.removeprefix("expect_")
    arguments = {key: _to_json(value) for key, value in kwargs.items() if key != "column"}
    found = {
        key: _to_json(result.result.get(key)) for key in ("element_count", "unexpected_count", "unexpected_percent")
    }
    observed = _to_json(result.result.get("observed_value"))
    told = ", ".join(f"{key} {value}" for key, value in arguments.items())
    statement = f"{kwargs.get('column', 'table')}: {kind.removeprefix('column_').replace('_', ' ')}"
    return {
        "type": kind, "column": kwargs.get("column"), "kwargs": arguments,
        "statement": f"{statement} ({told})" if told else statement,
        "success": bool(result.success), **found,
        "observed_value": observed if isinstance(observed, _NUMBERS_ONLY) else None,
        "error": _first_error(result.exception_info),
    }  # fmt: skip


def _first_error(info: dict[str, Any]) -> str | None:
    """The message of an expectation that could not be computed; one record, or one for each metric."""
    records = [info] if "raised_exception" in info else list(info.values())
    return next((str(r["exception_message"]) for r in records if r.get("raised_exception")), None)


def _to_json(value: Any) -> Any:
    """Plain JSON values: numpy scalars unwrapped, instants as ISO text, NaN and infinity as null."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_to_json(item) for item in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)


def _count_reasons(quarantined: pl.DataFrame) -> dict[str, int]:
    counted = quarantined.group_by("reason").len("rows").sort("rows", "reason", descending=[True, False])
    return dict(counted.rows())


def _sample_rows(quarantined: pl.DataFrame, num_rows: int) -> dict[str, list[dict[str, Any]]]:
    shown = quarantined.sort("source_row").group_by("reason", maintain_order=True).head(num_rows)
    samples: dict[str, list[dict[str, Any]]] = {reason: [] for reason in _count_reasons(quarantined)}
    masked = shown.select("reason", "source_row", "problem_column", value=mask_values(shown["problem_value"]))
    for reason, source_row, column, value in masked.iter_rows():
        samples[reason].append({"source_row": source_row, "column": column, "value": value})
    return samples
