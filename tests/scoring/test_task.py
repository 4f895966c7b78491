"""Which rows a head is fitted on, calibrated on and judged on."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.features.config import FeatureConfig
from panther_pipeline.features.point_in_time import compute_features
from panther_pipeline.ledger.splits import SplitConfig, is_held_out, parse_instant
from panther_pipeline.scoring.task import CALIBRATION, FIT, JUDGED, FraudTaskConfig, assemble_fraud_task

TEST_WINDOW = pl.col("event_time").is_between(parse_instant("2024-01-24"), parse_instant("2024-01-31"), "left")


def times(task, part):
    return task.events["event_time"].gather(task.rows(part))


def test_labels_of_fitted_rows_are_known_before_the_test(task, ledger):
    known = ledger["label_time"].gather(task.events["row"])
    for part in (FIT, CALIBRATION):
        assert known.gather(task.rows(part)).max() < parse_instant("2024-01-24")
        assert times(task, part).min() >= parse_instant("2024-01-03")


def test_calibration_rows_come_after_fit_rows(task):
    assert times(task, FIT).max() < times(task, CALIBRATION).min()
    share = len(task.rows(CALIBRATION)) / (len(task.rows(FIT)) + len(task.rows(CALIBRATION)))
    assert share == pytest.approx(0.25, abs=0.01)


def test_judged_rows_are_the_whole_test_window(task, ledger):
    assert set(task.events["event_id"].gather(task.rows(JUDGED))) == set(ledger.filter(TEST_WINDOW)["event_id"])


def test_label_known_at_the_border_is_not_fitted_on(ledger, features, embeddings, task_config, splits):
    at_border = ledger.with_columns(label_time=pl.lit(parse_instant("2024-01-24")).cast(pl.Datetime("us", "UTC")))
    task = assemble_fraud_task(at_border, features, embeddings, task_config, splits)
    assert len(task.rows(FIT)) + len(task.rows(CALIBRATION)) == 0


def test_inputs_belong_to_the_rows_they_stand_beside(task, ledger, embeddings):
    rows = task.events["row"].to_numpy()
    assert task.events["event_id"].to_list() == ledger["event_id"].gather(rows).to_list()
    np.testing.assert_array_equal(task.features_RF[:, 0], ledger["amount_cents"].gather(rows).to_numpy())
    np.testing.assert_array_equal(task.embeddings_RD, embeddings["embedding"].to_numpy()[rows])
    np.testing.assert_array_equal(task.surprises_RS[:, 2], embeddings["cosine"].gather(rows).to_numpy())


def test_order_of_embeddings_does_not_matter(task, ledger, features, embeddings, task_config, splits):
    shuffled = embeddings.sample(fraction=1.0, shuffle=True, seed=5)
    again = assemble_fraud_task(ledger, features, shuffled, task_config, splits)
    np.testing.assert_array_equal(again.embeddings_RD, task.embeddings_RD)


def test_missing_embeddings_are_refused_with_the_way_out(ledger, features, embeddings, task_config, splits):
    for part in (embeddings[:100], embeddings[:0]):
        with pytest.raises(ConfigurationError, match=r"embedding\.events\.since"):
            assemble_fraud_task(ledger, features, part, task_config, splits)


def test_embeddings_that_name_their_events_are_accepted(task, ledger, features, embeddings, task_config, splits):
    named = embeddings.with_columns(ledger["event_id"]).sample(fraction=1.0, shuffle=True, seed=5)
    again = assemble_fraud_task(ledger, features, named, task_config, splits)
    np.testing.assert_array_equal(again.embeddings_RD, task.embeddings_RD)


@pytest.mark.parametrize("shift", [1, 10**6])
def test_embeddings_of_another_ledger_are_refused(ledger, features, embeddings, task_config, splits, shift):
    named = embeddings.with_columns(ledger["event_id"], pl.col("row") + shift)[:-1]
    with pytest.raises(ConfigurationError, match=r"another version of valid_events\. Run the embed pipeline again"):
        assemble_fraud_task(ledger, features, named, task_config, splits)


def test_features_of_another_ledger_are_refused(ledger, features, embeddings, task_config, splits):
    with pytest.raises(ConfigurationError, match="compute_features"):
        assemble_fraud_task(ledger, features.reverse(), embeddings, task_config, splits)


def test_known_compromised_users_leave_the_test_from_the_next_day(ledger, features, embeddings, task_config, splits):
    config = task_config.model_copy(update={"blocked_since": "2024-01-03"})
    task = assemble_fraud_task(ledger, features, embeddings, config, splits)
    kept = set(task.events["event_id"].gather(task.rows(JUDGED)))
    frauds = ledger.filter((pl.col("label") == 1) & (pl.col("event_time") >= parse_instant("2024-01-03")))
    expected = set()
    for event in ledger.filter(TEST_WINDOW).to_dicts():
        day = event["event_time"].replace(hour=0, minute=0)
        known = frauds.filter((pl.col("user_id") == event["user_id"]) & (pl.col("label_time") < day))
        if known.is_empty():
            expected.add(event["event_id"])
    assert kept == expected
    assert 0 < len(kept) < ledger.filter(pl.col("event_time") >= parse_instant("2024-01-24")).height


def test_labels_of_fit_rows_are_known_before_the_calibration_rows(ledger, features, embeddings, task_config, splits):
    config = task_config.model_copy(update={"calibration_gap": True})
    task = assemble_fraud_task(ledger, features, embeddings, config, splits)
    known = ledger["label_time"].gather(task.events["row"])
    assert known.gather(task.rows(FIT)).max() < times(task, CALIBRATION).min()
    assert len(task.rows(FIT)) > 100


def test_calibration_rows_are_blocked_as_the_test_rows_are(ledger, features, embeddings, task_config, splits):
    config = task_config.model_copy(update={"blocked_since": "2024-01-10"})
    task = assemble_fraud_task(ledger, features, embeddings, config, splits)
    border = assemble_fraud_task(ledger, features, embeddings, task_config, splits)
    start = times(border, CALIBRATION).min()
    since = parse_instant("2024-01-10") - (parse_instant("2024-01-24") - start)
    frauds = ledger.filter((pl.col("label") == 1) & (pl.col("event_time") >= since))
    kept = set(task.events["event_id"].gather(task.rows(CALIBRATION)))
    expected = set()
    for event in border.events[border.rows(CALIBRATION)].to_dicts():
        day = event["event_time"].replace(hour=0, minute=0)
        if frauds.filter((pl.col("user_id") == event["user_id"]) & (pl.col("label_time") < day)).is_empty():
            expected.add(event["event_id"])
    assert kept == expected
    assert len(kept) < len(border.rows(CALIBRATION))


def test_sampling_thins_non_frauds_of_the_fit_rows_alone(task, ledger, features, embeddings, task_config, splits):
    config = task_config.model_copy(update={"negatives_per_fraud": 2})
    sampled = assemble_fraud_task(ledger, features, embeddings, config, splits)
    kept, all_rows = (t.label_R[t.rows(FIT)] for t in (sampled, task))
    assert kept.sum() == all_rows.sum() > 0
    assert (kept == 0).sum() == 2 * kept.sum()
    assert sampled.kept_share == pytest.approx((kept == 0).sum() / (all_rows == 0).sum())
    for part in (CALIBRATION, JUDGED):
        assert (
            sampled.events["event_id"]
            .gather(sampled.rows(part))
            .equals(task.events["event_id"].gather(task.rows(part)))
        )
    again = assemble_fraud_task(ledger, features, embeddings, config, splits)
    assert again.events.equals(sampled.events)


def test_sampling_keeps_all_where_there_are_too_few(task, ledger, features, embeddings, task_config, splits):
    config = task_config.model_copy(update={"negatives_per_fraud": 1000})
    assert assemble_fraud_task(ledger, features, embeddings, config, splits).events.equals(task.events)
    assert task.prior_shift == 0


def test_ledger_without_labels_gives_an_empty_task(unlabelled_task):
    assert unlabelled_task.events.is_empty()
    assert not unlabelled_task.can_be_fitted
    assert unlabelled_task.embeddings_RD.shape == (0, 4)


def test_ledger_without_labels_is_warned_about(ledger, features, embeddings, task_config, splits, caplog):
    bare = ledger.with_columns(label=pl.lit(None, pl.Int8))
    assemble_fraud_task(bare, features, embeddings, task_config, splits)
    assert "No labelled event" in caplog.text


FEATURES = FeatureConfig(
    windows_days=[1, 7], risk_windows_days=[7], novelty=None, time_zone="UTC", night_start_hour=0, night_end_hour=7
)


def test_held_out_users_are_judged_but_never_fitted_on(ledger, features, embeddings, task_config, splits):
    held_out = splits.model_copy(update={"held_out_user_share": 0.4})
    task = assemble_fraud_task(ledger, features, embeddings, task_config, held_out)
    is_out_R = np.array([is_held_out(user, 0.4) for user in task.events["user_id"]])
    assert set(task.part_R[is_out_R]) == {JUDGED}
    assert set(task.part_R[~is_out_R]) == {FIT, CALIBRATION, JUDGED}
    np.testing.assert_array_equal(task.events["cold"].to_numpy(), is_out_R)
    everyone = assemble_fraud_task(ledger, features, embeddings, task_config, splits)
    judged = [t.events["event_id"].gather(t.rows(JUDGED)).to_list() for t in (task, everyone)]
    assert judged[0] == judged[1]


def test_held_out_users_keep_their_past(ledger, embeddings, task_config, splits):
    features = compute_features(ledger, FEATURES)
    tasks = [
        assemble_fraud_task(ledger, features, embeddings, task_config, split)
        for split in (splits, splits.model_copy(update={"held_out_user_share": 0.4}))
    ]
    cold_R = tasks[1].events.filter(tasks[1].part_R == JUDGED)["cold"].to_numpy()
    judged = [task.features_RF[task.rows(JUDGED)][cold_R] for task in tasks]
    np.testing.assert_array_equal(judged[0], judged[1])
    earlier = tasks[1].feature_names.index("user_count_ever")
    num_before = tasks[1].events.filter("cold")["event_seq"].to_numpy()
    assert num_before.max() > 5
    np.testing.assert_allclose(judged[1][:, earlier], num_before)


def test_users_who_begin_in_the_test_are_cold(ledger, features, embeddings, task_config, splits):
    newcomers = ["u000", "u001"]
    is_late = ~pl.col("user_id").is_in(newcomers) | (pl.col("event_time") >= parse_instant("2024-01-24"))
    kept = ledger.select(is_late).to_series().to_numpy().nonzero()[0]
    late = assemble_fraud_task(ledger[kept], features[kept], embeddings[: len(kept)], task_config, splits)
    assert set(late.events.filter("cold")["user_id"]) == set(newcomers)


def test_one_class_cannot_be_fitted(ledger, features, embeddings, task_config, splits):
    genuine = ledger.with_columns(label=pl.lit(0, pl.Int8))
    assert not assemble_fraud_task(genuine, features, embeddings, task_config, splits).can_be_fitted


@pytest.mark.slow
def test_handbook_protocol_gives_the_published_rows(shared_data):
    path = shared_data / "fraud_handbook" / "transactions.parquet"
    source = pl.read_parquet(path)
    time = pl.col("TX_DATETIME").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    events = source.select(
        user_id=pl.col("CUSTOMER_ID").cast(pl.String), event_id=pl.col("TRANSACTION_ID").cast(pl.String),
        event_time=time, amount_cents=(pl.col("TX_AMOUNT") * 100).round().cast(pl.Int64),
        counterparty=pl.col("TERMINAL_ID").cast(pl.String),
        label=pl.col("TX_FRAUD").cast(pl.Int8), label_time=time + timedelta(days=7),
        event_seq=pl.lit(0, pl.Int64),
    ).sort("user_id", "event_time")  # fmt: skip
    splits = SplitConfig(
        protocol="time",
        train_end="2018-08-01",
        valid_end="2018-08-08",
        test_end="2018-08-15",
        embargo_days=0.0,
        test_share=None,
        valid_share=None,
        held_out_user_share=0.0,
    )
    config = FraudTaskConfig(
        fit_start="2018-07-25",
        calibration_share=0.2,
        calibration_gap=False,
        negatives_per_fraud=None,
        seed=0,
        blocked_since="2018-07-25",
    )
    features = events.select("event_id", pl.col("amount_cents").cast(pl.Float32))
    rows = np.arange(events.height)
    zeros = np.zeros(len(rows), np.float32)
    vectors = pl.Series(zeros[:, None], dtype=pl.Array(pl.Float32, 1))
    embeddings = pl.DataFrame(
        {"row": rows, "embedding": vectors, "surprise": zeros, "surprise_z": zeros, "cosine": zeros}
    )
    task = assemble_fraud_task(events, features, embeddings, config, splits)
    # The Handbook blocks no card while it fits; here none is blocked in the fit rows, but in the calibration rows.
    unblocked = config.model_copy(update={"blocked_since": None})
    everyone = assemble_fraud_task(events, features, embeddings, unblocked, splits)
    fitted = np.concatenate([everyone.rows(FIT), everyone.rows(CALIBRATION)])
    assert (len(fitted), int(everyone.label_R[fitted].sum())) == (67_240, 598)
    assert (len(task.rows(JUDGED)), int(task.label_R[task.rows(JUDGED)].sum())) == (58_264, 385)


def test_mutating_the_future_moves_no_fitted_row(ledger, embeddings, task_config, splits):
    test_start = parse_instant("2024-01-24")
    changed = ledger.with_columns(
        amount_cents=pl.when(pl.col("event_time") >= test_start).then(1).otherwise("amount_cents"),
        label=pl.when(pl.col("label_time") >= test_start).then(1 - pl.col("label")).otherwise("label"),
    )
    before, after = (
        assemble_fraud_task(events, compute_features(events, FEATURES), embeddings, task_config, splits)
        for events in (ledger, changed)
    )
    fitted = before.part_R != JUDGED
    np.testing.assert_array_equal(before.features_RF[fitted], after.features_RF[after.part_R != JUDGED])
    np.testing.assert_array_equal(before.label_R[fitted], after.label_R[after.part_R != JUDGED])
