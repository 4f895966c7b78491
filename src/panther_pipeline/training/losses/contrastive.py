"""Places users of similar profiles side by side.

Shape letters: B windows, P profile attributes, D width.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def similar_profiles(profile_ids_BP: Tensor) -> Tensor:
    """bool (B, B): pairs of different windows that agree in all profile attributes but at most one.

    With a single attribute they must agree in it.
    """
    num_equal_BB = (profile_ids_BP[:, None] == profile_ids_BP[None]).sum(-1)
    similar_BB = num_equal_BB >= max(1, profile_ids_BP.shape[1] - 1)
    return similar_BB & ~torch.eye(len(profile_ids_BP), dtype=torch.bool, device=profile_ids_BP.device)


def contrastive_loss(profile_BD: Tensor, profile_ids_BP: Tensor, temperature: float) -> Tensor:
    """InfoNCE on the profile vectors: similar users attract, the others of the batch repel.

    A window without a similar one in its batch is left out; without any, the loss is 0.

    Source: InfoNCE, arXiv 1807.03748 eq. 4, averaged over several positives as in arXiv 2004.11362 eq. 2.
    """
    similar_BB = similar_profiles(profile_ids_BP)
    unit_BD = normalize(profile_BD.float(), dim=-1)
    itself_BB = torch.eye(len(unit_BD), dtype=torch.bool, device=unit_BD.device)
    scores_BB = (unit_BD @ unit_BD.T / temperature).masked_fill(itself_BB, -1e9)
    log_prob_BB = scores_BB.log_softmax(-1)
    num_similar_B = similar_BB.sum(-1)
    loss_B = -(log_prob_BB * similar_BB).sum(-1) / num_similar_B.clamp(min=1)
    return loss_B.sum() / (num_similar_B > 0).sum().clamp(min=1)
