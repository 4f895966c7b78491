"""Aggregates equal a loop over the definitions, and end where the date begins."""

import logging
import math
from datetime import timedelta
from statistics import fmean, pstdev

import polars as pl
import pytest
from pydantic import ValidationError

from panther_pipeline.tasks.user_label.aggregates import HistoryConfig, aggregate_histories

from .conftest import START, draw_events

CONFIG = HistoryConfig(windows_days=[7, 30], max_values=2, use_profiles=True)
LABELS = [("u0", 50, 1), ("u0", 120, 0), ("u1", 90, 0), ("u2", 199, 1), ("u3", 0, 0), ("u5", 60, 0)]
PROFILES = pl.DataFrame(
    {
        "user_id": ["u0", "u1", "u2", "u3"],
        "region": ["north", "south", "north", "west"],
        "age": [30.0, None, 51.5, 20.0],
    }
)


def signed_log(x: float) -> float:
    return math.copysign(math.log1p(abs(x)), x)


def look_back(past: list[dict], as_of) -> dict[str, float | None]:
    """The aggregates of one label, written from their definitions."""

    def within(days, behind=0):
        far, near = as_of - timedelta(days=days + behind), as_of - timedelta(days=behind)
        return [e for e in past if far <= e["event_time"] and (behind == 0 or e["event_time"] < near)]

    def flows(events):
        cents = [e["amount_cents"] for e in events]
        return sum(c for c in cents if c > 0) / 100, sum(-c for c in cents if c < 0) / 100

    row = {"has_history": float(bool(past))}
    cents = [e["amount_cents"] for e in past]
    ages = [(as_of - e["event_time"]) / timedelta(days=1) for e in past]
    row["tenure_days"], row["days_since_last"] = (max(ages), min(ages)) if past else (None, None)
    row["log_sum_net"] = signed_log(sum(cents) / 100)
    row["log_lowest_net"] = signed_log(min(sum(cents[: i + 1]) for i in range(len(cents))) / 100) if past else None
    for window, events in {"7d": within(7), "30d": within(30), "ever": past}.items():
        sizes, (money_in, money_out) = [abs(e["amount_cents"]) / 100 for e in events], flows(events)
        amounts = [e["amount_cents"] / 100 for e in events]
        row[f"num_events_{window}"] = len(events)
        row[f"num_counterparties_{window}"] = len({e["counterparty"] for e in events} - {None})
        row[f"log_sum_in_{window}"], row[f"log_sum_out_{window}"] = math.log1p(money_in), math.log1p(money_out)
        row[f"net_share_{window}"] = (money_in - money_out) / (money_in + money_out) if events else None
        row[f"log_mean_size_{window}"] = math.log1p(fmean(sizes)) if events else None
        row[f"log_std_size_{window}"] = math.log1p(pstdev(sizes)) if events else None
        row[f"log_min_{window}"] = signed_log(min(amounts)) if events else None
        row[f"log_max_{window}"] = signed_log(max(amounts)) if events else None
    for days in (7, 30):
        recent, before = within(days), within(days, behind=days)
        row[f"trend_events_{days}d"] = math.log1p(len(recent)) - math.log1p(len(before))
        for name, now, then in zip(("in", "out"), flows(recent), flows(before), strict=True):
            row[f"trend_{name}_{days}d"] = math.log1p(now) - math.log1p(then)
    for value in ("card", "cash"):
        row[f"share_channel={value}"] = fmean(e["channel"] == value for e in past) if past else None
    numbers = [e["balance"] for e in past if e["balance"] is not None]
    described = (fmean(numbers), pstdev(numbers), min(numbers), numbers[-1]) if numbers else [None] * 4
    return row | {f"number_balance_{k}": v for k, v in zip(("mean", "std", "min", "last"), described, strict=True)}


@pytest.fixture
def features(events, label_table):
    return aggregate_histories(events.lazy(), label_table(LABELS), PROFILES, CONFIG)


def test_aggregates_equal_a_loop_over_the_definitions(events, features, label_table):
    own = [name for name in features.columns[3:] if not name.startswith("profile_")]
    for row in features.iter_rows(named=True):
        past = [
            e for e in events.iter_rows(named=True) if e["user_id"] == row["user_id"] and e["event_time"] < row["as_of"]
        ]
        expected = look_back(past, row["as_of"])
        assert sorted(own) == sorted(expected)
        for name, value in expected.items():
            assert row[name] == (None if value is None else pytest.approx(value, rel=1e-5, abs=1e-5)), name


def test_window_holds_its_first_instant_and_not_the_date(events, label_table):
    as_of = events.filter(user_id="u1", event_seq=10)["event_time"][0]
    times = events.filter(user_id="u1")["event_time"]
    label = label_table([("u1", 0, 0)])
    at_event = label.with_columns(as_of=pl.lit(as_of))
    without = aggregate_histories(events.filter(pl.col("event_time") < as_of).lazy(), at_event, PROFILES, CONFIG)
    assert without["num_events_ever"][0] == (times < as_of).sum()
    assert aggregate_histories(events.lazy(), at_event, PROFILES, CONFIG).equals(without)
    week_later = label.with_columns(as_of=pl.lit(as_of + timedelta(days=7)))
    later = aggregate_histories(events.lazy(), week_later, PROFILES, CONFIG)
    assert later["num_events_7d"][0] == ((times >= as_of) & (times < as_of + timedelta(days=7))).sum()


