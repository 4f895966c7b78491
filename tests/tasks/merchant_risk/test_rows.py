"""A row per counterparty and instant, its label from the horizon, its features from before the instant alone."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from panther_pipeline.tasks.merchant_risk import features
from panther_pipeline.tasks.merchant_risk import rows as merchant_rows
from panther_pipeline.tasks.merchant_risk.rows import ROW_SCHEMA, tabulate_rows

NUM_TRIALS = 9


def test_rows_are_all_counterparties_seen_before_and_labels_the_horizon(ledger, config, rows):
    events = ledger[0].filter(pl.col("counterparty").is_not_null())
    horizon = timedelta(days=config.horizon_days)
    for (as_of,), table in rows.group_by("as_of"):
        seen = events.filter(pl.col("event_time") < as_of)["counterparty"].unique().sort()
        ahead = events.filter(pl.col("event_time").is_between(as_of, as_of + horizon, "left"))
        struck = set(ahead.filter(label=1)["counterparty"])
        assert table["counterparty"].to_list() == seen.to_list()
        assert set(table.filter(label=1)["counterparty"]) == struck & set(seen)
    assert rows.equals(rows.sort("as_of", "counterparty"))
    assert set(rows["part"]) == {"fit", "calibration", "test"}


def test_counterparty_never_seen_has_no_row_until_the_instant_after(ledger, config, splits, caplog):
    events, deviations = ledger
    new = pl.col("event_time").is_between(
        pl.datetime(2024, 3, 6, time_zone="UTC"), pl.datetime(2024, 3, 8, time_zone="UTC")
    )
    name = pl.when(new & (pl.col("label") == 1)).then(pl.lit("new")).otherwise("counterparty")
    with caplog.at_level("INFO"):
        table = tabulate_rows(events.with_columns(counterparty=name), deviations, config, splits)
    instants = table["as_of"].unique()
    first = events.filter(new & (pl.col("label") == 1))["event_time"].min()
    assert table.filter(counterparty="new")["as_of"].min() == instants.filter(instants > first).min()
    assert "had no earlier event and no row" in caplog.text


def test_counterparty_with_an_unlabelled_horizon_has_no_row_unless_struck(ledger, config, splits, rows):
    events, deviations = ledger
    as_of = rows.filter(part="test")["as_of"].min()
    ahead = pl.col("event_time").is_between(as_of, as_of + timedelta(days=config.horizon_days), "left")
    here = rows.filter(as_of=as_of)
    chosen = pl.concat([here.filter(label=label)["counterparty"].head(3) for label in (0, 1)])
    silent = ahead & (pl.col("label") == 0) & pl.col("counterparty").is_in(chosen.implode())
    unknown = events.with_columns(label=pl.when(~silent).then("label"))
    table = tabulate_rows(unknown, deviations, config, splits).filter(as_of=as_of)
    gone = set(events.filter(silent)["counterparty"]) - set(here.filter(label=1)["counterparty"])
    assert gone
    assert set(here["counterparty"]) - set(table["counterparty"]) == gone
    assert table.filter(label=1)["counterparty"].equals(here.filter(label=1)["counterparty"])


def test_row_order_of_the_ledger_does_not_matter(ledger, config, splits, rows):
    order = np.random.default_rng(0).permutation(ledger[0].height)
    assert tabulate_rows(*(table[order] for table in ledger), config, splits).equals(rows)


def mutate(events: pl.DataFrame, deviations: pl.DataFrame, t, how: str, seed: int):
    """The ledger with another future from `t` on: other events, other deviations, other labels not yet known."""
    rng = np.random.default_rng(seed)
    unknown = (pl.col("label_time") >= t) & pl.lit(rng.random(events.height) < 0.5)
    events = events.with_columns(label=pl.when(unknown).then(1 - pl.col("label")).otherwise("label"))
    table = events.hstack(deviations)
    future = pl.col("event_time") >= t
    if how == "delete":
        # The last instant stays, so that the grid does.
        table = table.filter(~future | (pl.col("event_time") == pl.col("event_time").max()))
    elif how == "alter":
        values = {"surprise_z": 50.0, "distance_z": -9.0, "amount_cents": 1, "counterparty": "m01", "user_id": "new"}
        table = table.with_columns(pl.when(future).then(pl.lit(v)).otherwise(n).alias(n) for n, v in values.items())
        table = table.cast({"surprise_z": pl.Float32, "distance_z": pl.Float32})
    else:
        copies = table.filter(future).with_columns(
            event_id=pl.col("event_id") + "-copy", surprise_z=pl.lit(9, pl.Float32)
        )
        table = pl.concat([copies, table, copies])
    return table.drop("surprise_z", "distance_z"), table.select("surprise_z", "distance_z")


def features_until(table: pl.DataFrame, other: pl.DataFrame, t) -> pl.DataFrame:
    """Without what is known later: labels, and which instants are there, since the grid waits for labels."""
    is_in_both = pl.col("as_of").is_in(other["as_of"].implode())
    return table.filter((pl.col("as_of") <= t) & is_in_both).drop("part", "label")


def moved(ledger, config, splits, rows, trial: int) -> bool:
    """Whether another future from an as-of instant on moves a feature at that instant or before it."""
    instants = rows["as_of"].unique().sort()
    t, how = instants[int(np.random.default_rng(trial).integers(len(instants)))], ("delete", "alter", "add")[trial % 3]
    changed = tabulate_rows(*mutate(*ledger, t, how, trial), config, splits)
    before, after = features_until(rows, changed, t), features_until(changed, rows, t)
    assert before["as_of"].max() == t
    return not before.equals(after)


@pytest.fixture(scope="module")
def narrow(config):
    """One window is enough to see a leak."""
    return config.model_copy(update={"windows_days": [6]})


def test_future_changes_no_feature_known_before_it(ledger, narrow, splits):
    rows = tabulate_rows(*ledger, narrow, splits)
    assert [trial for trial in range(NUM_TRIALS) if moved(ledger, narrow, splits, rows, trial)] == []


@pytest.mark.parametrize("sabotage", ["events at the instant", "labels when they happen"])
def test_guard_notices_a_leak(ledger, narrow, splits, monkeypatch, sabotage):
    if sabotage.startswith("events"):
        honest = features.Past.slice_events
        monkeypatch.setattr(features.Past, "slice_events", lambda self, start, end: honest(self, start, end + 1))
    else:
        collect = merchant_rows._collect_facts
        at_once = pl.col("event_time").alias("label_time")
        monkeypatch.setattr(merchant_rows, "_collect_facts", lambda events, z: collect(events.with_columns(at_once), z))
    leaky = tabulate_rows(*ledger, narrow, splits)
    assert any(moved(ledger, narrow, splits, leaky, trial) for trial in range(6))


def test_label_known_before_its_event_counts_from_the_event(ledger, config, splits):
    events, deviations = ledger
    early, honest = (
        tabulate_rows(events.with_columns(label_time=time), deviations, config, splits)
        for time in (pl.col("event_time") - timedelta(days=5), pl.col("event_time"))
    )
    assert early.equals(honest)


@pytest.mark.parametrize(
    ("column", "kind", "reason"),
    [("counterparty", pl.String, "no counterparties"), ("label", pl.Int8, "no labels"),
     ("label_time", pl.Datetime("us", "UTC"), "no labels")],
)  # fmt: skip
def test_ledger_without_what_is_needed_gives_no_rows_and_says_why(ledger, config, splits, caplog, column, kind, reason):
    bare = ledger[0].with_columns(pl.lit(None, kind).alias(column))
    table = tabulate_rows(bare, ledger[1], config, splits)
    assert table.is_empty()
    assert dict(table.schema) == ROW_SCHEMA
    assert reason in caplog.text


def test_ledger_split_by_order_gives_no_rows_and_says_why(ledger, config, splits, caplog):
    order = splits.model_copy(update={"protocol": "leave_last_out", "train_end": None, "valid_end": None})
    assert tabulate_rows(*ledger, config, order).is_empty()
    assert "needs protocol: time" in caplog.text


def test_history_shorter_than_everything_gives_no_rows(ledger, config, splits, caplog):
    long = config.model_copy(update={"windows_days": [200], "horizon_days": 100})
    assert tabulate_rows(*ledger, long, splits).is_empty()
    assert "nothing is judged" in caplog.text


def test_rows_before_train_end_are_said_to_be_trained_on(ledger, config, splits, caplog):
    with caplog.at_level("INFO"):
        tabulate_rows(*ledger, config, splits)
    assert "fit instants look back on events before train_end" in caplog.text
