"""Predicts each attribute of the next event beside its token, so that rare tokens teach through what they share.

Shape letters: N positions with a target, F attributes, S ids of one attribute without padding, D width.
"""

import numpy as np
import torch
from torch import Tensor, nn

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.training.losses.linear_cross_entropy import linear_cross_entropy

# Nats. An attribute that changes once in 700 events has less; divided by so little, its one surprise in a batch of
# 2,000 events would cost as much as the rest together.
_MIN_ENTROPY = 0.01


class AttributeHeads(nn.Module):
    """One linear head per attribute; they start from the attributes' frequencies."""

    def __init__(self, dim: int, counts_f: list[np.ndarray], token_counts_V: np.ndarray) -> None:
        """Attributes that (almost) never change are left out; weights are drawn from torch's generator.

        Args:
            dim: width D of the states.
            counts_f: for each attribute int64 (S + 1,): how often each id was a training target.
            token_counts_V: int64, the same for tokens.

        Raises:
            ConfigurationError: no attribute changes.
        """
        super().__init__()
        entropies = [entropy(counts) for counts in counts_f]
        self.attributes = [f for f, nats in enumerate(entropies) if nats > _MIN_ENTROPY]
        if not self.attributes:
            raise ConfigurationError(
                "no attribute of the training events changes, so there is none to predict. Set attribute_weight: 0."
            )
        self.sizes = [len(counts_f[f]) - 1 for f in self.attributes]
        # Each costs 1 at first, in units of what its frequencies cost; together they cost what the tokens' do.
        self.scales = [entropy(token_counts_V) / entropies[f] / len(self.attributes) for f in self.attributes]
        self.output = nn.Linear(dim, sum(self.sizes))
        weights = self.output.weight.split(self.sizes)
        biases = self.output.bias.split(self.sizes)
        with torch.no_grad():
            for f, weight_SD, bias_S in zip(self.attributes, weights, biases, strict=True):
                # In proportion to the entropy, which the scale takes out again: the pulls on the state start alike
                # too. States have length √D.
                weight_SD.normal_(std=0.05 * entropies[f] / dim**0.5)
                frequency_S = (torch.from_numpy(counts_f[f][1:]) + 0.5) / (counts_f[f][1:] + 0.5).sum()
                bias_S.copy_(frequency_S.log())

    def forward(self, h_ND: Tensor, attribute_ids_NF: Tensor) -> Tensor:
        """Mean over the attributes of cross-entropy / entropy in training, times the tokens' entropy; nats.

        Untrained, it costs as much as the untrained next-token loss, and so does every attribute in its share: none
        drowns the others, and `attribute_weight` means the same on every ledger. Plain sums would follow the
        attribute with most values.

        Args:
            h_ND: states of the positions that have a target.
            attribute_ids_NF: int64 attribute ids of the targets, 1 to S.

        Source: terms scaled to a reference task, TREASURE (arXiv 2511.19693).
        """
        weights, biases = self.output.weight.split(self.sizes), self.output.bias.split(self.sizes)
        losses = [
            scale * linear_cross_entropy(h_ND, weight_SD, bias_S, attribute_ids_NF[:, f] - 1)
            for f, scale, weight_SD, bias_S in zip(self.attributes, self.scales, weights, biases, strict=True)
        ]
        return torch.stack(losses).sum()


def entropy(counts: np.ndarray) -> float:
    """Nats; what a forecaster pays per event that knows the frequencies and nothing else.

    Example:
        >>> round(entropy(np.array([0, 5, 5])), 4)
        0.6931
    """
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())
