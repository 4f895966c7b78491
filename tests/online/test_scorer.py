"""One transaction at a time online, all of them in bulk: the same decision, whatever else is asked."""

from dataclasses import replace

import numpy as np
import pytest

from panther_pipeline.errors import TooLateError

AS_OF = "2024-12-20"


@pytest.fixture(scope="module")
def scorer(finished_run, tmp_path_factory):
    opened = finished_run.scorer(tmp_path_factory.mktemp("store"), AS_OF)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def events(finished_run):
    return finished_run.events_from(AS_OF)[1]


def unlabelled(event, **changes):
    return replace(event, label=None, label_time_us=None, **changes)


def test_scoring_changes_no_record(scorer, events):
    event = events[0]
    keys = [("user", event.user_id), ("counterparty", event.counterparty)]
    before = scorer.store.get_many(keys)
    scorer.score([event, replace(event, amount_cents=-99_999)], explain=True)
    assert scorer.store.get_many(keys) == before
    assert not list(scorer.store.journal())


def test_label_of_the_event_itself_is_not_looked_at(scorer, events):
    for event in events[:20]:
        fraud, fine = (replace(event, label=label, label_time_us=0) for label in (1, 0))
        assert scorer.score([fraud]) == scorer.score([fine]) == scorer.score([unlabelled(event)])


def test_stranger_is_scored_by_the_prior_and_flagged(scorer, events, finished_run):
    event = unlabelled(events[0], user_id="nobody", event_id="n1", counterparty="nowhere")
    (decision,) = scorer.score([event], explain=True)
    assert decision.is_new_user
    assert (decision.history_length, decision.surprise_z, decision.cosine, decision.expected) == (0, 0, 0, ())
    assert 0 <= decision.probability <= 1
    assert decision.surprise > 0
    assert not scorer.score([unlabelled(events[0])])[0].is_new_user


def test_expected_transactions_are_those_of_the_last_run(scorer, events, finished_run, tmp_path):
    """Of a store as of the end, the table next_transactions holds the same."""
    whole = finished_run.scorer(tmp_path / "store")
    table = finished_run.table("07_model_output", "next_transactions")
    for user_id in table["user_id"].unique(maintain_order=True).to_list()[:10]:
        expected = table.filter(user_id=user_id)
        got = whole.next_transactions(user_id, 3)
        assert [e.token for e in got.expected] == expected["token"].to_list()[:3]
        np.testing.assert_allclose([e.prob for e in got.expected], expected["prob"].to_list()[:3], atol=1e-5)
    assert whole.next_transactions("nobody", 3) is None
    whole.close()


def test_reasons_are_groups_that_raise_the_score(scorer, events):
    decisions = scorer.score([unlabelled(event) for event in events[:50]], explain=True)
    plain = scorer.score([unlabelled(event) for event in events[:50]])
    assert [d.probability for d in decisions] == [d.probability for d in plain]
    assert all(not d.reasons for d in plain)
    reasons = [r for d in decisions for r in d.reasons]
    assert len({r.what for r in reasons}) > 3
    assert all(r.effect > 0 for r in reasons)
    for decision in decisions:
        effects = [r.effect for r in decision.reasons]
        assert effects == sorted(effects, reverse=True)
        assert len(effects) <= 3


def test_amount_out_of_the_ordinary_is_named_among_the_reasons(scorer, events):
    event = unlabelled(events[0], amount_cents=5_000_000)
    (decision,) = scorer.score([event], explain=True)
    assert any("amount" in r.what or "activity" in r.what or "deviation" in r.what for r in decision.reasons)


def test_nothing_asked_is_nothing_answered(scorer):
    assert scorer.score([]) == []


def test_event_long_past_is_refused_not_guessed(finished_run, tmp_path):
    scorer = finished_run.scorer(
        tmp_path / "store", num_recent_events=finished_run.backbone.max_events, lateness_days=10_000
    )
    user_id = finished_run.events.group_by("user_id").len().sort("len", descending=True)["user_id"][0]
    old = finished_run.events.filter(user_id=user_id)
    _, all_events = finished_run.events_from("2023-01-01")
    first = next(e for e in all_events if e.user_id == user_id)
    assert old.height > 2 * finished_run.backbone.max_events
    with pytest.raises(TooLateError, match="one by one"):
        scorer.score([replace(first, time_us=first.time_us + 40 * 86_400_000_000, event_id="again")])
    scorer.close()


def test_users_met_last_are_listed_first(scorer, events, finished_run, tmp_path):
    fresh = finished_run.scorer(tmp_path / "store", AS_OF)
    known = sorted(finished_run.events["user_id"].unique())
    assert fresh.sample_users(3) == known[:3]
    later = [event for event in events if event.user_id not in known[:3]]
    first = later[0]
    other = next(event for event in later if event.user_id != first.user_id)
    fresh.score([first, unlabelled(first, user_id="nobody", event_id="n1")])
    fresh.ingest([other, unlabelled(other, user_id="newcomer", event_id="n2")])
    assert fresh.sample_users(4) == ["newcomer", other.user_id, first.user_id, known[0]]  # nobody has no record
    assert fresh.sample_users(1) == ["newcomer"]
    assert len(set(fresh.sample_users(100))) == len(fresh.sample_users(100)) == len(known) + 1
    fresh.close()


def test_schema_holds_the_categories_the_tokenizer_knows(scorer, finished_run):
    seen = finished_run.events["category"].unique().to_list()
    (category,) = [attribute for attribute in scorer.schema.attributes if attribute.name == "category"]
    assert category.known[0] == category.example
    assert 1 < len(category.known) <= 30
    assert set(category.known) <= set(seen)
