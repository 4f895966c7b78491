"""The `finetuning.features` block, and what a state keeps for it."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.features.config import FeatureConfig, features_digest
from panther_pipeline.units import DAY_US

from .conftest import ACTIVITY

GOOD = {
    "windows_days": [1], "risk_windows_days": [1], "novelty": None,
    "time_zone": "UTC", "night_start_hour": 0, "night_end_hour": 7,
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("windows_days", [7, 1]),
        ("windows_days", [0]),
        ("risk_windows_days", []),
        ("novelty", ["a", "a"]),
        ("time_zone", "Mars"),
    ],
)
def test_feature_config_refuses_nonsense(key, value):
    with pytest.raises(ValidationError, match=key):
        FeatureConfig(**{**GOOD, key: value})


def test_feature_config_reports_all_problems_at_once():
    with pytest.raises(ValidationError) as caught:
        FeatureConfig(**{**GOOD, "windows_days": [2, 2], "time_zone": "Mars"})
    assert "windows_days" in str(caught.value)
    assert "Mars" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "names"),
    [({"time_zone": "Europe/Paris"}, ["a", "b"]), ({"windows_days": [1, 7]}, ["a", "b"]), ({}, ["b", "a"])],
)
def test_features_digest_changes_with_configuration_and_names(changes, names):
    own = features_digest(FeatureConfig(**GOOD), ["a", "b"])
    assert len(own) == 64
    assert own == features_digest(FeatureConfig(**GOOD), ["a", "b"])
    assert own != features_digest(FeatureConfig(**GOOD | changes), names)


def test_spans_below_zero_and_unknown_novelty_are_refused():
    with pytest.raises(ConfigurationError, match="lateness_days must be whole days >= 0; got -1"):
        replace(ACTIVITY, lateness_days=-1)
    with pytest.raises(ConfigurationError, match="label_wait_days must be"):
        replace(ACTIVITY, label_wait_days=-1)
    with pytest.raises(ConfigurationError, match="novelty names city"):
        replace(ACTIVITY, features=ACTIVITY.features.model_copy(update={"novelty": ["city"]}))


def test_events_are_kept_for_the_longest_window_of_the_latest_event():
    assert (ACTIVITY.kept_us, ACTIVITY.kept_known_us, ACTIVITY.kept_unlabelled_us) == (
        9 * DAY_US,
        12 * DAY_US,
        9 * DAY_US,
    )
    assert replace(ACTIVITY, label_wait_days=30).kept_unlabelled_us == 32 * DAY_US
    assert ACTIVITY.novelty == ("channel",)


def test_what_is_kept_has_a_code_of_its_own():
    others = [replace(ACTIVITY, lateness_days=3), replace(ACTIVITY, attributes=("city",)), replace(ACTIVITY)]
    assert [other.retention_code == ACTIVITY.retention_code for other in others] == [False, False, True]
