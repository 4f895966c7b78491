"""Softmax over a few candidates in place of a vocabulary too large to score in every step.

The partition function Z = Σ_v exp(s_v) of a row is estimated by importance sampling. The positive is known, so it
enters as it is; every other candidate enters as exp(s_v) · count_v / E[count_v], where count_v says how often v was
drawn. Two proposals share one set of candidates for the whole batch: tokens drawn uniformly, and the targets of the
other rows, which appear as often as the training data has them. E[count] is the sum over both, so that the estimate
of Z is unbiased whatever their mixture (the balance heuristic, Veach and Guibas 1995, eq. 15).

Source: Bengio and Senécal 2008 (doi 10.1109/TNN.2007.912312) for the estimate, whose log and gradient are biased by
about 1/S; Yi et al., RecSys 2019 (doi 10.1145/3298689.3346996) for in-batch candidates; Khrylchenko et al., RecSys
2025 (arXiv 2507.09331) for leaving the positive as it is.

Shape letters: N positions with a target, D width, V vocabulary, S candidates.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from panther_pipeline.training.losses.linear_cross_entropy import linear_cross_entropy
from panther_pipeline.training.protocol import NextTokenModel


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The tokens that one batch scores."""

    ids_S: Tensor  # int64, ascending; all targets of the batch are among them
    log_weight_S: Tensor  # log(count / E[count]); -inf for a target that was not drawn: nobody's negative

    def columns(self, targets_N: Tensor) -> Tensor:
        """int64 (N,): position of each target in `ids_S`."""
        return torch.searchsorted(self.ids_S, targets_N)


def draw_candidates(targets_N: Tensor, frequency_V: Tensor, num_uniform: int, in_batch: bool) -> Candidates:
    """Negatives shared by all rows, drawn from torch's generator.

    Args:
        targets_N: int64 tokens.
        frequency_V: share of each token among all training targets.
        num_uniform: so many different tokens, each equally likely, [PAD] never; cut to the vocabulary.
        in_batch: whether the targets of the other rows are negatives too. They are taken as independent of the row,
            which those of its own user are not: their share, and the error, falls with the batch size.
    """
    num_tokens = len(frequency_V) - 1
    num_uniform = min(num_uniform, num_tokens)
    is_target_V = torch.bincount(targets_N, minlength=num_tokens + 1)
    count_V = is_target_V.clone() if in_batch else torch.zeros_like(is_target_V)
    count_V[1 + torch.randperm(num_tokens, device=targets_N.device)[:num_uniform]] += 1
    ids_S = (count_V + is_target_V).nonzero()[:, 0]
    num_others = len(targets_N) - 1 if in_batch else 0
    expected_S = num_uniform / num_tokens + num_others * frequency_V[ids_S]
    return Candidates(ids_S=ids_S, log_weight_S=count_V[ids_S].log() - expected_S.log())


def sampled_token_loss(h_ND: Tensor, targets_N: Tensor, model: NextTokenModel, candidates: Candidates) -> Tensor:
    """Mean cross-entropy over the candidates, nats: an estimate of that over the vocabulary without [PAD].

    Equal to it when every token is a candidate by uniform draw alone. A row's own target keeps its score: it is there
    for certain, and a negative equal to it is no negative.

    Args:
        h_ND: states of the positions that have a target.
        targets_N: int64 tokens.
        model: gives the factors of the scores.
        candidates: see `draw_candidates`.
    """
    factors = model.next_token_factors(h_ND, candidates.ids_S)
    return linear_cross_entropy(*factors, candidates.columns(targets_N), others_V=candidates.log_weight_S)
