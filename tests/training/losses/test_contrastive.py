import torch

from panther_pipeline.training.losses import contrastive_loss, similar_profiles


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
