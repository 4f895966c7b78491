"""The head as it is saved and served."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from panther_pipeline.errors import ArtifactError, ConfigurationError
from panther_pipeline.publish import open_published, publish_folder
from panther_pipeline.scoring.fit import copy_network
from panther_pipeline.scoring.head import NUM_SURPRISES, FraudHead
from panther_pipeline.scoring.networks.build import build_network

IDENTITY = {"backbone_digest": "b" * 64, "tokenizer_digest": "c" * 64, "features_digest": "f" * 64}
NAMES = ["amount", "hour"]


@pytest.fixture(params=["dcn", "deep_fm", "logistic"])
def head(network_config, request):
    torch.manual_seed(0)
    config = network_config.model_copy(update={"kind": request.param})
    return FraudHead(NAMES, 4, config, build_network(len(NAMES) + NUM_SURPRISES, 4, config).as_arrays(), IDENTITY)


def inputs(num: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=(num, width)).astype(np.float32) for width in (2, 4, 3))


def test_loaded_head_scores_the_same_bits(head, tmp_path):
    head.save(tmp_path / "head")
    loaded = FraudHead.load(tmp_path / "head")
    assert loaded.feature_names == NAMES
    assert np.array_equal(loaded.score(*inputs(50)), head.score(*inputs(50)))


def test_identity_is_saved_with_the_head(head, tmp_path):
    head.save(tmp_path / "head")
    assert FraudHead.load(tmp_path / "head").identity == head.identity == IDENTITY


def test_head_saved_without_identity_loads_as_unknown(head, tmp_path):
    head.save(tmp_path / "head")
    folder, facts = open_published(tmp_path / "head")
    weights = load_file(folder / "weights.safetensors")
    older = {key: fact for key, fact in facts.items() if key not in IDENTITY}
    publish_folder(tmp_path / "head", lambda new: save_file(weights, new / "weights.safetensors"), older)
    loaded = FraudHead.load(tmp_path / "head")
    assert set(loaded.identity) == set(IDENTITY)
    assert set(loaded.identity.values()) == {""}
    assert np.array_equal(loaded.score(*inputs(50)), head.score(*inputs(50)))


def test_head_refuses_an_identity_of_other_keys(network_config):
    with pytest.raises(ConfigurationError, match="backbone_digest, tokenizer_digest, features_digest"):
        FraudHead(NAMES, 4, network_config, None, {"backbone_digest": "b"})


def test_isotonic_calibration_is_saved_with_the_head(head, tmp_path):
    before = head.score(*inputs(50))
    knots = np.linspace(-5, 5, 7)
    network = copy_network(head)
    network.set_calibration({"isotonic_logits_K": knots, "isotonic_values_K": knots**3})
    head = FraudHead(head.feature_names, head.embedding_dim, head.config, network.as_arrays())
    head.save(tmp_path / "head")
    assert np.array_equal(FraudHead.load(tmp_path / "head").score(*inputs(50)), head.score(*inputs(50)))
    assert not np.allclose(head.score(*inputs(50)), before)


def test_head_folder_holds_only_inert_formats(head, tmp_path):
    head.save(tmp_path / "head")
    assert {p.suffix for p in (tmp_path / "head").rglob("*") if p.is_file()} == {".json", ".safetensors"}


@pytest.mark.parametrize("size", [1, 2, 7, 64, 9000])
def test_score_does_not_depend_on_its_neighbours(head, size):
    rows = inputs(9000)
    alone = head.score(*(x[:1] for x in rows))
    np.testing.assert_allclose(head.score(*(x[:size] for x in rows))[:1], alone, atol=1e-6, rtol=0)


def test_no_rows_give_no_scores(head):
    assert head.score(*inputs(0)).shape == (0,)


def test_score_refuses_inputs_of_another_run(head):
    features, embeddings, surprises = inputs(3)
    with pytest.raises(ConfigurationError, match="one run"):
        head.score(features[:, :1], embeddings, surprises)


def test_untrained_head_round_trips_and_refuses_to_score(network_config, tmp_path):
    FraudHead(NAMES, 4, network_config, None).save(tmp_path / "head")
    loaded = FraudHead.load(tmp_path / "head")
    assert not loaded.is_trained
    with pytest.raises(ConfigurationError, match="untrained"):
        loaded.score(*inputs(1))


def test_load_refuses_a_changed_file(head, tmp_path):
    head.save(tmp_path / "head")
    folder, _ = open_published(tmp_path / "head")
    file = folder / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ArtifactError, match="changed"):
        FraudHead.load(tmp_path / "head")


def republish(path, change_weights=None, **changed_facts):
    folder, facts = open_published(path)
    weights = load_file(folder / "weights.safetensors")
    if change_weights:
        change_weights(weights)
    publish_folder(path, lambda new: save_file(weights, new / "weights.safetensors"), {**facts, **changed_facts})


def test_load_refuses_weights_that_are_not_finite(head, tmp_path):
    head.save(tmp_path / "head")
    republish(tmp_path / "head", lambda weights: weights["out.bias"].fill_(float("nan")))
    with pytest.raises(ArtifactError, match=r"out\.bias"):
        FraudHead.load(tmp_path / "head")


@pytest.mark.parametrize(
    "facts", [{"embedding_dim": 5}, {"config": {}}, {"feature_names": None}, {"features_digest": 7}]
)
def test_load_refuses_a_description_that_does_not_fit(head, tmp_path, facts):
    head.save(tmp_path / "head")
    republish(tmp_path / "head", **facts)
    with pytest.raises(ArtifactError, match="Run finetune again"):
        FraudHead.load(tmp_path / "head")


def test_load_refuses_a_folder_without_a_head(tmp_path):
    with pytest.raises(ArtifactError, match="no artifact"):
        FraudHead.load(tmp_path)
