from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import cross_entropy

from panther_pipeline.training.losses import draw_candidates, sampled_token_loss
from panther_pipeline.training.losses.sampled import Candidates

V, D = 12, 5


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def skewed(vocab_size=V):
    """Frequencies like those of tokens: 1/rank², [PAD] never."""
    frequency_V = torch.arange(vocab_size, dtype=torch.float64).clamp(min=1) ** -2
    frequency_V[0] = 0
    return frequency_V / frequency_V.sum()


def scores(*rows):
    """Scores of all tokens, far from even; the likeliest are not the most frequent."""
    generator = torch.Generator().manual_seed(7)
    return 2 * torch.randn(*rows, V, generator=generator, dtype=torch.float64)


def by_table(weight_VD):
    """A model whose scores are products of the states with these vectors."""
    return SimpleNamespace(next_token_factors=lambda h_ND, ids_S: (h_ND, weight_VD[ids_S], None))


def draws(num_draws, num_uniform, num_others, corrected=True):
    """Candidates for a batch whose first target is 3 and whose others come as often as `skewed` says."""
    frequency_V = skewed()
    expected_V = num_uniform / (V - 1) + num_others * frequency_V
    drawn = torch.multinomial(frequency_V, num_draws * (num_others + 1), replacement=True).view(num_draws, -1)
    for targets_N in drawn:
        targets_N[0] = 3
        candidates = draw_candidates(targets_N, frequency_V, num_uniform, in_batch=num_others > 0)
        if not corrected:
            count_log_S = candidates.log_weight_S + expected_V[candidates.ids_S].log()
            candidates = Candidates(ids_S=candidates.ids_S, log_weight_S=count_log_S)
        yield candidates


def estimates_of_z(*proposal, corrected=True):
    """Z of the row with target 3, estimated once per draw; and the exact one."""
    logits_1V, target = scores(1), torch.tensor([3])
    h_11, model = torch.ones(1, 1, dtype=torch.float64), by_table(logits_1V.T)
    losses = [sampled_token_loss(h_11, target, model, c) for c in draws(*proposal, corrected=corrected)]
    # The loss is log Z - the target's score.
    return (torch.stack(losses) + logits_1V[0, 3]).exp(), logits_1V[0, 1:].exp().sum()


PROPOSALS = [(4, 0), (0, 30), (3, 30)]  # uniform, in-batch, both


@pytest.mark.parametrize("proposal", PROPOSALS)
def test_estimate_of_the_partition_function_is_unbiased(proposal):
    estimates, exact = estimates_of_z(3000, *proposal)
    error = estimates.std() / len(estimates) ** 0.5
    assert error < 0.03 * exact
    assert (estimates.mean() - exact).abs() < 3.5 * error


@pytest.mark.parametrize("proposal", PROPOSALS)
def test_estimate_without_correction_is_biased(proposal):
    # The red twin of the test above: it would notice.
    estimates, exact = estimates_of_z(1000, *proposal, corrected=False)
    assert (estimates.mean() - exact).abs() > 10 * estimates.std() / len(estimates) ** 0.5
    assert (estimates.mean() - exact).abs() > 0.2 * exact


def test_all_tokens_as_candidates_give_the_full_softmax():
    targets_N = torch.tensor([3, 1, 1, 11, 7])
    results = []
    for sampled in (True, False):
        generator = torch.Generator().manual_seed(1)
        h_ND = torch.randn(5, D, generator=generator, dtype=torch.float64).requires_grad_()
        weight_VD = torch.randn(V, D, generator=generator, dtype=torch.float64).requires_grad_()
        if sampled:
            candidates = draw_candidates(targets_N, skewed(), 10_000, in_batch=False)
            loss = sampled_token_loss(h_ND, targets_N, by_table(weight_VD), candidates)
        else:
            loss = cross_entropy((h_ND @ weight_VD.T)[:, 1:], targets_N - 1)  # [PAD] is no candidate
        loss.backward()
        results.append((loss.detach(), h_ND.grad, weight_VD.grad))
    for ours, full in zip(*results, strict=True):
        assert torch.allclose(ours, full, rtol=1e-12, atol=1e-14)


