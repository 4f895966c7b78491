import pytest
import torch
from torch.nn.functional import conv1d, leaky_relu, pad

from panther_pipeline.model.config import ModelConfig
from panther_pipeline.model.sprm import DenseConvolution, DilatedConvolutions, PatternRecognition, ShiftedProducts


@pytest.mark.parametrize(
    ("kernel", "dilations", "expected"), [(3, [1, 2], {0, 1, 2, 4}), (2, [1], {0, 1}), (3, [4], {0, 4, 8})]
)
def test_convolution_reads_exactly_its_receptive_field(kernel, dilations, expected):
    x_BTD = torch.randn(1, 12, 6, requires_grad=True)
    out = DilatedConvolutions(6, kernel, dilations)(x_BTD)
    out[0, 10].sum().backward()
    touched = x_BTD.grad[0].abs().sum(-1).nonzero().flatten()
    assert {10 - t.item() for t in touched} == expected


def test_dense_convolution_reads_exactly_its_receptive_field():
    x_BTD = torch.randn(1, 12, 6, requires_grad=True)
    DenseConvolution(6, 3)(x_BTD)[0, 10, 2].backward()
    assert x_BTD.grad[0].abs().sum(-1).nonzero().flatten().tolist() == [8, 9, 10]
    assert (x_BTD.grad[0, 8] != 0).all(), "every channel reads every channel"


def test_dense_convolution_equals_conv1d():
    module = DenseConvolution(6, 3)
    x_BDT = torch.randn(2, 6, 9)
    weight_DDK = module.mix.weight.unflatten(1, (3, 6)).transpose(1, 2)  # oldest event first, as conv1d has it
    expected = leaky_relu(x_BDT + conv1d(pad(x_BDT, (2, 0)), weight_DDK))
    assert torch.allclose(module(x_BDT.transpose(1, 2)), expected.transpose(1, 2), atol=1e-6)


def test_shifted_products_equal_depthwise_convolution():
    module = DilatedConvolutions(6, 3, [1, 2])
    x_BTD = torch.randn(2, 9, 6)
    x_BDT = x_BTD.transpose(1, 2)
    expected = x_BDT
    for dilation, weight_KD in zip([1, 2], module.weight, strict=True):
        # conv1d has the newest event last, ours first.
        weight_D1K = weight_KD.flip(0).T[:, None]
        expected = expected + conv1d(pad(x_BDT, (2 * dilation, 0)), weight_D1K, dilation=dilation, groups=6)
    assert torch.allclose(module(x_BTD), leaky_relu(expected).transpose(1, 2), atol=1e-6)


@pytest.mark.parametrize("num_events", [1, 3, 9])
def test_shifted_products_have_the_gradients_of_numbers(num_events):
    generator = torch.Generator().manual_seed(0)
    x_BTD = torch.randn(2, num_events, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weight_SD = torch.randn(4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: ShiftedProducts.apply(x, w, (0, 1, 2, 4)), (x_BTD, weight_SD))


def test_prototype_weights_are_those_the_output_is_made_of():
    module = PatternRecognition(ModelConfig(dim=8, num_heads=1, num_prototypes=5))
    x_BTD = torch.randn(2, 7, 8)
    weights_BTK = module.prototype_weights(x_BTD)
    assert weights_BTK.shape == (2, 7, 5)
    assert torch.allclose(weights_BTK.sum(-1), torch.ones(2, 7), atol=1e-6)
    value_KD = module.key_value(module.prototype_norm(module.prototypes_KD))[:, 8:]
    assert torch.allclose(module(x_BTD), module.output_norm(weights_BTK @ value_KD), atol=1e-5)
