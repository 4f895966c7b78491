"""How well the model predicts a fixed sample of validation events.

Shape letters: B windows, T positions, N positions with a target, D width, V vocabulary.
"""

import torch
from torch.nn.functional import cross_entropy

from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.training.batches import IGNORE, Windows, make_batch
from panther_pipeline.training.losses import MAX_LOGITS
from panther_pipeline.training.protocol import NextTokenModel


@torch.no_grad()
def evaluate(
    model: NextTokenModel, sequences: TokenSequences, windows: Windows, batch_size: int, device: torch.device
) -> dict[str, float]:
    """Mean negative log-likelihood (nats) and hit rates over the full vocabulary, in float32.

    A tie with the target counts against the model, so that a constant score is not a hit.

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
        h_ND, targets_N = model(batch.events)[is_target_BT], batch.targets_BT[is_target_BT]
        chunk = max(1, MAX_LOGITS // model.vocab_size)
        for h_nD, targets_n in zip(h_ND.split(chunk), targets_N.split(chunk), strict=True):
            logits_nV = model.next_token_logits(h_nD).float()
            rank_n = (logits_nV >= logits_nV.gather(1, targets_n[:, None])).sum(-1)
            nll = cross_entropy(logits_nV, targets_n, reduction="sum")
            sums += torch.tensor([nll.item(), (rank_n <= 1).sum().item(), (rank_n <= 10).sum().item()])
        num_targets += len(targets_N)
    model.train(was_training)
    if num_targets == 0:
        return {}
    return dict(zip(["nll", "hr@1", "hr@10"], (sums / num_targets).tolist(), strict=True))
