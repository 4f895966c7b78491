"""What the registry is told: the served head's number, and a digest that says on which events it was measured."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from pydantic import ValidationError

from panther_pipeline.metrics.records import make_record
from panther_pipeline.report.candidate import RegistryConfig, describe_candidate, digest_events

CONFIG = RegistryConfig(
    enabled=True, name="panther_test", metric="average_precision", split="test", alias="champion", min_gain=0.0,
    incomparable="keep", versions="every_run",
)  # fmt: skip
FACTS = {"commit": "abc", "data fingerprint": "f1", "test": "4 events, 2024-11-01 to 2024-11-04"}


def record(model: str, value: float, metric: str = "average_precision") -> dict:
    return make_record(task="fraud", model=model, metric=metric, split="test", value=value, low=0.1, high=None, n=4)


METRICS = [record("trees_both", 0.9), record("panther_head", 0.5, "roc_auc"), record("panther_head", 1 / 3)]


def scores(**changes) -> pl.DataFrame:
    events = pl.DataFrame(
        {
            "event_id": [f"e{i}" for i in range(6)],
            "event_time": [datetime(2024, 11, 1, tzinfo=UTC) + timedelta(days=i) for i in range(6)],
            "label": [0, 1, 0, 0, None, 1],
            "cold": [False] * 6,
            "event_seq": list(range(6)),
            "split": ["test"] * 5 + ["calibration"],
            "score": [0.1] * 6,
            "model": ["panther_head"] * 6,
            "seed": [3] * 6,
            **changes,
        },
        schema_overrides={"label": pl.Int8},
    )
    return pl.concat([events, events.with_columns(seed=pl.col("seed") + 1), events.with_columns(model=pl.lit("trees"))])


def tags_of(fraud_scores: pl.DataFrame) -> dict[str, str]:
    return describe_candidate(METRICS, fraud_scores, FACTS, CONFIG)["tags"]


def test_candidate_is_the_served_head_to_the_last_digit():
    candidate = describe_candidate(METRICS, scores(), FACTS, CONFIG)
    assert RegistryConfig(**candidate["registry"]) == CONFIG
    tags = candidate["tags"]
    assert float(tags["value"]) == 1 / 3
    assert (tags["metric"], tags["split"], tags["judged_events"], tags["low"]) == (
        "average_precision",
        "test",
        "4",
        "0.1",
    )
    assert "high" not in tags  # there was none
    assert (tags["judged_from"], tags["judged_until"]) == ("2024-11-01T00:00:00+00:00", "2024-11-04T00:00:00+00:00")
    assert (tags["commit"], tags["data_fingerprint"], tags["test"]) == ("abc", "f1", FACTS["test"])
    assert all(isinstance(value, str) for value in tags.values())


def test_digest_knows_events_and_labels_but_no_model():
    digest = tags_of(scores())["judged_digest"]
    assert tags_of(scores(score=[0.7] * 6, seed=[9] * 6))["judged_digest"] == digest
    assert tags_of(scores()[::-1])["judged_digest"] == digest
    assert tags_of(scores(label=[1, 1, 0, 0, None, 0]))["judged_digest"] != digest
    assert tags_of(scores(event_id=[f"x{i}" for i in range(6)]))["judged_digest"] != digest
    assert tags_of(scores(cold=[True] + [False] * 5))["judged_digest"] != digest
    assert tags_of(scores(label=[0, 1, 0, 0, 0, 1]))["judged_digest"] != digest, "one more labelled event"
    later = scores()["event_time"][:6] + timedelta(seconds=1)
    assert tags_of(scores(event_time=later))["judged_digest"] != digest


def test_digest_tells_ids_apart_that_join_to_the_same_text():
    one, other = scores(event_id=["a", "bc", "d", "e", "f", "g"]), scores(event_id=["ab", "c", "d", "e", "f", "g"])
    assert digest_events(one[:3]) != digest_events(other[:3])


def test_nothing_is_offered_that_is_not_asked_for_or_was_not_measured(caplog):
    off = CONFIG.model_copy(update={"enabled": False})
    assert describe_candidate(METRICS, scores(), FACTS, off) == {}
    assert describe_candidate([], pl.DataFrame(), FACTS, CONFIG) == {}  # a ledger without labels
    assert not caplog.records
    unknown = CONFIG.model_copy(update={"metric": "recall@7%"})
    assert describe_candidate(METRICS, scores(), FACTS, unknown) == {}
    assert "evaluation.registry.metric" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"metric": "brier"},
        {"split": "train"},
        {"min_gain": -0.1},
        {"alias": "7"},
        {"name": "a/b"},
        {"incomparable": "maybe"},
        {"versions": "none"},
    ],
)
def test_registry_configuration_is_checked(change):
    with pytest.raises(ValidationError):
        RegistryConfig(**{**CONFIG.model_dump(), **change})