def test_future_never_changes_an_aggregate(events, features, label_table):
    labels = label_table(LABELS)
    last = labels.group_by("user_id").agg(end=pl.col("as_of").max())
    # u4 has no label: none of its events is read.
    is_future = pl.col("event_time") >= pl.col("end").fill_null(events["event_time"].min())
    known = events.join(last, on="user_id", how="left", maintain_order="left")
    changed = known.with_columns(
        pl.when(is_future).then(pl.lit(value)).otherwise(name).alias(name)
        for name, value in {"amount_cents": 99_999, "channel": "f", "counterparty": "f", "balance": -1e9}.items()
    )
    assert not changed.equals(known)
    assert aggregate_histories(changed.drop("end").lazy(), labels, PROFILES, CONFIG).equals(features)
    # Without their future some users have no event at all: then they are strangers.
    past = known.filter(~is_future).drop("end")
    shorter = aggregate_histories(past.lazy(), labels, PROFILES, CONFIG)
    assert shorter.equals(features.filter(pl.col("has_history") == 1))


def test_label_before_the_first_event_has_a_flag_and_no_past(features):
    row = features.row(by_predicate=pl.col("user_id") == "u3", named=True)
    assert (row["has_history"], row["num_events_ever"], row["log_sum_in_30d"], row["trend_out_7d"]) == (0, 0, 0, 0)
    assert row["tenure_days"] is None
    assert row["log_mean_size_ever"] is None


def test_window_longer_than_the_history_holds_all_of_it(events, label_table):
    config = HistoryConfig(windows_days=[3650], max_values=2, use_profiles=False)
    found = aggregate_histories(events.lazy(), label_table(LABELS), PROFILES, config)
    for name in ("num_events", "log_sum_in", "log_sum_out", "log_std_size", "net_share"):
        assert found[f"{name}_3650d"].equals(found[f"{name}_ever"], check_names=False)
    assert found["tenure_days"].max() < 3650


def test_labels_of_strangers_are_left_out_with_a_warning(events, label_table, caplog):
    with caplog.at_level(logging.WARNING):
        found = aggregate_histories(events.lazy(), label_table([*LABELS, ("nobody", 50, 1)]), PROFILES, CONFIG)
    assert found.height == len(LABELS)
    assert "1 of 7 user labels belong to users without any event" in caplog.text


def test_profile_is_a_feature_where_there_is_one(events, features, label_table):
    columns = ["profile_age", "profile_region=north", "profile_region=south"]
    assert [name for name in features.columns if name.startswith("profile_")] == columns
    rows = {row["user_id"]: [row[name] for name in columns] for row in features.iter_rows(named=True)}
    assert rows == {"u0": [30, 1, 0], "u1": [None, 0, 1], "u2": [51.5, 1, 0], "u3": [20, 0, 0], "u5": [None, 0, 0]}
    without = HistoryConfig(windows_days=[7, 30], max_values=2, use_profiles=False)
    bare = aggregate_histories(events.lazy(), label_table(LABELS), PROFILES, without)
    assert bare.columns == features.columns[:-3]
    nobody = pl.DataFrame(schema={"user_id": pl.String})
    assert aggregate_histories(events.lazy(), label_table(LABELS), nobody, CONFIG).equals(bare)


def test_ledger_without_labels_or_amounts_runs_through(events, label_table):
    assert aggregate_histories(events.lazy(), label_table([]), PROFILES, CONFIG).is_empty()
    bare = events.with_columns(amount_cents=pl.lit(None, pl.Int64), counterparty=pl.lit(None, pl.String))
    found = aggregate_histories(bare.lazy(), label_table(LABELS), PROFILES, CONFIG)
    assert found["num_events_ever"].sum() > 0
    assert found["net_share_ever"].null_count() == found.height
    assert found["num_counterparties_ever"].sum() == found["log_sum_out_ever"].sum() == 0


@pytest.mark.parametrize("days", [[], [0], [30, 7], [7, 7]])
def test_windows_that_make_no_sense_are_refused(days):
    with pytest.raises(ValidationError, match="windows_days"):
        HistoryConfig(windows_days=days, max_values=2, use_profiles=False)


def test_values_that_get_a_column_are_those_before_the_labels_to_be_fitted_on(label_table):
    events = draw_events().with_columns(
        channel=pl.when(pl.col("event_time") < START + timedelta(days=60)).then(pl.lit("old")).otherwise(pl.lit("new"))
    )
    labels = label_table([("u0", 50, 0), ("u1", 55, 1), ("u2", 150, 0)])
    border = (START + timedelta(days=60)).isoformat()
    by_time = aggregate_histories(events.lazy(), labels, PROFILES, CONFIG, border)
    assert "share_channel=old" in by_time.columns
    assert "share_channel=new" not in by_time.columns
    assert "share_channel=new" in aggregate_histories(events.lazy(), labels, PROFILES, CONFIG).columns
