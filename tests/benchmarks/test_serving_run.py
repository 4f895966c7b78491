"""Many users made from the users of a run, histories of 256 events, medians over rounds."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from panther_pipeline.online.as_sent import as_sent
from panther_pipeline.online.facts import known_values
from panther_pipeline.online.record import UserRecord
from panther_pipeline.online.refresh import Refresher
from panther_pipeline.online.served_backbone import ServedBackbone
from panther_pipeline.serving.config import ServingConfig
from panther_pipeline.serving.contracts import EventContract
from panther_pipeline.serving.strict_json import parse_json

AS_OF = "2024-12-01"


@pytest.fixture(scope="module")
def online(finished_run):
    return finished_run.online_store(AS_OF)


@pytest.fixture
def crowd(benchmarks, online):
    from serving_run import Crowd

    return Crowd(dict(online.records()), online.activity, 150)


def test_crowd_holds_the_run_and_others_like_it(crowd, online):
    keys = [key for key, _ in crowd.records()]
    records, own = dict(crowd.records()), dict(online.records())
    users = [key for key in records if key[0] == "user"]
    assert len(keys) == len(records)
    assert len(users) == crowd.num_users == 150
    assert {key: records[key] for key in own} == own
    assert {key[1] for key in users} == {crowd.user_id(number) for number in range(150)}


def test_users_made_from_one_differ_a_little_in_their_embedding(crowd):
    records = dict(crowd.records())
    name = crowd.originals[0]
    one, other = (UserRecord.unpack(records["user", user], crowd.config) for user in (name, f"{name}~1"))
    assert one.history.event_ids == other.history.event_ids
    difference_D = one.history.forecast.embedding_D - other.history.forecast.embedding_D
    assert 0 < np.abs(difference_D).max() < 0.01


def test_events_of_the_crowd_are_of_its_users_each_once(crowd, finished_run):
    events = crowd.spread(finished_run.events_from(AS_OF)[1], 100)
    records = dict(crowd.records())
    users = [event.user_id for event in events]
    assert len(set(users)) == len(users) > 50
    assert all(("user", user_id) in records for user_id in users)
    assert any("~" in user_id for user_id in users)


def test_sent_event_is_read_as_it_was(benchmarks, finished_run, online):
    contract = EventContract(
        online.facts.events.as_schema(known_values(online.sources.tokenizer)), ServingConfig(max_future_s=None)
    )
    for event in finished_run.events_from(AS_OF, 200)[1]:
        changed = {"time_us": event.time_us + 12_345, "amount_cents": -(event.amount_cents or 0)}
        unlabelled = replace(event, label=None, label_time_us=None, **changed)
        (read,) = contract.read_scored(parse_json(json.dumps(as_sent(unlabelled)).encode()))
        assert read == unlabelled


def test_histories_of_the_contest_are_256_events_of_which_all_are_read(benchmarks, finished_run, online):
    from serving_naive import NUM_EVENTS, of_256_events, reading_256

    backbone = reading_256(finished_run.backbone)
    served = ServedBackbone.of(backbone)
    refresher = Refresher(backbone=served, counts_V=np.ones(backbone.vocab_size), refresh="each_event", num_next=3)
    lengths = set()
    for (kind, _), packed in online.records():
        if kind != "user":
            continue
        history = UserRecord.unpack(packed, online.activity).history
        if not history.num_kept:
            continue
        lengths.add(history.num_kept)
        long = of_256_events(history)
        assert (long.num_events, long.num_kept, len(set(long.event_ids))) == (NUM_EVENTS,) * 3
        assert (np.diff(long.time_us_R) >= 0).all()
        newest = min(NUM_EVENTS, history.num_kept)
        assert list(long.token_ids_R[-newest:]) == list(history.token_ids_R[-newest:])
    assert min(lengths) < NUM_EVENTS
    batch = []
    backbone.register_forward_pre_hook(lambda _, inputs: batch.append(inputs[0]))
    refresher.refresh_histories([long])
    assert batch[0].lengths_B.tolist() == [NUM_EVENTS]


def test_timings_are_medians_of_rounds_and_of_their_ratios(benchmarks):
    from serving_timing import Timings

    timings = Timings()
    for pause_s in (0.002, 0.002, 0.05):  # a slow moment of the machine that hits both
        timings.add_round("two", [lambda s=pause_s: time.sleep(2 * s)] * 3, units=2)
        timings.add_round("one", [lambda s=pause_s: time.sleep(s)] * 3)
    assert 2 <= timings.p50_ms("one") < 20
    assert 0.8 < timings.ratio("two", to="one") < 1.25
    summary = timings.summary()["one"]
    assert summary["calls"] == 9
    assert summary["p99_ms"] > 45
