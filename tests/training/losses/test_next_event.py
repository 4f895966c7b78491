import torch

from panther_pipeline.model.tuple_head import TupleHead
from panther_pipeline.training.losses import next_tuple_loss


def test_tuple_loss_and_gradients_equal_minus_log_prob():
    torch.manual_seed(0)
    head = TupleHead(8, [5, 4, 6])
    ids_NF = torch.stack([torch.randint(1, size, (37,)) for size in (5, 4, 6)], dim=1)
    results = []
    for loss in (lambda h: next_tuple_loss(h, ids_NF, head), lambda h: -head.log_prob(h, ids_NF).mean()):
        h_ND = torch.randn(37, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
        head.zero_grad()
        value = loss(h_ND)
        value.backward()
        results.append([value.detach(), h_ND.grad, *(p.grad for p in head.parameters())])
    for ours, plain in zip(*results, strict=True):
        assert torch.allclose(ours, plain, atol=1e-6)
