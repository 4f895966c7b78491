"""How well the model predicts a fixed sample of validation events.

Shape letters: B windows, T positions, N positions with a target, F token attributes, D width, V vocabulary.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from panther_pipeline.model.tuple_head import TupleHead
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.training.batches import IGNORE, Windows, make_batch
from panther_pipeline.training.losses.linear_cross_entropy import MAX_LOGITS
from panther_pipeline.training.protocol import NextTokenModel

METRICS = ("nll", "hr@1", "hr@10")


@torch.no_grad()
def evaluate(
    model: NextTokenModel, sequences: TokenSequences, windows: Windows, batch_size: int, device: torch.device
) -> dict[str, float]:
    """Mean negative log-likelihood (nats) and hit rates over the full vocabulary, in float32.

    A model with a `tuple_head` is measured on whole tuples: its numbers are not those of tokens, which group the rare
    ones. A tie between tokens counts against the model, so that a constant score is not a hit.

    Returns:
        {"nll", "hr@1", "hr@10"}; empty without a window.
    """
    was_training = model.training
    model.eval()
    sums = torch.zeros(3, dtype=torch.float64)
    num_targets = 0
    order = (windows.stops_W - windows.starts_W).argsort(kind="stable")
    for start in range(0, len(windows), batch_size):
        batch = make_batch(sequences, windows.take(order[start : start + batch_size])).to(device)
        is_target_BT = batch.targets_BT != IGNORE
        h_ND = model(batch.events)[is_target_BT]
        if getattr(model, "tuple_head", None) is None:
            sums += _sums_of_tokens(model, h_ND, batch.targets_BT[is_target_BT])
        else:
            sums += _sums_of_tuples(model.tuple_head, h_ND, batch.attribute_targets_BTF[is_target_BT])
        num_targets += len(h_ND)
    model.train(was_training)
    if num_targets == 0:
        return {}
    return dict(zip(METRICS, (sums / num_targets).tolist(), strict=True))


def _sums_of_tokens(model: NextTokenModel, h_ND: Tensor, targets_N: Tensor) -> Tensor:
    """-log p and hits at 1 and 10, summed over the targets."""
    sums = torch.zeros(3, dtype=torch.float64)
    chunk = max(1, MAX_LOGITS // model.vocab_size)
    h_ND, weight_VD, bias_V = model.next_token_factors(h_ND)
    for h_nD, targets_n in zip(h_ND.split(chunk), targets_N.split(chunk), strict=True):
        logits_nV = linear(h_nD, weight_VD, bias_V).float()
        rank_n = (logits_nV >= logits_nV.gather(1, targets_n[:, None])).sum(-1)
        nll = cross_entropy(logits_nV, targets_n, reduction="sum")
        sums += torch.tensor([nll.item(), (rank_n <= 1).sum().item(), (rank_n <= 10).sum().item()])
    return sums


def _sums_of_tuples(head: TupleHead, h_ND: Tensor, attribute_ids_NF: Tensor) -> Tensor:
    ids_NKF, _ = head.likeliest(h_ND, 10)
    is_hit_NK = (ids_NKF == attribute_ids_NF[:, None]).all(-1)
    nll = -head.log_prob(h_ND, attribute_ids_NF).double().sum()
    return torch.stack([nll, is_hit_NK[:, :1].sum().double(), is_hit_NK.sum().double()]).cpu()
