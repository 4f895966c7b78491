"""DeepFM: a straight line, all products of two fields, and hidden layers, of the same embedded fields.

Different here: a field is a number with a periodic embedding of its own, and the sequence embedding is one more field.

Shape letters: R rows, F numbers, W width of a field, D embedding width.

Source: Guo et al. 2017, "DeepFM" (arXiv 1703.04247), equations 2 to 4.
"""

import torch
from torch import Tensor, nn

from panther_pipeline.scoring.networks.base import HeadNetwork, hidden_layers
from panther_pipeline.scoring.networks.config import NetworkConfig
from panther_pipeline.scoring.networks.numbers import PeriodicEmbedding


class DeepFactorizationMachine(HeadNetwork):
    """The sum of the three."""

    def __init__(self, num_numbers: int, embedding_dim: int, config: NetworkConfig) -> None:
        super().__init__(num_numbers, embedding_dim)
        self.numbers = PeriodicEmbedding(num_numbers, config)
        self.sequence = nn.Linear(embedding_dim, config.number_width)
        self.line = nn.Linear(num_numbers + embedding_dim, 1)
        sizes = [(num_numbers + 1) * config.number_width, *config.deep_widths]
        self.deep = hidden_layers(sizes, config.dropout)
        self.out = nn.Linear(sizes[-1], 1)

    def score(self, z_RF: Tensor, e_RD: Tensor) -> Tensor:
        fields_RFW = torch.cat([self.numbers(z_RF), self.sequence(e_RD)[:, None]], dim=1)
        line_R = self.line(torch.cat([z_RF, e_RD], dim=1)).squeeze(1)
        # The sum over all pairs of fields, in time linear in their number.
        pairs_R = (fields_RFW.sum(dim=1).square() - fields_RFW.square().sum(dim=1)).sum(dim=1) / 2
        # Of that many products: without the scale they drown the line at the start.
        pairs_R = pairs_R / fields_RFW.shape[1]
        return line_R + pairs_R + self.out(self.deep(fields_RFW.flatten(1))).squeeze(1)
