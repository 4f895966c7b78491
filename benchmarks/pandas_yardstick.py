"""The same tokenization in plain pandas, as a data scientist would write it for one ledger in memory: the yardstick.

    python benchmarks/pandas_yardstick.py handbook|large FILE FOLDER

FILE is CSV or Parquet, the tokens go to FOLDER as Parquet. Prints rows, seconds (imports excluded) and peak memory as
one JSON line. tests/benchmarks/test_yardstick.py shows that it accepts the same rows and gives each the same tuple of
bins as the project's tokenizer, and the same tokens wherever that keeps the whole tuple. What it leaves out: reasons
and reports for the rows it drops, Great Expectations, exact decimal arithmetic, an order for a user's events at the
same second (14 of the Handbook's rows change places), and back-off: a rare tuple is [UNK] at once.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd

from common import peak_gb
from ledgers import LEDGERS, source_columns
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.tokenizer.config import SEPARATOR, FieldConfig, VocabularyConfig
from panther_pipeline.tokenizer.labels import OTHER_LABEL, bin_labels

UNK_ID, FIRST_TOKEN = 1, 2
MISSING = "(missing)"
UNIT = {"amount": 100, "gap": 1_000_000}  # configured in units of the currency and seconds; cents and µs in the table


def tokenize_with_pandas(
    path: Path, schema: LedgerSchema, config: VocabularyConfig, splits: SplitConfig, out: Path
) -> int:
    """Read a ledger, clean it, fit bins and vocabulary on the training events, encode all events and write them.

    Writes events.parquet (token_id, time, split and each field's bin), users.parquet (user_id, offset of the first
    event) and vocabulary.parquet (token_id, token, count).

    Returns:
        The number of events accepted.
    """
    events = clean_events(read_rows(path, schema), schema)
    bounds = pd.to_datetime([splits.train_end, splits.valid_end], utc=True)
    events["split"] = np.searchsorted(bounds.as_unit("us").asi8, events["time"].astype("int64"), side="right")
    is_train = events["split"] == 0
    bins = {field.name: bin_field(events, is_train, field, config) for field in config.fields}
    tokens = join_labels(bins)
    vocabulary = tokens[is_train].value_counts()
    vocabulary = vocabulary[vocabulary >= config.min_count]
    if config.max_tokens is not None:
        vocabulary = vocabulary.head(config.max_tokens - FIRST_TOKEN)
    ids = pd.Series(np.arange(FIRST_TOKEN, FIRST_TOKEN + len(vocabulary)), index=vocabulary.index)
    events["token_id"] = tokens.map(ids).fillna(UNK_ID).astype("int32")
    write_tokens(events, bins, vocabulary, ids, out)
    return len(events)


def read_rows(path: Path, schema: LedgerSchema) -> pd.DataFrame:
    """The columns that the schema names; ids keep their leading zeros, and broken cells do not stop the reader."""
    columns = source_columns(schema)
    if path.suffix == ".csv":
        rows = pd.read_csv(path, usecols=columns, dtype=str, keep_default_na=False, na_values=[""])
    else:
        rows = pd.read_parquet(path, columns=columns)
        ids = [id_.columns[0] for id_ in (schema.user_id, schema.event_id, schema.counterparty) if id_]
        for column in ids:
            rows[column] = rows[column].astype(str)
            rows.loc[rows[column] == "", column] = np.nan
    return rows


def clean_events(rows: pd.DataFrame, schema: LedgerSchema) -> pd.DataFrame:
    """Typed events without the rows that cannot be used, sorted by user and time, with position and gap."""
    time_column, label = schema.event_time, schema.label
    events = pd.DataFrame({"user_id": rows[schema.user_id.columns[0]], "event_id": rows[schema.event_id.columns[0]]})
    times = pd.to_datetime(rows[time_column.columns[0]], format=time_column.format, errors="coerce", utc=True)
    events["time"] = times.dt.as_unit("us")
    good = events.notna().all(axis=1) & (events["time"] >= time_column.earliest_instant)
    good &= events["time"] < time_column.end_instant
    if schema.amount:
        amount = pd.to_numeric(rows[schema.amount.column], errors="coerce")
        good &= amount.between(*schema.amount_range)
        events["amount"] = (amount.where(good, 0) * 100).round().astype("int64")
    if label:
        values = rows[label.column].astype(str)
        events["label"] = values.isin(label.positive).astype("int8")
        good &= values.isin([*label.positive, *label.negative]) | rows[label.column].isna()
    if schema.counterparty:
        events["counterparty"] = rows[schema.counterparty.columns[0]].astype("category")
    for attribute in schema.attributes:
        column = rows[attribute.column]
        is_category = attribute.kind == "category"
        events[attribute.name] = column.fillna(MISSING).astype("category") if is_category else pd.to_numeric(column)
    events = events[good].drop_duplicates("event_id").drop(columns="event_id")
    events = events.sort_values(["user_id", "time"], kind="stable", ignore_index=True)
    by_user = events.groupby("user_id", sort=False)
    events["position"] = by_user.cumcount()
    events["gap"] = by_user["time"].diff() // pd.Timedelta(microseconds=1)
    events["gap"] = events["gap"].fillna(-1).astype("int64")
    return events


def bin_field(events: pd.DataFrame, is_train: pd.Series, field: FieldConfig, config: VocabularyConfig) -> pd.Series:
    """The label of each event's bin or category, as a categorical column fitted on the training events."""
    if field.kind == "categorical":
        values = events["counterparty" if field.source == "counterparty" else field.column or field.name]
        counts = values[is_train].value_counts()
        kept = counts[counts >= config.min_count].head(field.max_categories).index
        return values.cat.set_categories([OTHER_LABEL, *kept]).fillna(OTHER_LABEL)
    values = read_values(events, field, config.zone)
    edges = fit_edges(values[is_train], field)
    return pd.cut(values, [-np.inf, *edges, np.inf], right=False, labels=bin_labels(field.source, edges))


