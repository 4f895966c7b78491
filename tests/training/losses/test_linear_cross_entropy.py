import pytest
import torch
from torch.nn.functional import cross_entropy, linear
from torch.utils._python_dispatch import TorchDispatchMode

from panther_pipeline.training.losses import linear_cross_entropy as module
from panther_pipeline.training.losses.linear_cross_entropy import linear_cross_entropy

N, D, V = 37, 8, 50


def example(dtype=torch.float32):
    """States, class vectors, biases and targets, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(*shape, generator=generator, dtype=dtype) for shape in ((N, D), (V, D), (V,))]
    return [tensor.requires_grad_() for tensor in tensors], torch.randint(0, V, (N,), generator=generator)


class LargestTensor(TorchDispatchMode):
    """Remembers the most numbers that one operation gave."""

    most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.most = max(self.most, result.numel())
        return result


# Chunks of 1, 3 and 36 rows (the last of 1), exactly one of 37, more room than needed, and the default.
@pytest.mark.parametrize("rows", [1, 3, 36, 37, 1000, None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("has_bias", [True, False])
def test_loss_and_gradients_equal_plain(rows, dtype, has_bias):
    results = []
    for is_ours in (True, False):
        (h_ND, weight_VD, bias_V), targets_N = example(dtype)
        bias_V = bias_V if has_bias else None
        if is_ours:
            loss = linear_cross_entropy(h_ND, weight_VD, bias_V, targets_N, rows=rows)
        else:
            loss = cross_entropy(linear(h_ND, weight_VD, bias_V), targets_N)
        (3 * loss).backward()
        results.append([loss.detach(), h_ND.grad, weight_VD.grad, *([bias_V.grad] if has_bias else [])])
    for ours, plain in zip(*results, strict=True):
        assert ours.dtype == dtype
        assert (ours - plain).abs().max() <= 1e-6 * plain.abs().max()


def test_what_is_added_to_others_leaves_the_own_target_alone():
    results = []
    others_V = torch.linspace(-3, 3, V)
    others_V[7] = -torch.inf
    for is_ours in (True, False):
        (h_ND, weight_VD, bias_V), targets_N = example()
        targets_N[:3] = 7  # nobody's negative, and still a target
        if is_ours:
            loss = linear_cross_entropy(h_ND, weight_VD, bias_V, targets_N, others_V=others_V, rows=5)
        else:
            logits_NV = linear(h_ND, weight_VD, bias_V)
            is_own_NV = torch.nn.functional.one_hot(targets_N, V).bool()
            loss = cross_entropy(torch.where(is_own_NV, logits_NV, logits_NV + others_V), targets_N)
        loss.backward()
        results.append([loss.detach(), h_ND.grad, weight_VD.grad, bias_V.grad])
    for ours, plain in zip(*results, strict=True):
        assert (ours - plain).abs().max() <= 1e-6 * plain.abs().max()


def test_gradients_are_those_of_finite_differences():
    tensors, targets_N = example(torch.float64)
    assert torch.autograd.gradcheck(lambda h, w, b: linear_cross_entropy(h, w, b, targets_N, rows=5), tensors)


def test_a_target_without_probability_in_float32_costs_what_it_costs():
    h_ND, targets_N = torch.tensor([[1.0], [1.0]]), torch.tensor([0, 1])
    weight_VD = torch.tensor([[0.0], [400.0]], requires_grad=True)
    loss = linear_cross_entropy(h_ND, weight_VD, None, targets_N)
    loss.backward()
    assert loss == 200  # (400 + 0) / 2
    assert weight_VD.grad[:, 0].tolist() == [-0.5, 0.5]


def test_never_more_scores_than_the_rows_of_a_chunk():
    def most(loss):
        with LargestTensor() as largest:
            loss().backward()
        return largest.most

    (h_ND, weight_VD, bias_V), targets_N = example()
    ours = most(lambda: linear_cross_entropy(h_ND, weight_VD, bias_V, targets_N, rows=4))
    assert ours == max(4 * V, N * D, V * D) < N * V
    assert most(lambda: cross_entropy(linear(h_ND, weight_VD, bias_V), targets_N)) == N * V  # the red twin


@pytest.mark.parametrize("classes", [2, 400, 3_704, 100_000, module.MAX_LOGITS, 10 * module.MAX_LOGITS])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_default_rows_are_at_least_one_and_hold_no_more_than_is_allowed(classes, device):
    rows = module._rows(classes, torch.device(device))
    assert rows >= 1
    assert rows == 1 or rows * classes <= module.MAX_LOGITS


@pytest.mark.parametrize("has_bias", [True, False])
def test_under_autocast_products_are_bfloat16_and_sums_float32(has_bias):
    (h_ND, weight_VD, bias_V), targets_N = example()
    bias_V = bias_V if has_bias else None
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(h_ND, weight_VD, bias_V, targets_N, rows=4)
    loss.backward()
    logits_NV = h_ND.bfloat16() @ weight_VD.bfloat16().T
    logits_NV = logits_NV if bias_V is None else logits_NV + bias_V.bfloat16()
    plain = cross_entropy(logits_NV.float(), targets_N)
    assert loss.dtype == h_ND.grad.dtype == weight_VD.grad.dtype == torch.float32
    assert loss.item() == pytest.approx(plain.item(), rel=1e-3)
    ours = h_ND.grad.clone(), weight_VD.grad.clone()
    h_ND.grad = weight_VD.grad = None
    plain.backward()
    for gradient, expected in zip(ours, (h_ND.grad, weight_VD.grad), strict=True):
        assert (gradient - expected).abs().max() < 0.02 * expected.abs().max()
