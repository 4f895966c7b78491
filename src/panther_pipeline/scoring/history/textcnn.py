"""TextCNN: filters that answer to a few transactions in a row, wherever in the history they stand.

Shape letters: B rows, F numbers, D embedding width, L recent events, X width of an event, K filters of a width.

Source: Kim 2014, "Convolutional Neural Networks for Sentence Classification" (arXiv 1408.5882), §2, with vectors that
are not trained ("static").
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from panther_pipeline.scoring.history.config import TextCNNConfig
from panther_pipeline.scoring.history.network import HistoryPool


class TextCNN(HistoryPool):
    """The highest answer of each filter."""

    def __init__(self, vector_width: int, config: TextCNNConfig, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv1d(vector_width, config.num_filters, w) for w in config.widths)
        self.dropout = nn.Dropout(dropout)
        self.width = config.num_filters * len(config.widths)

    def forward(self, z_BF: Tensor, e_BD: Tensor, history_BLX: Tensor, is_event_BL: Tensor, own_BD: Tensor) -> Tensor:
        """(B, widths · K)."""
        history_BXL = history_BLX.transpose(1, 2)
        highest = []
        for convolution in self.convolutions:
            # An answer stands at the newest event it reads; before a user's first event there are zeros.
            answer_BKL = convolution(pad(history_BXL, (convolution.kernel_size[0] - 1, 0))).relu()
            highest.append((answer_BKL * is_event_BL[:, None]).amax(dim=-1))
        return self.dropout(torch.cat(highest, dim=1))