def read_values(events: pd.DataFrame, field: FieldConfig, zone: str) -> pd.Series:
    """The numbers that a field bins."""
    if field.source == "hour":
        return events["time"].dt.tz_convert(zone).dt.hour
    if field.source == "weekday":
        return events["time"].dt.tz_convert(zone).dt.day_of_week
    return events[field.column or field.name if field.source == "number" else field.source]


def fit_edges(train: pd.Series, field: FieldConfig) -> list:
    """Inner edges of the bins: as configured, at quantiles, or evenly spaced on a logarithmic scale."""
    if field.source == "gap":
        train = train[train >= 0]
    train = train.dropna()
    if field.kind == "fixed":
        edges = [edge * UNIT.get(field.source, 1) for edge in field.edges]
    elif field.kind == "log":
        low, high = train[train > 0].quantile([0.01, 0.99], interpolation="nearest")
        edges = np.geomspace(low, high, field.num_bins - 1).tolist()
    else:
        edges = quantile_edges(train, field.num_bins)
    if field.source != "number":
        edges = [round(edge) for edge in edges]
    if field.significant_digits is not None:
        edges = [round_to_digits(edge, field.significant_digits) for edge in edges]
    if field.kind != "fixed":
        edges = [edge for edge in edges if edge > train.min()]
    # The first event of a user has the gap -1 and a bin of its own.
    return sorted({*edges, 0}) if field.source == "gap" else sorted(set(edges))


def quantile_edges(train: pd.Series, num_bins: int) -> list:
    """Quantiles of money in and money out each by itself, with zero between them, so that no bin holds both."""
    is_negative = train < 0
    if is_negative.all() or not is_negative.any():
        return observed_quantiles(train, num_bins)
    num_negative = min(max(1, round(num_bins * is_negative.mean())), num_bins - 1)
    negative = observed_quantiles(train[is_negative], num_negative)
    return [*negative, 0, *observed_quantiles(train[~is_negative], num_bins - num_negative)]


def observed_quantiles(train: pd.Series, num_bins: int) -> list:
    """Values of the data at 1/num_bins, 2/num_bins, ... of the way up: what lies at an edge belongs above it."""
    ordered = np.sort(train)
    return ordered[np.arange(1, num_bins) * len(ordered) // num_bins].tolist()


def round_to_digits(value: float, digits: int) -> float:
    """12345 with two digits is 12000; halves go up."""
    if isinstance(value, float):
        return float(f"{value:.{digits - 1}e}")
    unit = 10 ** max(0, len(str(abs(value))) - digits)
    return (value + unit // 2) // unit * unit


def join_labels(bins: dict[str, pd.Series]) -> pd.Series:
    """The readable token of each event: groceries|card|20-35."""
    labels = [column.astype(str) for column in bins.values()]
    tokens = labels[0]
    for column in labels[1:]:
        tokens = tokens + SEPARATOR + column
    return tokens


def write_tokens(
    events: pd.DataFrame, bins: dict[str, pd.Series], vocabulary: pd.Series, ids: pd.Series, out: Path
) -> None:
    """Flat tokens of all users, where each user's begin, and what the ids mean."""
    out.mkdir(parents=True, exist_ok=True)
    table = events[["token_id", "time", "split"]].assign(**{name: column.cat.codes for name, column in bins.items()})
    table.to_parquet(out / "events.parquet", index=False)
    first = events.index[events["position"] == 0]
    users = pd.DataFrame({"user_id": events.loc[first, "user_id"], "offset": first})
    users.to_parquet(out / "users.parquet", index=False)
    names = pd.DataFrame({"token_id": ids.to_numpy(), "token": ids.index, "count": vocabulary.to_numpy()})
    names.to_parquet(out / "vocabulary.parquet", index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ledger", choices=sorted(LEDGERS))
    parser.add_argument("file", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    blocks = LEDGERS[args.ledger].blocks()
    imports_gb, start = peak_gb(), time.perf_counter()
    rows = tokenize_with_pandas(args.file, *blocks, args.out)
    seconds = time.perf_counter() - start
    print(json.dumps({"accepted": rows, "total_s": round(seconds, 3), "peak_gb": peak_gb(), "imports_gb": imports_gb}))


if __name__ == "__main__":
    main()
