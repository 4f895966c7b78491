import pytest
import torch

from panther_pipeline.model.dropout import Dropout


def dropped(p, shape=(999, 1001), seed=0):
    torch.manual_seed(seed)
    return Dropout(p).train()(torch.ones(shape))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_share_is_dropped_and_the_mean_kept(p):
    y = dropped(p)
    assert (y == 0).float().mean().item() == pytest.approx(p, abs=2e-3)
    assert y.mean().item() == pytest.approx(1, abs=1e-2)
    assert len(y.unique()) == 2


def test_neighbouring_positions_are_dropped_independently():
    gone = (dropped(0.5).flatten()[: 4 * 249_000] == 0).float().view(-1, 4)  # four of a row share a draw
    correlation = torch.corrcoef(gone.T) - torch.eye(4)
    assert correlation.abs().max() < 0.01


def test_mask_is_a_function_of_the_generator():
    assert torch.equal(dropped(0.3, (3, 5, 7)), dropped(0.3, (3, 5, 7)))
    assert not torch.equal(dropped(0.3, (3, 5, 7)), dropped(0.3, (3, 5, 7), seed=1))


def test_gradient_passes_where_nothing_was_dropped():
    x = torch.ones(50, requires_grad=True)
    y = Dropout(0.5).train()(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_nothing_is_dropped_when_not_training_or_at_zero():
    x = torch.randn(4, 5)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0).train()(x), x)


def test_half_precision_stays_half():
    assert Dropout(0.1).train()(torch.ones(8, dtype=torch.bfloat16)).dtype == torch.bfloat16
