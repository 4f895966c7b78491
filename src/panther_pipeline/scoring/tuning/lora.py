"""Low-rank adaptation: frozen weights plus a product of two thin matrices, which is all that is trained.

Different here: a projection that holds several (query, key and value lie in one matrix) gets a pair of thin matrices
for each of them, and the update is added to the weight rather than to the output: the same number, and merging is
keeping the sum.

Shape letters: P projections in one matrix, R rank, I inputs, O outputs of one projection.

Source: Hu et al. 2021, "LoRA" (arXiv 2106.09685 §4.1).
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.hstu import HstuBlock
from panther_pipeline.scoring.tuning.config import LoraConfig
from panther_pipeline.training.optimizer import decay_groups


class LowRankUpdate(nn.Module):
    """W → W + (alpha / rank) · B A; B starts at zero, so that W starts as it was, bit for bit."""

    def __init__(self, num_inputs: int, num_outputs: int, num_projections: int, config: LoraConfig) -> None:
        super().__init__()
        self.scale = config.alpha / config.rank
        bound = num_inputs**-0.5  # as the released code draws A
        self.a_PRI = nn.Parameter(torch.empty(num_projections, config.rank, num_inputs).uniform_(-bound, bound))
        self.b_POR = nn.Parameter(torch.zeros(num_projections, num_outputs // num_projections, config.rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Args: weight: (P · O, I)."""
        return weight + self.scale * (self.b_POR @ self.a_PRI).flatten(0, 1)


def add_low_rank_updates(backbone: Backbone, config: LoraConfig, weight_decay: float) -> list[dict[str, Any]]:
    """Freeze the backbone and put an update beside every attention projection, and feed-forward layer if asked for.

    A matrix of P projections with I inputs and O outputs each adds P · rank · (I + O) weights to train. They are drawn
    from torch's global random state.

    Returns:
        Parameter groups of an optimizer.

    Raises:
        ConfigurationError: the blocks have nothing to adapt, or the rank is not low for one of the matrices.
    """
    layers = list(_adapted_layers(backbone, config.adapt_feed_forward))
    if not layers:
        raise ConfigurationError(
            f"finetuning.tuning.lora finds no attention in a backbone with pretraining.model.mixer: "
            f"{backbone.config.mixer}. Set adapt_feed_forward: true, or finetuning.tuning.methods: full."
        )
    backbone.requires_grad_(False)
    updates = []
    for layer, num_projections in layers:
        num_outputs, num_inputs = layer.weight.shape
        if config.rank >= (smallest := min(num_inputs, num_outputs // num_projections)):
            raise ConfigurationError(
                f"finetuning.tuning.lora.rank: {config.rank} is not low for projections of {num_inputs} to "
                f"{num_outputs // num_projections} numbers; allowed: 1 to {smallest - 1}."
            )
        updates.append(LowRankUpdate(num_inputs, num_outputs, num_projections, config).to(backbone.device))
        parametrize.register_parametrization(layer, "weight", updates[-1])
    return decay_groups([p for update in updates for p in update.parameters()], weight_decay, lr=config.learning_rate)


def merge_low_rank_updates(backbone: Backbone) -> None:
    """Turn every sum into a plain weight, in place: afterwards the backbone saves and serves like any other."""
    for module in list(backbone.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def _adapted_layers(backbone: Backbone, feed_forward: bool) -> Iterator[tuple[nn.Linear, int]]:
    """Each layer with how many projections its matrix holds."""
    for block in backbone.blocks:
        if isinstance(block, HstuBlock):
            yield from ((block.gate_value_query_key, 4), (block.output, 1))
            continue
        if block.attention is not None:
            yield from ((block.attention.query_key_value, 3), (block.attention.output, 1))
        if block.patterns is not None:
            yield from ((block.patterns.query, 1), (block.patterns.key_value, 2))
        if feed_forward:
            yield from ((layer, 1) for layer in block.feed_forward if isinstance(layer, nn.Linear))
