"""The rule "nothing from the future", and ledgers that lack something. Values: tests/promises/p21_*."""

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.features.config import FeatureConfig
from panther_pipeline.features.point_in_time import compute_features

from .conftest import make_ledger

CONFIG = FeatureConfig(
    windows_days=[1, 7], risk_windows_days=[2, 30], novelty=None, time_zone="UTC", night_start_hour=22, night_end_hour=6
)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), at=st.integers(0, 59), harm=st.sampled_from(["delete", "change", "relabel"]))
def test_features_before_ignore_what_comes_later(seed, at, harm):
    events = make_ledger(seed)
    instant = events["event_time"][at]
    before = pl.col("event_time") < instant
    if harm == "delete":
        mutated = events.filter(before)
    elif harm == "change":
        mutated = events.with_columns(
            amount_cents=pl.when(before).then("amount_cents").otherwise(987_654_321),
            user_id=pl.when(before).then("user_id").otherwise(pl.lit("u1")),
            counterparty=pl.when(before).then("counterparty").otherwise(pl.lit("m1")),
            label=pl.when(before).then("label").otherwise(pl.lit(1, pl.Int8)),
        )
    else:  # labels that are not yet known at the instant, of earlier events too
        mutated = events.with_columns(
            label=pl.when(pl.col("label_time") < instant).then("label").otherwise(1 - pl.col("label"))
        )
    ids = events.filter(before)["event_id"]
    old, new = (compute_features(e, CONFIG).filter(pl.col("event_id").is_in(ids.implode())) for e in (events, mutated))
    assert old.equals(new)


def test_features_of_event_ignore_its_own_label_and_ties():
    events = make_ledger(1)
    twin = events[[10]].with_columns(
        event_id=pl.lit("twin"), amount_cents=pl.lit(4_000_000, pl.Int64), label=pl.lit(1, pl.Int8)
    )
    with_twin = compute_features(pl.concat([events, twin]), CONFIG)
    alone = compute_features(events, CONFIG)
    assert with_twin.row(10) == alone.row(10)


def test_spread_of_amounts_beyond_the_exact_squares_is_not_made_up():
    events = make_ledger(6).with_columns(amount_cents=5_000_000_000 + pl.int_range(pl.len()) * 100)
    features = compute_features(events, CONFIG)
    assert features["user_amount_z_ever"].abs().max() == 0
    assert features["user_mean_ever"].max() > 4e7


def test_novelty_is_of_the_named_attributes():
    events = make_ledger(6)
    columns = compute_features(events, CONFIG.model_copy(update={"novelty": []})).columns
    assert "is_new_counterparty" in columns
    assert "is_new_channel" not in columns
    assert "is_new_channel" in compute_features(events, CONFIG).columns


def test_novelty_of_an_unknown_attribute_is_refused():
    with pytest.raises(ConfigurationError, match=r"novelty names city.*It has channel; null takes them all"):
        compute_features(make_ledger(6), CONFIG.model_copy(update={"novelty": ["city", "channel"]}))


def test_features_do_not_depend_on_row_order():
    events = make_ledger(2)
    shuffled = events.sample(fraction=1.0, shuffle=True, seed=0)
    a, b = (compute_features(e, CONFIG).sort("event_id") for e in (events, shuffled))
    assert a.equals(b)


def test_features_survive_ledger_without_amounts_counterparties_labels():
    events = make_ledger(3).with_columns(
        amount_cents=pl.lit(None, pl.Int64), counterparty=pl.lit(None, pl.String),
        label=pl.lit(None, pl.Int8), label_time=pl.lit(None, pl.Datetime("us", "UTC")),
    )  # fmt: skip
    bare, full = compute_features(events, CONFIG), compute_features(make_ledger(3), CONFIG)
    assert bare.columns == full.columns
    assert bare.select(pl.all().exclude("event_id").is_finite().all()).row(0) == (True,) * (bare.width - 1)
    assert bare["counterparty_known_frauds_30d"].sum() == 0
    assert bare["user_count_7d"].equals(full["user_count_7d"])


def test_features_of_empty_ledger_keep_their_columns():
    empty = compute_features(make_ledger(0)[:0], CONFIG)
    assert empty.height == 0
    assert empty.columns == compute_features(make_ledger(0), CONFIG).columns
    assert set(empty.dtypes[1:]) == {pl.Float32}


def test_label_known_before_its_event_counts_from_the_event():
    events = make_ledger(4).with_columns(label_time=pl.col("event_time") - timedelta(days=5))
    honest = events.with_columns(label_time=pl.col("event_time"))
    assert compute_features(events, CONFIG).equals(compute_features(honest, CONFIG))


def test_night_is_meant_in_the_configured_zone():
    events = make_ledger(5)
    tokyo = CONFIG.model_copy(update={"time_zone": "Asia/Tokyo"})
    hours = events["event_time"].dt.convert_time_zone("Asia/Tokyo").dt.hour()
    expected = ((hours >= 22) | (hours < 6)).cast(pl.Float32).alias("is_night")
    assert compute_features(events, tokyo)["is_night"].equals(expected)


def test_window_longer_than_the_history_sees_all_of_it():
    features = compute_features(make_ledger(3), CONFIG.model_copy(update={"windows_days": [3650]}))
    ever = [name for name in features.columns if name.endswith("_ever")]
    assert len(ever) >= 18
    for name in ever:
        assert features[name].equals(features[name.replace("_ever", "_3650d")]), name


def test_counterparty_never_seen_is_new_and_without_a_past():
    events = make_ledger(4)
    stranger = events[[30]].with_columns(event_id=pl.lit("stranger"), counterparty=pl.lit("never seen"))
    features = compute_features(pl.concat([events, stranger]), CONFIG).row(-1, named=True)
    assert features["is_new_counterparty"] == 1
    assert features["counterparty_log_s_since_last"] == features["pair_log_s_since_last"] == -1
    assert features["counterparty_log_s_since_known_fraud"] == -1
    past = [name for name in features if name.startswith("counterparty_") and not name.startswith("counterparty_log_s")]
    assert past
    assert {features[name] for name in past} == {0}
    assert features["user_count_ever"] > 0


def test_user_with_one_event_has_nothing_to_deviate_from():
    events = make_ledger(5)
    single = events[[30]].with_columns(event_id=pl.lit("single"), user_id=pl.lit("newcomer"))
    features = compute_features(pl.concat([events, single]), CONFIG).row(-1, named=True)
    past = [name for name in features if name.startswith("user_") and not name.startswith("user_log_s")]
    assert past
    assert {features[name] for name in past} == {0}
    assert features["user_log_s_since_last"] == -1
