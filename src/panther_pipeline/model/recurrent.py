"""A recurrent mixer: the strongest simple peer of attention on event sequences (EBES, arXiv 2410.03399).

Shape letters: B windows, T events, D width.
"""

from torch import Tensor, nn


class RecurrentMixer(nn.Module):
    """One layer of gated recurrent units (arXiv 1406.1078); event i reads events up to i, through one state."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.units = nn.GRU(dim, dim, batch_first=True)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.units(x_BTD)[0]
