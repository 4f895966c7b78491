import pytest
import torch
from torch.nn.functional import cross_entropy

from panther_pipeline.model.tuple_head import TupleHead
from panther_pipeline.training.losses import contrastive_loss, next_token_loss, next_tuple_loss, similar_profiles


@pytest.mark.parametrize("max_logits", [50, 170, 10_000])
def test_chunked_loss_and_gradients_equal_plain(max_logits):
    generator = torch.Generator().manual_seed(0)
    results = []
    for chunked in (True, False):
        h_ND = torch.randn(37, 8, generator=generator.manual_seed(1), requires_grad=True)
        weight_VD = torch.randn(50, 8, generator=generator.manual_seed(2), requires_grad=True)
        targets_N = torch.randint(0, 50, (37,), generator=generator.manual_seed(3))
        if chunked:
            loss = next_token_loss(h_ND, targets_N, lambda h, w=weight_VD: h @ w.T, 50, max_logits)
        else:
            loss = cross_entropy(h_ND @ weight_VD.T, targets_N)
        loss.backward()
        results.append((loss.detach(), h_ND.grad, weight_VD.grad))
    for chunked, plain in zip(*results, strict=True):
        assert torch.allclose(chunked, plain, atol=1e-6)


def test_chunked_loss_never_holds_more_logits_than_told():
    sizes = []

    def logits(h):
        sizes.append(h.shape[0] * 50)
        return h @ torch.ones(8, 50)

    next_token_loss(
        torch.randn(37, 8, requires_grad=True), torch.zeros(37, dtype=torch.int64), logits, 50, 200
    ).backward()
    assert max(sizes) <= 200
    assert sum(sizes) >= 37 * 50


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


def test_similar_users_differ_in_one_attribute_at_most():
    profile_ids_BP = torch.tensor([[1, 1, 1], [1, 1, 2], [1, 3, 2], [1, 1, 1]])
    expected = [[0, 1, 0, 1], [1, 0, 1, 1], [0, 1, 0, 0], [1, 1, 0, 0]]
    assert similar_profiles(profile_ids_BP).int().tolist() == expected
    assert similar_profiles(profile_ids_BP[:, :1]).sum() == 12
    assert similar_profiles(profile_ids_BP[:, 2:]).int().tolist()[0] == [0, 0, 0, 1]


def test_contrastive_loss_is_lower_when_similar_users_are_close():
    profile_ids_BP = torch.tensor([[1, 1], [1, 1], [2, 2], [2, 2]])
    near, far = torch.eye(2).repeat_interleave(2, 0), torch.eye(2).repeat(2, 1)
    assert contrastive_loss(near, profile_ids_BP, 0.1) < 1e-3
    assert contrastive_loss(far, profile_ids_BP, 0.1) > 5


def test_contrastive_loss_equals_its_formula():
    profile_BD = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    profile_ids_BP = torch.tensor([[1, 1], [1, 2], [3, 3], [3, 4], [3, 3], [5, 6]])
    unit = profile_BD / profile_BD.norm(dim=1, keepdim=True)
    similar = similar_profiles(profile_ids_BP)
    per_user = []
    for u in range(6):
        others = [v for v in range(6) if v != u]
        total = sum((unit[u] @ unit[v] / 0.5).exp() for v in others)
        positives = [v for v in others if similar[u, v]]
        if positives:
            per_user.append(-sum(((unit[u] @ unit[v] / 0.5).exp() / total).log() for v in positives) / len(positives))
    assert len(per_user) == 5
    assert torch.allclose(contrastive_loss(profile_BD, profile_ids_BP, 0.5), torch.stack(per_user).mean(), atol=1e-6)


def test_contrastive_loss_without_similar_users_is_zero():
    profile_BD = torch.randn(3, 4, requires_grad=True)
    loss = contrastive_loss(profile_BD, torch.tensor([[1, 1], [2, 2], [3, 3]]), 0.1)
    loss.backward()
    assert loss == 0
    assert torch.isfinite(profile_BD.grad).all()
