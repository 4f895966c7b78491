"""Full fine-tuning with a learning rate per block: what is general is changed little, what is near the task more.

Source: discriminative fine-tuning, Howard & Ruder 2018 (arXiv 1801.06146 §3.2); one decay per layer as in
ELECTRA, Clark et al. 2020 (arXiv 2003.10555, table 7).
"""

from typing import Any

from panther_pipeline.model.backbone import Backbone
from panther_pipeline.scoring.tuning.config import LayerwiseConfig
from panther_pipeline.training.optimizer import decay_groups


def unfreeze_layers(backbone: Backbone, config: LayerwiseConfig, weight_decay: float) -> list[dict[str, Any]]:
    """Let everything be trained that the state depends on; what only scores next transactions stays frozen.

    With L blocks, block l = 1 … L gets learning_rate · layer_decay^(L - l), the embedding (l = 0) the least; the norm
    after the last block goes with that block.

    Returns:
        Parameter groups of an optimizer, from the embedding upwards.
    """
    backbone.requires_grad_(False)
    layers = [[backbone.embedding], *([block] for block in backbone.blocks)]
    layers[-1].append(backbone.norm)
    groups = []
    for depth, modules in enumerate(layers):
        rate = config.learning_rate * config.layer_decay ** (len(layers) - 1 - depth)
        parameters = [p for module in modules for p in module.requires_grad_(True).parameters()]
        groups += decay_groups(parameters, weight_decay, lr=rate)
    return groups
