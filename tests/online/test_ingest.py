"""Transactions arrive in any order, late and twice: the records end as if each had come once and in time."""

from dataclasses import replace

import numpy as np
import pytest

from panther_pipeline.errors import ArtifactError
from panther_pipeline.online.load import load_scorer
from panther_pipeline.online.record import UserRecord

AS_OF = "2024-12-26"
DAY_US = 86_400_000_000


@pytest.fixture(scope="module")
def events(finished_run):
    return finished_run.events_from(AS_OF)[1]


@pytest.fixture
def scorer(finished_run, tmp_path):
    opened = finished_run.scorer(tmp_path / "store", AS_OF, lateness_days=10)
    yield opened
    opened.close()


def refresh(scorer) -> None:
    while scorer.refresh():
        pass


def keys_of(events) -> list:
    return sorted(
        {("user", e.user_id) for e in events} | {("counterparty", e.counterparty) for e in events if e.counterparty}
    )


def records(scorer, events) -> dict:
    keys = keys_of(events)
    return dict(zip(keys, scorer.store.get_many(keys), strict=True))


def same(scorer, got: bytes | None, asked: bytes | None, kind: str) -> None:
    """The same record; what the backbone computed to 1e-5, since batches of another shape round differently."""
    if kind == "counterparty":
        assert got == asked
        return
    one, two = (UserRecord.unpack(packed, scorer._ingestor.activity) for packed in (got, asked))
    assert one.activity.pack() == two.activity.pack()
    assert one.history.event_ids == two.history.event_ids
    assert one.history.num_events == two.history.num_events
    np.testing.assert_array_equal(one.history.attribute_ids_RF, two.history.attribute_ids_RF)
    np.testing.assert_array_equal(one.history.token_ids_R, two.history.token_ids_R)
    np.testing.assert_allclose(one.history.surprise_R, two.history.surprise_R, rtol=0, atol=1e-5)
    np.testing.assert_allclose(one.history.forecast.embedding_D, two.history.forecast.embedding_D, rtol=0, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_any_order_and_repetition_ends_in_the_same_records(scorer, finished_run, events, tmp_path, seed):
    in_order = finished_run.scorer(tmp_path / "in_order", AS_OF, lateness_days=10)
    in_order.ingest(events)
    refresh(in_order)
    expected = records(in_order, events)
    in_order.close()

    rng = np.random.default_rng(seed)
    deliveries = [events[i] for i in rng.permutation(np.repeat(np.arange(len(events)), 2))]
    statuses = []
    for start in range(0, len(deliveries), 7):
        statuses += [done.status for done in scorer.ingest(deliveries[start : start + 7])]
        if rng.random() < 0.3:
            scorer.refresh()
    refresh(scorer)
    assert statuses.count("accepted") == statuses.count("duplicate") == len(events)
    for (kind, _), got, asked in zip(expected, records(scorer, events).values(), expected.values(), strict=True):
        same(scorer, got, asked, kind)


def test_records_end_as_those_built_from_the_whole_ledger(scorer, finished_run, events):
    scorer.ingest(events)
    refresh(scorer)
    whole = dict(finished_run.online_store(None, lateness_days=10).records())
    for key, packed in records(scorer, events).items():
        same(scorer, packed, whole[key], key[0])


def test_label_that_comes_later_counts_as_one_that_came_along(scorer, finished_run, events, tmp_path):
    along = finished_run.scorer(tmp_path / "along", AS_OF, lateness_days=10)
    along.ingest(events)
    refresh(along)
    for event in events:
        scorer.ingest([replace(event, label=None, label_time_us=None)])
    labelled = [event for event in events if event.label is not None]
    assert {done.status for done in scorer.ingest(labelled)} == {"label_updated"}
    assert {done.status for done in scorer.ingest(labelled)} == {"duplicate"}
    refresh(scorer)
    for key, packed in records(scorer, events).items():
        same(scorer, packed, along.store.get(key), key[0])
    along.close()


def test_event_that_comes_too_late_changes_nothing(scorer, events):
    scorer.ingest(events)
    before, rows = records(scorer, events), len(list(scorer.store.journal()))
    late = replace(events[-1], event_id="late", time_us=events[-1].time_us - 11 * DAY_US)
    assert scorer.ingest([late])[0].status == "too_late"
    assert records(scorer, events) == before
    assert len(list(scorer.store.journal())) == rows


def test_first_event_of_a_stranger_makes_a_record(scorer, events):
    event = replace(events[0], user_id="stranger", event_id="s1", counterparty="new shop")
    assert scorer.score([event])[0].is_new_user
    assert scorer.ingest([event])[0].status == "accepted"
    later = replace(event, event_id="s2", time_us=event.time_us + DAY_US)
    (decision,) = scorer.score([later])
    assert (decision.is_new_user, decision.history_length) == (False, 1)
    refresh(scorer)
    assert scorer.score([later])[0].probability == pytest.approx(decision.probability, abs=1e-5)


def test_score_does_not_wait_for_the_refresh(scorer, events):
    """A user whose events are not embedded yet is scored as one whose events are."""
    user_id = max({e.user_id for e in events}, key=lambda u: sum(e.user_id == u for e in events))
    own = [e for e in events if e.user_id == user_id]
    scorer.ingest(own[:-1])
    (before,) = scorer.score(own[-1:])
    assert scorer.num_touched > 0
    refresh(scorer)
    assert scorer.num_touched == 0
    (after,) = scorer.score(own[-1:])
    assert after.history_length == before.history_length
    assert after.probability == pytest.approx(before.probability, abs=1e-5)


def test_new_generation_carries_what_arrived_since(scorer, finished_run, events, tmp_path):
    """A store built as of the same instant again, published over the one that took in events."""
    folder = tmp_path / "store"
    scorer.ingest(events)
    refresh(scorer)
    expected = records(scorer, events)
    finished_run.online_store(AS_OF, lateness_days=10).save(folder)
    again = load_scorer(replace(finished_run.artifacts, store=folder))
    assert again.store.generation != scorer.store.facts.get("generation")
    (decision,) = again.score(events[-1:])
    assert decision.history_length == scorer.score(events[-1:])[0].history_length
    refresh(again)
    for key, packed in records(again, events).items():
        if key[0] == "counterparty":
            assert packed == expected[key]
        else:
            one, two = (UserRecord.unpack(p, again._ingestor.activity) for p in (packed, expected[key]))
            assert one.history.event_ids == two.history.event_ids
            assert one.activity.pack() == two.activity.pack()
    again.close()


def test_new_generation_with_the_events_takes_them_once(scorer, finished_run, events, tmp_path):
    scorer.ingest(events)
    finished_run.online_store(None, lateness_days=10).save(tmp_path / "store")
    again = load_scorer(replace(finished_run.artifacts, store=tmp_path / "store"))
    whole = dict(finished_run.online_store(None, lateness_days=10).records())
    for key, packed in records(again, events).items():
        same(again, packed, whole[key], key[0])
    assert not list(again.store.journal())
    again.close()


def test_scorer_that_was_left_takes_in_nothing_and_answers_as_before(scorer, finished_run, events, tmp_path):
    """Another scorer has moved the records on: what the old model computed must not reach them."""
    folder, first = tmp_path / "store", events[:3]
    assert [done.status for done in scorer.ingest(first)] == ["accepted"] * 3
    before, identity = scorer.score(events[-1:]), scorer.identity
    finished_run.online_store(AS_OF, lateness_days=10).save(folder)
    assert scorer.is_outdated()
    again = load_scorer(replace(finished_run.artifacts, store=folder))
    assert scorer.ingest(events[3:6]) == []
    assert scorer.refresh() == 0
    assert (scorer.score(events[-1:]), scorer.identity) == (before, identity)
    assert [done.status for done in again.ingest(events[:6])] == ["duplicate"] * 3 + ["accepted"] * 3
    assert not again.is_outdated()
    again.close()


def test_store_of_another_run_does_not_take_the_records_away(scorer, finished_run, events, tmp_path):
    """A run publishes its store before its head: until both are there, the old scorer takes in events."""
    store = finished_run.online_store(AS_OF, lateness_days=10)
    replace(store, facts=store.facts.model_copy(update={"backbone_digest": "0" * 64})).save(tmp_path / "store")
    with pytest.raises(ArtifactError, match="different runs"):
        load_scorer(replace(finished_run.artifacts, store=tmp_path / "store"))
    assert scorer.is_outdated()
    assert [done.status for done in scorer.ingest(events[:2])] == ["accepted"] * 2
