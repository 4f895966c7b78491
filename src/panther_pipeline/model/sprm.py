"""Sequential pattern recognition (paper §3.3): recent order by convolution, kinds of behaviour by prototypes.

Shape letters: B windows, T events, D width, H heads, C channels of a head, K prototypes, S taps of a
convolution.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import leaky_relu, pad, scaled_dot_product_attention, softmax

from panther_pipeline.model.attention import join_heads, split_heads
from panther_pipeline.model.config import ModelConfig


class DilatedConvolutions(nn.Module):
    """Depthwise causal convolutions of several dilations, summed with the residual, then LeakyReLU.

    All of them are linear in the same input, so taps at the same distance are added before they are applied:
    with kernel 3 and dilations 1 and 2, event i reads events i, i-1, i-2 and i-4, in four shifted products.
    """

    def __init__(self, dim: int, kernel_size: int, dilations: list[int]) -> None:
        super().__init__()
        self.dilations = dilations
        # weight[r, k]: tap k of dilation r, one number per channel; tap 0 is the event itself.
        self.weight = nn.Parameter(torch.empty(len(dilations), kernel_size, dim))
        nn.init.normal_(self.weight, std=(kernel_size * len(dilations)) ** -0.5)

    def forward(self, x_BTD: Tensor) -> Tensor:
        taps = self.taps()
        weight_SD = torch.stack(list(taps.values()))
        # The residual is one more of the event itself, distance 0, which is the first tap.
        weight_SD = weight_SD + (torch.arange(len(taps), device=weight_SD.device) == 0)[:, None]
        return leaky_relu(ShiftedProducts.apply(x_BTD, weight_SD.to(x_BTD.dtype), tuple(taps)))

    def taps(self) -> dict[int, Tensor]:
        """How far back each tap reads, in events, and its weight per channel."""
        taps: dict[int, Tensor] = {}
        for dilation, weight_KD in zip(self.dilations, self.weight, strict=True):
            for k, weight_D in enumerate(weight_KD):
                distance = k * dilation
                taps[distance] = taps[distance] + weight_D if distance in taps else weight_D
        return taps


class ShiftedProducts(torch.autograd.Function):
    """Σ_s weight_s · (the event s.distance before), per channel, in place.

    Forward and backward together take a third of the time of sums of shifted copies.
    """

    @staticmethod
    def forward(ctx: Any, x_BTD: Tensor, weight_SD: Tensor, distances: tuple[int, ...]) -> Tensor:
        """Args: distances: S numbers of events, the first 0."""
        ctx.save_for_backward(x_BTD, weight_SD)
        ctx.distances = distances
        out_BTD = x_BTD * weight_SD[0]
        for distance, weight_D in zip(distances[1:], weight_SD[1:], strict=True):
            out_BTD[:, distance:].addcmul_(_until(x_BTD, distance), weight_D)
        return out_BTD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BTD: Tensor) -> tuple[Tensor, Tensor, None]:
        x_BTD, weight_SD = ctx.saved_tensors
        grad_x_BTD = grad_BTD * weight_SD[0]
        for distance, weight_D in zip(ctx.distances[1:], weight_SD[1:], strict=True):
            _until(grad_x_BTD, distance).addcmul_(grad_BTD[:, distance:], weight_D)
        grad_weight = [(grad_BTD[:, distance:] * _until(x_BTD, distance)).sum((0, 1)) for distance in ctx.distances]
        return grad_x_BTD, torch.stack(grad_weight), None


def _until(x_BTD: Tensor, distance: int) -> Tensor:
    """All events but the last `distance`; none of a shorter window."""
    return x_BTD[:, : max(0, x_BTD.shape[1] - distance)]


class DenseConvolution(nn.Module):
    """One causal convolution that mixes channels, added to its input, then LeakyReLU (PANTHER's released code)."""

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.mix = nn.Linear(kernel_size * dim, dim, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        num_events = x_BTD.shape[1]
        padded = pad(x_BTD, (0, 0, self.kernel_size - 1, 0))
        shifted = [padded[:, start : start + num_events] for start in range(self.kernel_size)]
        return leaky_relu(x_BTD + self.mix(torch.cat(shifted, dim=-1)))


class PatternRecognition(nn.Module):
    """Convolutions, then attention of every event to K learnable prototypes; cost grows with T·K, not T²."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.dim
        self.num_heads = config.num_heads
        self.convolutions = (
            DilatedConvolutions(dim, config.kernel_size, config.dilations)
            if config.convolution == "dilated"
            else DenseConvolution(dim, config.kernel_size)
        )
        self.prototypes_KD = nn.Parameter(torch.empty(config.num_prototypes, dim))
        nn.init.normal_(self.prototypes_KD)
        self.prototype_norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim, bias=False)
        self.key_value = nn.Linear(dim, 2 * dim, bias=False)
        self.output_norm = nn.LayerNorm(dim)

    def forward(self, x_BTD: Tensor) -> Tensor:
        q_BHTC, k_HKC, v_HKC = self._query_key_value(x_BTD)
        batch = (len(x_BTD), -1, -1, -1)
        mixed_BHTC = scaled_dot_product_attention(q_BHTC, k_HKC.expand(batch), v_HKC.expand(batch))
        return self.output_norm(join_heads(mixed_BHTC))

    def prototype_weights(self, x_BTD: Tensor) -> Tensor:
        """How much each event resembles each prototype: (B, T, K), rows sum to 1, mean over the heads."""
        q_BHTC, k_HKC, _ = self._query_key_value(x_BTD)
        scores_BHTK = q_BHTC @ k_HKC.transpose(-1, -2) * q_BHTC.shape[-1] ** -0.5
        return softmax(scores_BHTK, dim=-1).mean(dim=1)

    def _query_key_value(self, x_BTD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q_BHTC = split_heads(self.query(self.convolutions(x_BTD)), self.num_heads)
        key_KD, value_KD = self.key_value(self.prototype_norm(self.prototypes_KD)).chunk(2, dim=-1)
        return q_BHTC, split_heads(key_KD, self.num_heads), split_heads(value_KD, self.num_heads)
