import pytest
import torch
from torch.nn.functional import cross_entropy, linear

from panther_pipeline.model.tuple_head import TupleHead
from panther_pipeline.training.losses import next_token_loss, next_tuple_loss

N, D, V = 37, 8, 50


def example(dtype=torch.float32):
    """States, token vectors and targets, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    h_ND = torch.randn(N, D, generator=generator, dtype=dtype).requires_grad_()
    weight_VD = torch.randn(V, D, generator=generator, dtype=dtype).requires_grad_()
    return h_ND, weight_VD, torch.randint(0, V, (N,), generator=generator)


def num_saved(loss, *arguments) -> int:
    """Numbers in all tensors that autograd keeps for the way back."""
    sizes = [0]
    with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
        loss(*arguments)
    return sum(sizes)


# Chunks of 1, 3 and 36 rows (the last of 1), exactly one of 37, and more room than needed.
@pytest.mark.parametrize("rows", [1, 3, 36, 37, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_chunked_loss_and_gradients_equal_plain(rows, dtype):
    h_ND, weight_VD, targets_N = example(dtype)
    loss = next_token_loss(h_ND, targets_N, lambda h: linear(h, weight_VD), V, rows * V)
    loss.backward()
    plain_h_ND, plain_weight_VD, _ = example(dtype)
    plain = cross_entropy(plain_h_ND @ plain_weight_VD.T, targets_N)
    plain.backward()
    assert loss.dtype == dtype
    for ours, expected in ((loss, plain), (h_ND.grad, plain_h_ND.grad), (weight_VD.grad, plain_weight_VD.grad)):
        assert (ours - expected).abs().max() <= 1e-6 * expected.abs().max()


def test_chunked_loss_keeps_no_logits_for_the_way_back():
    h_ND, weight_VD, targets_N = example()

    def loss(max_logits):
        return next_token_loss(h_ND, targets_N, lambda h: linear(h, weight_VD), V, max_logits)

    assert num_saved(loss, 4 * V) <= h_ND.numel() + targets_N.numel() < N * V
    assert num_saved(loss, N * V) >= N * V  # the red twin: all in one chunk


def test_chunked_loss_never_holds_more_logits_than_told():
    h_ND, weight_VD, targets_N = example()
    sizes = []

    def logits(h_nD):
        logits_nV = linear(h_nD, weight_VD)
        sizes.append(logits_nV.numel())
        return logits_nV

    next_token_loss(h_ND, targets_N, logits, V, 4 * V).backward()
    assert max(sizes) == 4 * V
    assert sum(sizes) == 2 * N * V  # forth, and again on the way back


def test_half_precision_logits_are_summed_in_float32():
    h_ND, weight_VD, targets_N = example()
    low_ND, low_VD = h_ND.bfloat16(), weight_VD.bfloat16()
    loss = next_token_loss(low_ND, targets_N, lambda h: linear(h, low_VD), V)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, cross_entropy(linear(low_ND, low_VD).float(), targets_N, reduction="sum") / N)


@pytest.mark.parametrize("max_logits", [20, 10_000])
def test_tuple_loss_and_gradients_equal_minus_log_prob(max_logits):
    torch.manual_seed(0)
    head = TupleHead(8, [5, 4, 6])
    ids_NF = torch.stack([torch.randint(1, size, (37,)) for size in (5, 4, 6)], dim=1)
    results = []
    for loss in (
        lambda h: next_tuple_loss(h, ids_NF, head, max_logits),
        lambda h: -head.log_prob(h, ids_NF).mean(),
    ):
        h_ND = torch.randn(37, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
        head.zero_grad()
        value = loss(h_ND)
        value.backward()
        results.append([value.detach(), h_ND.grad, *(p.grad for p in head.parameters())])
    for ours, plain in zip(*results, strict=True):
        assert torch.allclose(ours, plain, atol=1e-6)
