"""Equal numbers of weights: a larger model that wins says nothing about what it was given.

Only weights that compute are counted. The tables that hold one vector per token, attribute value or profile value have
the size of the ledger, not of an idea; a variant that reads fewer of them would be paid back in layers.
"""

import math

import torch

from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.tokenizer.sequences import TokenSequences

TOLERANCE = 0.02  # counts that differ by less are called equal
# Prefixes of the weights with a row per id of the ledger.
_TABLES = ("embedding.token.", "embedding.attributes.", "embedding.profile.attributes.", "token_bias_V")


def count_parameters(config: ModelConfig, sequences: TokenSequences) -> int:
    """Weights of a backbone of this configuration, without the tables of tokens, attributes and profiles."""
    backbone = shape_backbone(config, sequences)
    return sum(p.numel() for name, p in backbone.named_parameters() if not name.startswith(_TABLES))


def shape_backbone(config: ModelConfig, sequences: TokenSequences) -> Backbone:
    """A backbone of this configuration with shapes and no memory."""
    with torch.device("meta"):
        return Backbone(
            config,
            vocab_size=sequences.vocab_size,
            attribute_sizes=sequences.attribute_sizes,
            profile_sizes=sequences.profile_sizes,
        )


def match_size(config: ModelConfig, sequences: TokenSequences, target: int) -> dict[str, int]:
    """The one key that brings the count nearest to `target`: the feed-forward width, else the number of layers.

    The count is a straight line in either, so two points of it are enough. A layer is a coarse measure: see whether the
    count it gives is within `TOLERANCE`.

    Args:
        config: of the variant.
        sequences: whose numbers of attributes decide the sizes.
        target: the count to meet.

    Returns:
        {"feed_forward_dim": ...}, or {"num_layers": ...} where the blocks have no feed-forward part.

    Raises:
        ValueError: the rest of the model has more weights than the target already; the message has both counts.
    """
    for key in ("feed_forward_dim", "num_layers"):
        at_1, at_2 = (count_parameters(config.model_copy(update={key: n}), sequences) for n in (1, 2))
        if at_1 != at_2:
            break
    best = 1 + math.floor((target - at_1) / (at_2 - at_1) + 0.5)
    if best < 1:
        raise ValueError(
            f"even with {key} 1 it has {at_1:,} weights, the reference {target:,}. State a smaller num_layers or dim; "
            "or state feed_forward_dim, or equal_parameters: false, to compare models of unequal size"
        )
    return {key: best}
