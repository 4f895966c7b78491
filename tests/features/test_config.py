"""The `finetuning.features` block."""

import pytest
from pydantic import ValidationError

from panther_pipeline.features.config import FeatureConfig, features_digest

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
