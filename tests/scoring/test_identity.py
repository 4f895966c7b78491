"""What a head belongs to."""

import pytest
import torch

from panther_pipeline.errors import ArtifactError, ConfigurationError
from panther_pipeline.features.config import FeatureConfig
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.scoring.identity import IDENTITY_KEYS, check_belongs, check_identity, identify, unknown_identity

FEATURES = FeatureConfig(
    windows_days=[1], risk_windows_days=[1], novelty=None, time_zone="UTC", night_start_hour=0, night_end_hour=7
)


def make_backbone(tokenizer_digest: str = "t") -> Backbone:
    config = ModelConfig(dim=4, num_layers=1, num_heads=1, feed_forward_dim=8, max_events=16, num_prototypes=2)
    sizes = {"vocab_size": 8, "attribute_sizes": [], "profile_sizes": []}
    return Backbone(config, **sizes, tokenizer_digest=tokenizer_digest).eval()


def test_identity_names_backbone_tokenizer_and_features():
    backbone = make_backbone()
    identity = identify(backbone, FEATURES, ["amount"])
    assert tuple(identity) == IDENTITY_KEYS
    assert identity["backbone_digest"] == backbone.digest
    assert identity["tokenizer_digest"] == "t"


def test_identity_changes_with_a_weight_a_tokenizer_and_a_feature():
    backbone = make_backbone()
    own = identify(backbone, FEATURES, ["amount"])
    assert identify(make_backbone("other"), FEATURES, ["amount"])["tokenizer_digest"] == "other"
    assert identify(backbone, FEATURES, ["hour"])["features_digest"] != own["features_digest"]
    with torch.no_grad():
        backbone.norm.weight[0] += 1e-6
    assert identify(backbone, FEATURES, ["amount"])["backbone_digest"] != own["backbone_digest"]


@pytest.mark.parametrize(
    "identity",
    [{}, {"backbone_digest": "b"}, unknown_identity() | {"more": ""}, unknown_identity() | {"backbone_digest": None}],
)
def test_identity_with_other_keys_or_values_is_refused(identity):
    with pytest.raises(ConfigurationError, match="identify"):
        check_identity(identity)


def test_identity_is_kept_in_one_order():
    backwards = dict(reversed(unknown_identity().items()))
    assert tuple(check_identity(backwards)) == IDENTITY_KEYS


@pytest.mark.parametrize("key", IDENTITY_KEYS)
def test_head_of_another_run_is_refused_with_both_digests(key):
    run = identify(make_backbone("t" * 64), FEATURES, ["amount"])
    check_belongs("tuned_head", run, run)
    with pytest.raises(ArtifactError, match=f"tuned_head.*{key} 0{{16}}, not {run[key][:16]}"):
        check_belongs("tuned_head", run | {key: "0" * 64}, run)


def test_what_is_unknown_of_a_head_is_not_compared():
    check_belongs("fraud_head", unknown_identity(), identify(make_backbone(), FEATURES, ["amount"]))
