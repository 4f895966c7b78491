"""What breaks no rule, but a person should look at before believing a number: each said in one sentence with counts.

A finding is {kind, severity, column, statement, count, share, rows}: severity `warning` or `info`, `rows` a few
{file, line}. Nothing here stops a run; to make one of them a rule, declare an expectation.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from panther_pipeline.ledger import expectation_facts as facts
from panther_pipeline.ledger.label_leaks import find_label_leaks
from panther_pipeline.ledger.mapping import event_columns, event_schema, role_sources
from panther_pipeline.ledger.reasons import EXPLANATIONS, Reason
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.ledger.source import locate_row
from panther_pipeline.ledger.stream import batches_of
from panther_pipeline.units import DAY_US

SHOWN_ROWS = 5
_RARE_SIGN = 0.01  # a sign that fewer of the amounts have than this is worth a look
_LARGE_USER = 0.5  # one user with more of the events than this is more likely a placeholder than a person
_PLACEHOLDERS = [
    "unknown", "undefined", "none", "null", "nil", "nan", "n/a", "na", "missing", "(missing)", "anonymous", "guest",
    "test", "dummy", "default",
]  # fmt: skip
_FAULT_KINDS = {
    Reason.DUPLICATE_EVENT_ID: "duplicate_event_id",
    Reason.TIME_BEFORE_EARLIEST: "time_travel",
    Reason.TIME_AFTER_LATEST: "time_travel",
    Reason.TIME_NONEXISTENT: "daylight_saving",
    Reason.TIME_AMBIGUOUS: "daylight_saving",
    Reason.AMOUNT_SIGN_UNKNOWN: "sign_or_currency",
    Reason.CURRENCY_NOT_ALLOWED: "sign_or_currency",
    Reason.AMOUNT_NOT_FINITE: "impossible_value",
    Reason.AMOUNT_NOT_IN_CENTS: "impossible_value",
    Reason.AMOUNT_OUT_OF_RANGE: "impossible_value",
}

Finding = dict[str, Any]


def oddity_counters(schema: LedgerSchema) -> dict[str, pl.Expr]:
    """What the pass over the accepted events should count on the way, for `find_oddities`."""
    cents, label = pl.col("amount_cents"), pl.col("label")
    counters = {"labelled": label.count(), "positive": label.cast(pl.Int64).sum()}
    counters |= {"zero": (cents == 0).sum(), "negative": (cents < 0).sum(), "above_zero": (cents > 0).sum()}
    for name in _declared_columns(schema):
        values = pl.col(name)
        counters |= {f"{name} low": values.min(), f"{name} high": values.max(), f"{name} filled": values.count()}
    return counters


def find_oddities(
    events: pl.LazyFrame,
    accepted: pl.LazyFrame,
    event_faults: pl.DataFrame,
    counted: Mapping[str, Any],
    account: Mapping[str, Any],
    schema: LedgerSchema,
) -> list[Finding]:
    """All findings, warnings first.

    Args:
        events: every row, in file order.
        accepted: those without a fault.
        event_faults: the others: source_row, reason, problem_column.
        counted: what `oddity_counters` yielded on `accepted`, and `rows`.
        account: `SourceAccount.as_json`, to say in which file and line a row stands.
        schema: what the columns mean; checks of what the ledger does not have are left out.

    Returns:
        Each {kind, severity, column, statement, count, share, rows}. Kinds: duplicate_rows, duplicate_event_id,
        late_rows, sign_or_currency, time_travel, daylight_saving, impossible_value, zero_amount, constant_column,
        single_class_label, label_leak, label_rule, collapsed_ids, single_event_users, largest_user, card_number.
    """
    if not counted["rows"]:
        found = [*_card_numbers(account), *_quarantined(event_faults, 0, schema)]
        return list(_locate(found, account))
    found = [
        *_card_numbers(account),
        *_quarantined(event_faults, counted["rows"], schema),
        *_equal_rows(accepted, counted, account, schema),
        *(_late_rows(events, event_faults, account) if schema.is_timed else []),
        *(_amounts(accepted, counted) if schema.amount else []),
        *_constant_columns(counted, schema),
        *(_label_classes(counted, schema) if schema.label else []),
        *_users(accepted),
        *(_identifiers(accepted, "counterparty") if schema.counterparty else []),
        *(find_label_leaks(accepted, counted["labelled"], schema) if schema.label else []),
    ]
    return list(_locate(sorted(found, key=lambda finding: finding["severity"] != "warning"), account))


def event_types(schema: LedgerSchema) -> dict[str, Any]:
    """Columns and types of `events`, as instances."""
    return dict(pl.DataFrame(schema=event_schema(schema)).schema)


def _declared_columns(schema: LedgerSchema) -> list[str]:
    roles = [name for name, there in (("amount_cents", schema.amount), ("counterparty", schema.counterparty)) if there]
    return roles + [attribute.name for attribute in schema.attributes]


def _content(schema: LedgerSchema) -> list[str]:
    """Everything of a row but its number and its id."""
    own = [name for name in event_columns(schema) if name not in ("source_row", "event_id", "label_time")]
    return own + [name for name in event_schema(schema) if name.startswith("tie_break_")]


def _finding(
    kind: str, severity: str, column: str | None, statement: str, count: int, of: int, rows: Any = ()
) -> Finding:
    return {
        "kind": kind, "severity": severity, "column": column, "statement": statement, "count": int(count),
        "share": count / of if of else 0.0, "rows": [int(row) for row in rows],
    }  # fmt: skip


def _locate(found: Iterable[Finding], account: Mapping[str, Any]) -> Iterator[Finding]:
    for finding in found:
        places = [locate_row(dict(account), row) for row in finding["rows"]]
        yield finding | {"rows": [{"file": file, "line": line} for file, line in places]}


def _quarantined(event_faults: pl.DataFrame, num_accepted: int, schema: LedgerSchema) -> Iterator[Finding]:
    """Faults that say something about how the ledger was made, beyond the row that has them."""
    rows_in = num_accepted + event_faults.height
    sources = role_sources(schema)
    for reason, kind in _FAULT_KINDS.items():
        those = event_faults.filter(pl.col("reason") == reason.value)
        if those.is_empty():
            continue
        column = those["problem_column"].drop_nulls().first() or sources["event_id"]
        statement = f"{_of(those.height, rows_in)} rows were quarantined: {EXPLANATIONS[reason]}"
        rows = those["source_row"].bottom_k(SHOWN_ROWS).sort()
        yield _finding(kind, "warning", column, statement, those.height, rows_in, rows)


def _card_numbers(account: Mapping[str, Any]) -> Iterator[Finding]:
    """Where card numbers stood, and what became of them."""
    cards, rows = account.get("card_numbers", {}), account.get("rows", 0)
    done = {
        "tokenized": f"held a card number and have a token instead, made with the key {cards.get('key_id')}",
        "masked": "held a card number, which is masked",
    }
    for what, told in done.items():
        for column, count in cards.get(what, {}).items():
            yield _finding("card_number", "warning", column, f"{count:,} cells of {column} {told}", count, rows)


def _equal_rows(
    accepted: pl.LazyFrame, counted: Mapping[str, Any], account: Mapping[str, Any], schema: LedgerSchema
) -> Iterator[Finding]:
    lines = sum(file["lines"] for file in account["files"])
    types, every_row = event_types(schema), pl.col("source_row").is_not_null()
    repeats = facts.find_repeats(accepted, _content(schema), types, where=every_row, num_rows=lines, shown=SHOWN_ROWS)
    extra = repeats.rows - repeats.kinds
    if extra:
        statement = (
            f"{_of(extra, counted['rows'])} accepted rows repeat an earlier row in everything but its event id: "
            "the same payment may have been written twice"
        )
        yield _finding("duplicate_rows", "warning", None, statement, extra, counted["rows"], repeats.examples)


def _late_rows(events: pl.LazyFrame, event_faults: pl.DataFrame, account: Mapping[str, Any]) -> Iterator[Finding]:
    """Rows whose time is earlier than that of a row before them in the same file."""
    starts = [file["first_row"] for file in account["files"]]
    latest = np.full(len(starts), np.iinfo(np.int64).min)  # per file, of the batches so far
    num_late = num_rows = greatest_us = 0
    shown: list[int] = []
    for rows in _accepted_times(events, event_faults):
        number, time_us = rows["source_row"].to_numpy(), rows["event_time"].to_physical().to_numpy()
        file_of = np.searchsorted(starts, number, side="right") - 1
        for file in np.unique(file_of):
            here = file_of == file
            reached = np.maximum.accumulate(np.concatenate(([latest[file]], time_us[here])))
            late = time_us[here] < reached[:-1]
            latest[file], num_late, num_rows = reached[-1], num_late + int(late.sum()), num_rows + int(here.sum())
            if late.any():
                greatest_us = max(greatest_us, int((reached[:-1] - time_us[here])[late].max()))
                shown += number[here][late][: SHOWN_ROWS - len(shown)].tolist()
    if num_late:
        statement = (
            f"{_of(num_late, num_rows)} rows are earlier than a row before them in the same file, by up to "
            f"{_duration(greatest_us)}: late arrivals, or a file that is not sorted by time; events are sorted anyway"
        )
        yield _finding("late_rows", "info", "event_time", statement, num_late, num_rows, shown)


def _accepted_times(events: pl.LazyFrame, event_faults: pl.DataFrame) -> Iterator[pl.DataFrame]:
    refused = event_faults["source_row"].sort()
    for batch in batches_of(events.select("source_row", "event_time")):
        batch = batch.filter(pl.col("event_time").is_not_null())
        if batch.is_empty():
            continue
        first = refused.search_sorted(batch["source_row"][0])
        last = refused.search_sorted(batch["source_row"][-1], "right")
        yield batch.filter(~pl.col("source_row").is_in(refused[first:last].implode())) if last > first else batch


def _amounts(accepted: pl.LazyFrame, counted: Mapping[str, Any]) -> Iterator[Finding]:
    num_rows, zero = counted["rows"], counted["zero"]
    if zero:
        statement = f"{_of(zero, num_rows)} amounts are exactly 0: checks of a card, or values never filled in"
        rows = _rows(accepted, pl.col("amount_cents") == 0)
        yield _finding("zero_amount", "info", "amount_cents", statement, zero, num_rows, rows)
    few, many = sorted(("negative", "above_zero"), key=lambda sign: counted[sign])
    if 0 < counted[few] < _RARE_SIGN * counted[many]:
        cents = pl.col("amount_cents")
        sign, where = ("negative", cents < 0) if few == "negative" else ("positive", cents > 0)
        statement = (
            f"{_of(counted[few], num_rows)} amounts are {sign}, all others are not: refunds, or a sign that was "
            "written the other way"
        )
        rows = _rows(accepted, where)
        yield _finding("sign_or_currency", "warning", "amount_cents", statement, counted[few], num_rows, rows)


def _rows(accepted: pl.LazyFrame, where: pl.Expr) -> list[int]:
    found = accepted.filter(where).select(pl.col("source_row").bottom_k(SHOWN_ROWS)).collect(engine="streaming")
    return sorted(found["source_row"].to_list())


def _constant_columns(counted: Mapping[str, Any], schema: LedgerSchema) -> Iterator[Finding]:
    num_rows = counted["rows"]
    for name in _declared_columns(schema):
        filled = counted[f"{name} filled"]
        # A value beside empty cells tells events apart: empty is a value of its own.
        if num_rows > 1 and filled in (0, num_rows) and counted[f"{name} low"] == counted[f"{name} high"]:
            told = f"one value only in all {num_rows:,} rows" if filled else f"none in all {num_rows:,} rows"
            statement = f"{name} has {told}: it can tell no event from another"
            yield _finding("constant_column", "warning", name, statement, filled, num_rows)


def _label_classes(counted: Mapping[str, Any], schema: LedgerSchema) -> Iterator[Finding]:
    """A label with one class alone: often a value of the schema that the source spells in another way."""
    labelled, positive = counted["labelled"], counted["positive"] or 0
    absent = "positive" if not positive else "negative" if positive == labelled else None
    if absent:
        values = getattr(schema.label, absent)
        statement = (
            f"none of {labelled:,} labels is {absent}: nothing can be learnt from them. Does the source write {values} "
            f"(ledger.schema.label.{absent}) in another way? Values in neither list are quarantined"
        )
        yield _finding("single_class_label", "warning", schema.label.column, statement, labelled, counted["rows"])


def _users(accepted: pl.LazyFrame) -> Iterator[Finding]:
    per_user = accepted.group_by("user_id").agg(pl.len(), row=pl.col("source_row").min())
    size, row = pl.col("len"), pl.col("row")
    found = per_user.select(
        users=pl.len(), events=size.sum(), once=(size == 1).sum(), largest=size.max(),
        once_rows=row.filter(size == 1).bottom_k(SHOWN_ROWS).implode(), row=row.filter(size == size.max()).min(),
        **_shapes("user_id"),
    ).collect(engine="streaming").row(0, named=True)  # fmt: skip
    users, events, once, largest = (found[key] for key in ("users", "events", "once", "largest"))
    if once:
        statement = f"{_of(once, users)} users have one event only: nothing can be learnt from their history"
        yield _finding("single_event_users", "info", "user_id", statement, once, users, found["once_rows"])
    severity = "warning" if users > 1 and largest > _LARGE_USER * events else "info"
    statement = f"the largest of {users:,} users has {_of(largest, events)} events"
    told = f"{statement}: a person, or an id that stands for 'not known'?" if severity == "warning" else statement
    yield _finding("largest_user", severity, "user_id", told, largest, events, [found["row"]])
    yield from _collapsed("user_id", found)


def _identifiers(accepted: pl.LazyFrame, column: str) -> Iterator[Finding]:
    filled = accepted.filter(pl.col(column).is_not_null())
    per_id = filled.group_by(column).agg(row=pl.col("source_row").min())
    yield from _collapsed(column, per_id.select(**_shapes(column)).collect(engine="streaming").row(0, named=True))


_SHAPES: dict[str, tuple[Callable[[pl.Expr], pl.Expr], str]] = {
    "decimal": (
        lambda id_: id_.str.contains(r"^\d+\.0$"),
        "end in '.0', as a whole number does once it was read as a float; see written_as in ledger.schema",
    ),
    "rounded": (
        lambda id_: id_.str.contains(r"^\d{15}0+$"),
        "have 16 digits or more of which only the first 15 are not 0, as a spreadsheet leaves a card number: "
        "different ids may have become one",
    ),
    "placeholder": (
        lambda id_: id_.str.to_lowercase().is_in(_PLACEHOLDERS),
        "are words for 'not known': unrelated events become one history. Name them in ledger.schema.missing",
    ),
}


def _shapes(column: str) -> dict[str, pl.Expr]:
    """Of a table of ids: how many there are, and how many look as if something had happened to them."""
    id_, row = pl.col(column), pl.col("row")
    folded = id_.str.to_lowercase().str.strip_chars_start("0")
    counts = {"ids": pl.len(), "folded": folded.n_unique(), "long": id_.str.contains(r"^\d{16,}$").sum()}
    for name, (has_shape, _) in _SHAPES.items():
        rows = row.filter(has_shape(id_)).bottom_k(SHOWN_ROWS)
        counts |= {name: has_shape(id_).sum(), f"{name}_rows": rows.implode()}
    return counts


def _collapsed(column: str, found: Mapping[str, Any]) -> Iterator[Finding]:
    for name, (_, told) in _SHAPES.items():
        # One long number in ten ends in 0 by chance.
        if found[name] and not (name == "rounded" and found[name] < max(0.5 * found["long"], 3)):
            statement = f"{_of(found[name], found['ids'])} values of {column} {told}"
            rows = sorted(found[f"{name}_rows"])
            yield _finding("collapsed_ids", "warning", column, statement, found[name], found["ids"], rows)
    alike = found["ids"] - found["folded"]
    if alike:
        statement = (
            f"{_of(alike, found['ids'])} values of {column} differ from another one only in leading zeros or in "
            "capitals: one account written in two ways has two histories"
        )
        yield _finding("collapsed_ids", "warning", column, statement, alike, found["ids"])


def _of(number: int, total: int) -> str:
    share = number / total if total else 0.0
    return f"{number:,} of {total:,} ({f'{share:.2%}' if share >= 0.0001 or not number else 'below 0.01%'})"


def _duration(us: int) -> str:
    units = (("days", DAY_US), ("hours", DAY_US // 24), ("minutes", 60_000_000), ("seconds", 1_000_000))
    name, unit = next(((name, unit) for name, unit in units if us >= unit), ("seconds", 1_000_000))
    return f"{us / unit:,.1f} {name}"
