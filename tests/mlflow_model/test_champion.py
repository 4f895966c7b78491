"""A candidate must be better on the same events; a tie, or other events, leave the champion where it is."""

import pytest

from panther_pipeline.mlflow_model.champion import judge
from panther_pipeline.report.candidate import RegistryConfig

CONFIG = RegistryConfig(
    enabled=True, name="panther_test", metric="average_precision", split="test", alias="champion", min_gain=0.0,
    incomparable="keep", versions="every_run",
)  # fmt: skip
CHAMPION = {
    "metric": "average_precision", "split": "test", "value": "0.3", "judged_digest": "d1", "judged_events": "100",
    "backbone": "b1",
}  # fmt: skip


def verdict(value: str, champion=CHAMPION, **config):
    return judge({**CHAMPION, "value": value, "backbone": "b2"}, champion, CONFIG.model_copy(update=config))


def test_first_candidate_becomes_champion():
    assert verdict("0.0", champion=None).moves
    assert verdict("0.0", champion=None, incomparable="keep", min_gain=0.5).moves


def test_better_candidate_becomes_champion():
    assert verdict("0.30000000000000004").moves
    assert "0.4" in verdict("0.4").why


def test_worse_candidate_does_not():
    assert not verdict("0.29999999999999993").moves


def test_tie_keeps_the_old_champion():
    assert not verdict("0.3").moves


def test_gain_must_be_above_the_least_that_is_asked_for():
    assert not verdict("0.8", min_gain=0.5).moves
    assert verdict("0.81", min_gain=0.5).moves
    assert "0.5 is asked for" in verdict("0.8", min_gain=0.5).why


@pytest.mark.parametrize("name", ["metric", "split", "judged_digest", "judged_events"])
def test_champion_judged_on_other_events_is_not_compared(name):
    other = {**CHAMPION, name: "another"}
    kept, replaced = verdict("0.9", other), verdict("0.1", other, incomparable="replace")
    assert not kept.moves
    assert replaced.moves
    assert f"another {name}" in kept.why
    assert "incomparable" in kept.why


@pytest.mark.parametrize("tags", [{}, {"value": "good"}, {"value": "nan"}])
def test_champion_that_says_no_value_is_not_compared(tags):
    champion = {key: value for key, value in CHAMPION.items() if key != "value"} | tags
    assert not verdict("0.9", champion).moves
    assert verdict("0.9", champion, incomparable="replace").moves
