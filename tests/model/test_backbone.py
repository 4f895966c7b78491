"""The promises of the model itself; most of them hold for every variant."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from panther_pipeline.errors import ArtifactError, ConfigurationError
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.publish import open_published, publish_folder
from panther_pipeline.training.losses import next_tuple_loss


@torch.no_grad()
def states(backbone, batch):
    return backbone(batch)


def with_other_future(batch, position):
    """The same events up to `position`, other tokens, attributes and times after it."""
    after = slice(position + 1, None)
    tokens, attributes, times = (
        batch.token_ids_BT.clone(),
        batch.attribute_ids_BTF.clone(),
        batch.time_us_BT.clone(),
    )
    tokens[:, after] = 1 + (tokens[:, after] * 7 + 3) % 19
    attributes[:, after] = 1 + attributes[:, after] % 4
    times[:, after] += 1_234_567_890_123
    return replace(batch, token_ids_BT=tokens, attribute_ids_BTF=attributes, time_us_BT=times)


def test_future_never_changes_a_state_bitwise(variant, make_backbone, make_batch):
    backbone, batch = make_backbone(**variant), make_batch()
    before, after = states(backbone, batch), states(backbone, with_other_future(batch, 8))
    assert torch.equal(before[:, :9], after[:, :9])
    assert not torch.allclose(before[:, 9:], after[:, 9:])


def test_truncated_history_has_the_same_states(variant, make_backbone, make_batch, cut):
    backbone, batch = make_backbone(**variant), make_batch(num_events=32)
    assert torch.allclose(states(backbone, batch)[:, :13], states(backbone, cut(batch, stop=13)), atol=1e-5)


def test_state_reads_the_past(variant, make_backbone, make_batch):
    backbone, batch = make_backbone(**variant), make_batch()
    changed = batch.token_ids_BT.clone()
    changed[:, 12] = 1 + changed[:, 12] % 19
    after = states(backbone, replace(batch, token_ids_BT=changed))
    assert not torch.allclose(states(backbone, batch)[:, 13], after[:, 13])


def test_history_alone_equals_history_in_a_batch(variant, make_backbone, make_batch, cut):
    backbone, batch = make_backbone(**variant), make_batch(num_windows=7)
    together = states(backbone, batch)
    for b in (0, 3, 6):
        alone = states(backbone, cut(batch, windows=slice(b, b + 1)))
        assert torch.allclose(alone[0], together[b], atol=1e-6, rtol=0)


def test_every_parameter_gets_a_gradient(variant, make_backbone, make_batch):
    backbone, batch = make_backbone(**variant), make_batch(num_events=32, num_windows=8)
    backbone.next_token_logits(backbone(batch)).logsumexp(-1).sum().backward()
    without = [name for name, p in backbone.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_all_time_in_step_shifts_nothing_but_the_calendar(make_backbone, make_batch):
    # 20 871 weeks are a whole number of weeks, days and hours, and 400 years of the Gregorian calendar.
    backbone, batch = make_backbone(), make_batch()
    later = replace(batch, time_us_BT=batch.time_us_BT + 20_871 * 7 * 86_400_000_000)
    assert torch.equal(states(backbone, batch), states(backbone, later))


@pytest.mark.parametrize("time_encoding", ["gap_calendar", "rotary"])
def test_gap_before_an_event_changes_its_state(time_encoding, make_backbone, make_batch):
    backbone, batch = make_backbone(time_encoding=time_encoding), make_batch()
    times = batch.time_us_BT.clone()
    times[:, 5:] += 400 * 365 * 86_400_000_000 // 1000
    assert not torch.allclose(states(backbone, batch)[:, 5:], states(backbone, replace(batch, time_us_BT=times))[:, 5:])


def test_without_time_encoding_only_order_counts(make_backbone, make_batch):
    backbone, batch = make_backbone(time_encoding="none"), make_batch()
    assert torch.equal(states(backbone, batch), states(backbone, replace(batch, time_us_BT=batch.time_us_BT * 2)))
    swapped = replace(batch, token_ids_BT=batch.token_ids_BT.flip(1), attribute_ids_BTF=batch.attribute_ids_BTF.flip(1))
    assert not torch.allclose(states(backbone, batch)[:, -1], states(backbone, swapped)[:, -1], atol=1e-4)


@pytest.mark.parametrize("profile", ["first_token", "positional"])
def test_profile_changes_every_state(profile, make_backbone, make_batch):
    backbone, batch = make_backbone(profile=profile), make_batch()
    other = replace(batch, profile_ids_BP=1 + batch.profile_ids_BP % 3)
    difference_BT = (states(backbone, batch) - states(backbone, other)).abs().amax(-1)
    assert (difference_BT > 1e-4).all()
    assert backbone.profile_vector(batch.profile_ids_BP).shape == (4, 16)


@pytest.mark.parametrize("reads_profile", [{"profile": "none"}, {"profiles": False}])
def test_without_profiles_nothing_reads_them(reads_profile, make_backbone, make_batch):
    backbone, batch = make_backbone(**reads_profile), make_batch()
    other = replace(batch, profile_ids_BP=1 + batch.profile_ids_BP % 3)
    assert torch.equal(states(backbone, batch), states(backbone, other))
    assert backbone.profile_vector(batch.profile_ids_BP) is None


def test_merge_by_mean_differs_from_sum(make_backbone, make_batch):
    batch = make_batch()
    assert not torch.allclose(states(make_backbone(merge="sum"), batch), states(make_backbone(merge="mean"), batch))


@pytest.mark.parametrize("profile", ["none", "first_token", "positional"])
def test_prototype_weights_of_each_block_sum_to_one(profile, make_backbone, make_batch):
    backbone, batch = make_backbone(profile=profile), make_batch()
    per_layer = [backbone.prototype_weights(batch, layer) for layer in (0, 1)]
    for weights_BTK in per_layer:
        assert weights_BTK.shape == (4, 16, 5)
        assert torch.allclose(weights_BTK.sum(-1), torch.ones(4, 16), atol=1e-6)
    assert not torch.allclose(*per_layer)
    assert torch.equal(backbone.prototype_weights(batch), per_layer[1])
    assert make_backbone(mixer="attention").prototype_weights(batch) is None


def test_history_longer_than_max_events_is_refused(make_backbone, make_batch):
    with pytest.raises(ConfigurationError, match="33 events is longer than max_events = 32"):
        make_backbone()(make_batch(num_events=33))


def test_untrained_model_predicts_the_frequencies(make_backbone, make_batch):
    backbone, counts_V = make_backbone(score="dot"), np.arange(20) * 1000
    torch.nn.init.zeros_(backbone.embedding.token.weight)
    backbone.start_from_frequencies(counts_V)
    prob = backbone.next_token_logits(states(backbone, make_batch())).softmax(-1)[0, 0].detach()
    assert np.allclose(prob.numpy(), counts_V / counts_V.sum(), atol=1e-4)


def test_seed_alone_decides_the_weights(make_backbone):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = make_backbone(seed=5)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(4)
    assert make_backbone(seed=5).digest == first.digest
    assert make_backbone(seed=6).digest != first.digest


def test_saved_backbone_loads_equal(make_backbone, make_batch, tmp_path):
    backbone, batch = make_backbone(), make_batch()
    backbone.save(tmp_path)
    loaded = Backbone.load(tmp_path)
    assert loaded.digest == backbone.digest
    assert loaded.config == backbone.config
    assert not loaded.training
    assert torch.equal(states(loaded, batch), states(backbone, batch))


# -- a factored backbone


def tuple_losses(backbone, batch):
    """-log p of every next tuple, (B, T - 1)."""
    h_ND = states(backbone, batch)[:, :-1].flatten(0, 1)
    with torch.no_grad():
        log_prob_N = backbone.tuple_head.log_prob(h_ND, batch.attribute_ids_BTF[:, 1:].flatten(0, 1))
    return -log_prob_N.unflatten(0, (len(batch.lengths_B), -1))


def test_factored_loss_ignores_every_later_event_bitwise(variant, make_backbone, make_batch):
    backbone, batch = make_backbone(tokenizer_kind="factored", **variant), make_batch()
    before, after = tuple_losses(backbone, batch), tuple_losses(backbone, with_other_future(batch, 8))
    assert torch.equal(before[:, :8], after[:, :8])
    assert not torch.allclose(before[:, 8:], after[:, 8:])


def test_factored_gradient_reaches_every_parameter(variant, make_backbone, make_batch):
    backbone, batch = (
        make_backbone(tokenizer_kind="factored", **variant),
        make_batch(num_events=32, num_windows=8),
    )
    h_ND = backbone(batch)[:, :-1].flatten(0, 1)
    next_tuple_loss(h_ND, batch.attribute_ids_BTF[:, 1:].flatten(0, 1), backbone.tuple_head).backward()
    without = [name for name, p in backbone.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_factored_backbone_reads_attributes_and_no_token(make_backbone, make_batch):
    backbone, batch = make_backbone(tokenizer_kind="factored"), make_batch()
    assert torch.equal(
        states(backbone, batch), states(backbone, replace(batch, token_ids_BT=1 + batch.token_ids_BT % 19))
    )
    other = replace(batch, attribute_ids_BTF=1 + batch.attribute_ids_BTF % 4)
    assert not torch.allclose(states(backbone, batch), states(backbone, other))
    assert not any("token" in name for name in backbone.state_dict())


def test_factored_backbone_refuses_to_score_tokens(make_backbone):
    with pytest.raises(ConfigurationError, match=r"tokenizer\.vocabulary\.kind: structured"):
        make_backbone(tokenizer_kind="factored").next_token_logits(torch.zeros(1, 16))


def test_saved_factored_backbone_loads_equal(make_backbone, make_batch, tmp_path):
    backbone, batch = make_backbone(tokenizer_kind="factored"), make_batch()
    backbone.save(tmp_path)
    loaded = Backbone.load(tmp_path)
    assert (loaded.tokenizer_kind, loaded.digest) == ("factored", backbone.digest)
    assert torch.equal(tuple_losses(loaded, batch), tuple_losses(backbone, batch))


def test_description_of_a_structured_backbone_names_no_kind(make_backbone, tmp_path):
    # Digests and files from before there were two kinds stay valid.
    make_backbone().save(tmp_path)
    assert "tokenizer_kind" not in json.loads(next(tmp_path.rglob("config.json")).read_text())


def tamper(folder, change):
    """Publish the backbone again after `change(tensors, description)`, so that the digests agree."""
    generation = next(p for p in folder.iterdir() if p.is_dir())
    tensors = load_file(generation / "backbone.safetensors")
    description = json.loads((generation / "config.json").read_text())
    change(tensors, description)

    def write(temporary):
        save_file(tensors, temporary / "backbone.safetensors")
        (temporary / "config.json").write_text(json.dumps(description))

    publish_folder(folder, write)


CHANGES = {
    "not finite": lambda tensors, _: tensors["norm.weight"].fill_(math.nan),
    "has shape": lambda tensors, _: tensors.update({"norm.weight": torch.zeros(17)}),
    "holds other weights": lambda tensors, _: tensors.pop("norm.bias"),
    "the description says": lambda _, description: description.update(vocab_size=10**12),
    "unknown key 'layers'": lambda _, description: description["model"].update(layers=3),
    "is not one of": lambda _, description: description.update(tokenizer_kind="joint"),
    "unexpected keyword": lambda _, description: description.update(code="import os"),
}


@pytest.mark.parametrize("message", CHANGES)
def test_unfit_weights_are_refused(message, make_backbone, tmp_path):
    make_backbone().save(tmp_path)
    tamper(tmp_path, CHANGES[message])
    with pytest.raises(ArtifactError, match=message):
        Backbone.load(tmp_path)


def test_instant_until_which_it_learnt_is_saved_and_moves_no_digest(make_backbone, tmp_path):
    backbone = make_backbone()
    backbone.save(tmp_path)
    assert "learnt_until" not in open_published(tmp_path)[1]
    assert Backbone.load(tmp_path).learnt_until is None
    backbone.learnt_until = "2024-03-01T12:00:00"
    backbone.save(tmp_path)
    loaded = Backbone.load(tmp_path)
    assert loaded.learnt_until == "2024-03-01T12:00:00"
    assert loaded.digest == make_backbone().digest


def test_instant_that_is_no_text_is_refused(make_backbone, tmp_path):
    backbone = make_backbone()
    backbone.learnt_until = 20240301
    backbone.save(tmp_path)
    with pytest.raises(ArtifactError, match="learnt_until"):
        Backbone.load(tmp_path)


def test_flipped_bit_in_a_saved_backbone_is_refused(make_backbone, tmp_path):
    make_backbone().save(tmp_path)
    file = next(tmp_path.rglob("backbone.safetensors"))
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"backbone\.safetensors has changed"):
        Backbone.load(tmp_path)


def test_missing_backbone_names_the_pipeline(tmp_path):
    with pytest.raises(ArtifactError, match="Run the pipeline"):
        Backbone.load(tmp_path / "nothing")
