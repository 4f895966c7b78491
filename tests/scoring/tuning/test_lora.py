"""Low-rank updates: nothing at the start, few weights, plain weights in the end."""

import pytest
import torch

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.model.batch import EventBatch
from panther_pipeline.scoring.tuning.config import LoraConfig
from panther_pipeline.scoring.tuning.lora import add_low_rank_updates, merge_low_rank_updates

CONFIG = LoraConfig(learning_rate=0.01, rank=2, alpha=4.0, adapt_feed_forward=False)
DIM, HIDDEN = 16, 32


@pytest.fixture
def batch(case) -> EventBatch:
    starts = case.sequences.offsets_U1[:4]
    return EventBatch.from_windows(case.sequences, torch.arange(4).numpy(), starts, starts + 16)


def trainable(backbone) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in backbone.named_parameters() if p.requires_grad}


def draw_updates(backbone) -> None:
    """As if trained: B is no longer zero."""
    generator = torch.Generator().manual_seed(3)
    for parameter in trainable(backbone).values():
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)


@pytest.mark.parametrize("mixer", ["both", "attention", "sprm", "hstu"])
def test_updated_backbone_starts_as_the_frozen_one(make_backbone, batch, mixer):
    backbone = make_backbone(mixer=mixer)
    before = backbone(batch)
    add_low_rank_updates(backbone, CONFIG, 0.0)
    assert torch.equal(backbone(batch), before)
    draw_updates(backbone)
    assert not torch.allclose(backbone(batch), before, atol=1e-3)


@pytest.mark.parametrize("mixer", ["both", "hstu"])
def test_merged_weights_give_the_states_of_the_updates(make_backbone, batch, mixer):
    backbone = make_backbone(mixer=mixer)
    plain = {name: tensor.shape for name, tensor in backbone.state_dict().items()}
    digest = backbone.digest
    add_low_rank_updates(backbone, CONFIG, 0.0)
    draw_updates(backbone)
    updated = backbone(batch)
    merge_low_rank_updates(backbone)
    assert {name: tensor.shape for name, tensor in backbone.state_dict().items()} == plain
    torch.testing.assert_close(backbone(batch), updated, atol=1e-5, rtol=0)
    assert backbone.digest != digest


@pytest.mark.parametrize("feed_forward", [False, True])
def test_number_of_trained_weights_is_as_stated(make_backbone, feed_forward):
    backbone = make_backbone(mixer="both")
    config = CONFIG.model_copy(update={"adapt_feed_forward": feed_forward})
    groups = add_low_rank_updates(backbone, config, 0.0)
    square = DIM + DIM
    per_block = config.rank * ((3 + 1) * square + (1 + 2) * square + feed_forward * 2 * (DIM + HIDDEN))
    count = sum(p.numel() for p in trainable(backbone).values())
    assert count == 2 * per_block
    assert count == sum(p.numel() for group in groups for p in group["params"])


def test_updates_alone_get_gradients(make_backbone, batch):
    backbone = make_backbone()
    add_low_rank_updates(backbone, CONFIG, 0.0)
    draw_updates(backbone)
    backbone(batch).square().mean().backward()
    for name, parameter in backbone.named_parameters():
        assert (parameter.grad is not None) == (name.endswith(("a_PRI", "b_POR"))), name


def test_query_key_and_value_are_updated_apart(make_backbone):
    backbone = make_backbone(mixer="attention")
    add_low_rank_updates(backbone, CONFIG, 0.0)
    layer = backbone.blocks[0].attention.query_key_value
    update, before = layer.parametrizations.weight[0], layer.weight.detach().clone()
    torch.nn.init.ones_(update.b_POR.data[1])  # key
    changed = (layer.weight != before).any(dim=1)
    assert changed.tolist() == [False] * DIM + [True] * DIM + [False] * DIM
    assert torch.linalg.matrix_rank(layer.weight - before) <= CONFIG.rank


def test_rank_that_is_not_low_is_refused(make_backbone):
    with pytest.raises(ConfigurationError, match="allowed: 1 to 15"):
        add_low_rank_updates(make_backbone(), CONFIG.model_copy(update={"rank": 16}), 0.0)


def test_backbone_without_attention_is_refused_with_advice(make_backbone):
    with pytest.raises(ConfigurationError, match=r"mixer: gru.*adapt_feed_forward"):
        add_low_rank_updates(make_backbone(mixer="gru"), CONFIG, 0.0)
    config = CONFIG.model_copy(update={"adapt_feed_forward": True})
    assert add_low_rank_updates(make_backbone(mixer="gru"), config, 0.0)
