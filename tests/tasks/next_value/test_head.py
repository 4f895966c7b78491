"""The heads as they are saved and served."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from panther_pipeline.errors import ArtifactError
from panther_pipeline.publish import open_published, publish_folder
from panther_pipeline.tasks.next_value.head import NextValueHead, NextValueHeads, ValueNetwork
from panther_pipeline.tokenizer.fields import FittedField

DIM = 4
PAST = (np.array([0, 0, 2]), np.array([2, 3, 3]), np.array([5, 1, 2]))


def make_head(name: str, categories: list[str], copy_past: bool = True) -> NextValueHead:
    field = FittedField(name=name, source="category", column=name, categories=categories, edges=None)
    network, generator = ValueNetwork(DIM, field.size, copy_past=copy_past), torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter.view(1, -1), generator=generator)
    return NextValueHead(field=field, network=network)


@pytest.fixture
def heads() -> NextValueHeads:
    plain = make_head("channel", ["x"], copy_past=False)
    return NextValueHeads([make_head("shop.1", ["a", "b", "c"]), plain], dim=DIM, backbone_digest="b")


@pytest.fixture
def saved(heads, tmp_path):
    heads.save(tmp_path / "heads")
    return tmp_path / "heads"


def states(num: int = 3) -> torch.Tensor:
    return torch.randn(num, DIM, generator=torch.Generator().manual_seed(1))


def test_loaded_heads_score_the_same_bits(heads, saved):
    loaded = NextValueHeads.load(saved)
    assert (loaded.dim, loaded.backbone_digest) == (DIM, "b")
    for before, after in zip(heads.heads, loaded.heads, strict=True):
        assert after.field == before.field
        assert torch.equal(after.score(states(), PAST), before.score(states(), PAST))


def test_folder_holds_only_inert_formats(saved):
    assert {p.suffix for p in saved.rglob("*") if p.is_file()} == {".json", ".safetensors"}


def test_copy_term_is_the_smoothed_log_frequency(heads):
    head = heads.heads[0]
    weight, prior = head.network.copy_weight.item(), head.network.log_prior.exp().item()
    none = tuple(np.empty(0, np.int64) for _ in range(3))
    added = (head.score(states(), PAST) - head.score(states(), none)).numpy()
    expected = np.zeros((3, head.field.size))
    for state, value, count in zip(*PAST, strict=True):
        expected[state, value] = weight * (np.log(count + prior) - np.log(prior))
    np.testing.assert_allclose(added, expected, atol=1e-5)


def test_head_without_copying_does_not_read_the_past(heads):
    plain = heads.heads[1]
    assert torch.equal(plain.score(states(), None), plain.score(states(), PAST))


def test_no_heads_round_trip(tmp_path):
    NextValueHeads([], dim=DIM, backbone_digest="b").save(tmp_path / "heads")
    assert NextValueHeads.load(tmp_path / "heads").heads == []


def republish(path, change_weights=None, **changed_facts):
    folder, facts = open_published(path)
    weights = load_file(folder / "weights.safetensors")
    if change_weights:
        change_weights(weights)
    publish_folder(path, lambda new: save_file(weights, new / "weights.safetensors"), {**facts, **changed_facts})


def test_load_refuses_weights_that_are_not_finite(saved):
    republish(saved, lambda weights: weights["0.out.bias"].fill_(float("nan")))
    with pytest.raises(ArtifactError, match=r"out\.bias"):
        NextValueHeads.load(saved)


@pytest.mark.parametrize("facts", [{"dim": 5}, {"heads": [{"field": {}}]}, {"heads": None}, {"dim": "x"}])
def test_load_refuses_a_description_that_does_not_fit(saved, facts):
    republish(saved, **facts)
    with pytest.raises(ArtifactError, match="Run finetune again"):
        NextValueHeads.load(saved)


def test_load_refuses_a_changed_file(saved):
    folder, _ = open_published(saved)
    file = folder / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ArtifactError, match="changed"):
        NextValueHeads.load(saved)