def error_of_mean_gradient(*proposal, corrected=True):
    """Of the loss by the state, averaged over draws; relative to the exact gradient's length."""
    generator = torch.Generator().manual_seed(2)
    weight_VD = torch.randn(V, D, generator=generator, dtype=torch.float64)
    h_1D = torch.randn(1, D, generator=generator, dtype=torch.float64).requires_grad_()
    gradients = [
        torch.autograd.grad(sampled_token_loss(h_1D, torch.tensor([3]), by_table(weight_VD), candidates), h_1D)[0]
        for candidates in draws(*proposal, corrected=corrected)
    ]
    exact = torch.autograd.grad(cross_entropy((h_1D @ weight_VD.T)[:, 1:], torch.tensor([2])), h_1D)[0]
    return ((torch.stack(gradients).mean(0) - exact).norm() / exact.norm()).item()


# Uniform, in-batch, both: few candidates, then many. The gradient's bias falls as 1/S.
@pytest.mark.parametrize(("few", "many"), [((2, 0), (10, 0)), ((0, 20), (0, 2000)), ((2, 20), (2, 2000))])
def test_gradient_comes_closer_with_more_candidates(few, many):
    error = error_of_mean_gradient(1000, *many)
    assert error < 0.05
    assert error_of_mean_gradient(1000, *few) > 5 * error


@pytest.mark.parametrize("many", [(0, 2000), (2, 2000)])
def test_gradient_without_correction_stays_wrong(many):
    # The red twin of the test above.
    assert error_of_mean_gradient(300, *many, corrected=False) > 0.3


def test_uniform_negatives_are_different_equally_likely_and_never_padding():
    counts_V = torch.zeros(V, dtype=torch.int64)
    for _ in range(2000):
        candidates = draw_candidates(torch.tensor([3]), skewed(), 4, in_batch=False)
        drawn = candidates.ids_S[candidates.log_weight_S.isfinite()]
        assert len(drawn) == len(drawn.unique()) == 4
        assert torch.equal(candidates.log_weight_S.exp()[candidates.log_weight_S.isfinite()].float(),
                           torch.full((4,), 11 / 4))  # fmt: skip
        counts_V[drawn] += 1
    assert counts_V[0] == 0
    assert ((counts_V[1:] - 2000 * 4 / 11).abs() < 4 * (2000 * 4 / 11 * 7 / 11) ** 0.5).all()


def test_targets_are_negatives_of_other_rows_only_when_asked():
    targets_N = torch.tensor([3, 5, 5])
    with_batch = draw_candidates(targets_N, skewed(), 0, in_batch=True)
    assert with_batch.ids_S.tolist() == [3, 5]
    expected = torch.tensor([1, 2]) / (2 * skewed()[[3, 5]])  # two other rows
    assert torch.allclose(with_batch.log_weight_S, expected.log())
    without = draw_candidates(targets_N, skewed(), 1, in_batch=False)
    assert set(without.ids_S.tolist()) >= {3, 5}
    assert without.log_weight_S.isfinite().sum() == 1


def test_negative_equal_to_the_target_is_no_negative():
    targets_N = torch.tensor([3, 5, 5])
    candidates = draw_candidates(targets_N, skewed(), 0, in_batch=True)
    loss = sampled_token_loss(
        torch.zeros(3, D, dtype=torch.float64), targets_N, by_table(torch.zeros(V, D, dtype=torch.float64)), candidates
    )
    of_3, of_5 = candidates.log_weight_S.exp()
    assert loss.item() == pytest.approx(((1 + of_5).log() + 2 * (1 + of_3).log()).item() / 3)


def test_padding_is_never_scored():
    for _ in range(50):
        candidates = draw_candidates(torch.tensor([3, 4]), skewed(), 8, in_batch=True)
        assert candidates.ids_S.min() >= 1


def test_lonely_row_without_negatives_costs_nothing():
    h_1D = torch.randn(1, D, dtype=torch.float64).requires_grad_()
    weight_VD = torch.randn(V, D, dtype=torch.float64)
    candidates = draw_candidates(torch.tensor([3]), skewed(), 0, in_batch=True)
    loss = sampled_token_loss(h_1D, torch.tensor([3]), by_table(weight_VD), candidates)
    loss.backward()
    assert loss == 0
    assert torch.equal(h_1D.grad, torch.zeros(1, D, dtype=torch.float64))
