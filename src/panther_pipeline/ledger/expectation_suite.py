"""The Great Expectations side: builds the declared suite, says which metrics it needs, judges them once counted.

Great Expectations has no engine for polars, and its pandas engine would want the whole ledger in memory. It works in
two steps, though: an expectation names the metrics that decide it, an engine computes them, and the expectation
judges. Only the middle step is ours (`expectation_facts`): name, arguments, `mostly` and verdict are Great
Expectations' own, through `get_validation_dependencies` and `metrics_validate`.

An expectation with a metric that polars does not count goes the usual way, with only the columns it names in pandas,
up to MOST_PANDAS_ROWS rows. Importing the package takes seconds, so it happens here, when a suite is built.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.expectation_facts import Metric, bound, counter_of, is_uniqueness
from panther_pipeline.ledger.joins import closest

MOST_PANDAS_ROWS = 5_000_000  # rows that an expectation without polars counters may be given in pandas
SHOWN_ROWS = 20  # of the rows that break an expectation
KEY = "validation.expectations.extra"
NATIVE_TYPES = (
    "column_values_to_be_between", "column_values_to_be_in_set", "column_values_to_not_be_in_set",
    "column_values_to_be_null", "column_values_to_not_be_null", "column_values_to_be_unique",
    "column_values_to_match_regex", "column_values_to_not_match_regex", "column_value_lengths_to_be_between",
    "column_value_lengths_to_equal", "column_pair_values_a_to_be_greater_than_b", "column_pair_values_to_be_equal",
    "compound_columns_to_be_unique", "column_distinct_values_to_be_in_set", "column_max_to_be_between",
    "column_min_to_be_between", "column_mean_to_be_between", "column_median_to_be_between", "column_sum_to_be_between",
    "column_stdev_to_be_between", "column_unique_value_count_to_be_between",
    "column_proportion_of_unique_values_to_be_between", "column_proportion_of_non_null_values_to_be_between",
    "table_row_count_to_be_between", "table_row_count_to_equal", "table_column_count_to_be_between",
    "table_column_count_to_equal", "table_columns_to_match_set", "table_columns_to_match_ordered_list",
    "column_to_exist",
)  # fmt: skip
_RESULT_FORMAT = {"result_format": "BASIC", "partial_unexpected_count": SHOWN_ROWS}
_SHAPE_TYPES = ("table_column", "column_to_exist")  # these may name columns that are not there: that is their point
_NUMBERS_ONLY = (bool, int, float)


@dataclass(frozen=True, kw_only=True)
class Check:
    """An expectation as declared: `kind` without "expect_", arguments with the column among them."""

    kind: str
    kwargs: Mapping[str, Any]


@dataclass(kw_only=True)
class Declared:
    """A check that Great Expectations has accepted, and what decides it."""

    check: Check
    expectation: Any  # of the gallery
    metrics: dict[Any, Metric] | None = None  # by Great Expectations' id; null where polars cannot count one
    counters: dict[Any, pl.Expr] = field(default_factory=dict)  # what to count
    repeats: dict[Any, Metric] = field(default_factory=dict)  # what must be looked up by `find_repeats`
    known: dict[Any, Any] = field(default_factory=dict)  # answers that need no data


def declare(checks: Sequence[Check], schema: Mapping[str, Any], num_rows: int) -> list[Declared]:
    """Build each check with Great Expectations and find out what must be counted for it.

    Args:
        checks: the suite.
        schema: columns and types of the events.
        num_rows: how many events there are at most.

    Raises:
        ConfigurationError: an unknown type or column, arguments that Great Expectations or the column's type refuses,
            or an expectation that needs pandas for more than MOST_PANDAS_ROWS rows.
    """
    from great_expectations.execution_engine import PandasExecutionEngine

    engine = PandasExecutionEngine()
    return [_declare(check, i, schema, num_rows, engine) for i, check in enumerate(checks)]


def declare_zero(fact: str) -> Declared:
    """The expectation that a count, taken elsewhere, adds up to 0."""
    from great_expectations.execution_engine import PandasExecutionEngine

    check = Check(kind="column_sum_to_be_between", kwargs={"column": fact, "min_value": 0, "max_value": 0})
    return _declare(check, 0, {fact: pl.Int64()}, 0, PandasExecutionEngine())


def judge(declared: Declared, values: Mapping[Any, Any]) -> dict[str, Any]:
    """The verdict of Great Expectations on counted metrics, as JSON.

    Args:
        declared: a check with `metrics`.
        values: a value for each of its metrics, by id.
    """
    result = declared.expectation.metrics_validate(
        metrics={**values, **declared.known}, runtime_configuration={"result_format": dict(_RESULT_FORMAT)}
    )
    return _summarise(result, declared.check) | {"evaluated_by": "polars"}


def judge_in_pandas(
    events: pl.LazyFrame, declared: Sequence[Declared], schema: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Great Expectations' own pandas engine, on the columns that these checks name."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

    # Nothing is written to disk, and nothing is reported to the makers of the package.
    stores = InMemoryStoreBackendDefaults()
    project = DataContextConfig(
        store_backend_defaults=stores, analytics_enabled=False, progress_bars={"globally": False}
    )
    context = gx.get_context(mode="ephemeral", project_config=project)
    asset = context.data_sources.add_pandas("ledger").add_dataframe_asset("events")
    columns = dict.fromkeys(["source_row", *(c for d in declared for c in _named_columns(d.check) if c in schema)])
    frame = events.select(list(columns)).collect(engine="streaming").to_pandas()
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
    suite = gx.ExpectationSuite(name="events", expectations=[d.expectation for d in declared])
    shown = {"result_format": "SUMMARY", "partial_unexpected_count": SHOWN_ROWS}
    outcome = batch.validate(suite, result_format={**shown, "unexpected_index_column_names": ["source_row"]})
    by_id = {result.expectation_config.meta["position"]: result for result in outcome.results}
    return [_summarise_pandas(by_id[d.expectation.meta["position"]], d.check, len(frame)) for d in declared]


def _declare(check: Check, position: int, schema: Mapping[str, Any], num_rows: int, engine: Any) -> Declared:
    _check_columns(check, schema)
    named = check.kwargs.get("column")
    dtype = schema.get(named) if isinstance(named, str) else None
    try:
        bounds = {k: bound(check.kwargs[k], dtype) for k in ("min_value", "max_value") if dtype and k in check.kwargs}
        kwargs = {**check.kwargs, **bounds}
        declared = Declared(check=check, expectation=_build(check.kind, kwargs, position))
        _find_counters(declared, schema, engine)
    except (ValueError, TypeError, pl.exceptions.PolarsError) as error:
        raise ConfigurationError(f"{KEY}: '{check.kind}' with {dict(check.kwargs)}: {error}") from None
    if declared.metrics is None and num_rows > MOST_PANDAS_ROWS:
        raise ConfigurationError(
            f"{KEY}: '{check.kind}' with {dict(check.kwargs)} needs its columns in memory, and {num_rows} rows are "
            f"more than the {MOST_PANDAS_ROWS} allowed. Counted on any number of rows are: {', '.join(NATIVE_TYPES)}."
        )
    return declared


def _build(kind: str, kwargs: Mapping[str, Any], position: int) -> Any:
    import great_expectations.expectations as gallery

    cls = getattr(gallery, "Expect" + "".join(word.capitalize() for word in kind.split("_")), None)
    if cls is None:
        known = {_snake(name): name for name in dir(gallery) if name.startswith("Expect") and name != "Expectation"}
        close = closest(kind, list(known))
        raise ConfigurationError(
            f"{KEY}: Great Expectations knows no '{kind}'{f', did you mean {close!r}?' if close else ''}. "
            f"It knows: {', '.join(sorted(known))}."
        )
    return cls(**kwargs, meta={"position": position})


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name.removeprefix("Expect")).strip("_")


def _named_columns(check: Check) -> list[str]:
    named = [value for key, value in check.kwargs.items() if key.startswith("column")]
    lists = [[value] if isinstance(value, str) else value for value in named if isinstance(value, str | list)]
    return [column for columns in lists for column in columns]


def _check_columns(check: Check, schema: Mapping[str, Any]) -> None:
    unknown = [column for column in _named_columns(check) if column not in schema]
    if unknown and not check.kind.startswith(_SHAPE_TYPES):
        close = closest(str(unknown[0]), list(schema))
        raise ConfigurationError(
            f"{KEY} names column '{unknown[0]}'{f', did you mean {close!r}?' if close else ''}; the events have: "
            f"{', '.join(schema)}."
        )


def _find_counters(declared: Declared, schema: Mapping[str, Any], engine: Any) -> None:
    """Fill metrics, counters and known; leave them empty where one of the metrics is unknown to polars."""
    from great_expectations.exceptions import GreatExpectationsError

    try:
        wanted = declared.expectation.get_validation_dependencies(
            execution_engine=engine, runtime_configuration={"result_format": dict(_RESULT_FORMAT)}
        )
    except GreatExpectationsError:  # it wants to see the data first, as the type checks do
        return
    asked = [
        (m.id, Metric(name=m.metric_name, domain=m.metric_domain_kwargs, arguments=m.metric_value_kwargs))
        for m in wanted.get_metric_configurations()
    ]
    known, counters, repeats = {}, {}, {}
    for id_, metric in asked:
        if metric.name in ("table.columns", "table.column_count"):
            known[id_] = list(schema) if metric.name == "table.columns" else len(schema)
        elif metric.name.endswith((".unexpected_values", ".not_in_set")):
            known[id_] = []  # cell values stay out: the report must not repeat what an account holder did
        elif is_uniqueness(metric) and metric.domain.get("row_condition") is None:
            repeats[id_] = metric
        else:
            counter = counter_of(metric, schema)
            if counter is None:
                return
            counters[id_] = counter
    # On no rows at all: a comparison that the column's type does not allow is found before the data are read.
    pl.DataFrame(schema=dict(schema)).select(expr.alias(str(i)) for i, expr in enumerate(counters.values()))
    declared.metrics, declared.known, declared.counters, declared.repeats = dict(asked), known, counters, repeats


def _summarise_pandas(result: Any, check: Check, num_rows: int) -> dict[str, Any]:
    listed = result.result.get("partial_unexpected_index_list") or []
    rows = [int(item["source_row"]) for item in listed if isinstance(item, dict) and "source_row" in item]
    found = _summarise(result, check) | {"evaluated_by": "pandas", "rows": rows}
    return found | {"statement": f"{found['statement']}, on {num_rows} rows in pandas"}


def _summarise(result: Any, check: Check) -> dict[str, Any]:
    """One result as JSON, without cell values."""
    arguments = {key: _to_json(value) for key, value in check.kwargs.items() if key != "column"}
    found = {
        key: _to_json(result.result.get(key)) for key in ("element_count", "unexpected_count", "unexpected_percent")
    }
    observed = _to_json(result.result.get("observed_value"))
    told = ", ".join(f"{key} {value}" for key, value in arguments.items())
    statement = f"{check.kwargs.get('column', 'table')}: {check.kind.removeprefix('column_').replace('_', ' ')}"
    return {
        "type": check.kind, "column": check.kwargs.get("column"), "kwargs": arguments,
        "statement": f"{statement} ({told})" if told else statement,
        "success": bool(result.success), **found,
        "observed_value": observed if isinstance(observed, _NUMBERS_ONLY) else None,
        "error": _first_error(result.exception_info or {}), "rows": [],
    }  # fmt: skip


def _first_error(info: Mapping[str, Any]) -> str | None:
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
