"""How far an event is from what a state expected: one computation for a whole ledger and for one payment.

What a state expects is computed once and kept (`Forecasts`); holding an event against it takes one row of the token
table. So a cached forecast answers in microseconds what the whole vocabulary was read for.

Source: PANTHER Eq. 3, the deviation between x_new and its prediction.

Shape letters: C states, one for each event held against it, F token attributes, D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from panther_pipeline.cache.states import token_vectors
from panther_pipeline.cache.tuples import event_vectors, expected_vectors
from panther_pipeline.model.backbone import Backbone


@dataclass(frozen=True, kw_only=True)
class Forecasts:
    """States and what they expect."""

    h_CD: Tensor  # float32
    expected_CD: Tensor  # float32: expected vector of the next event, of tokens or of `cache.tuples`
    log_normaliser_C: Tensor  # float32: log Σ exp of all token scores; 0 for a factored backbone, which has none

    def __len__(self) -> int:
        return len(self.h_CD)


def forecast(backbone: Backbone, h_CD: Tensor) -> Forecasts:
    """What each state expects; memory grows with C times the vocabulary."""
    h_CD = h_CD.float()
    if backbone.tuple_head is not None:
        expected_CD = expected_vectors(backbone, h_CD)
        return Forecasts(h_CD=h_CD, expected_CD=expected_CD, log_normaliser_C=h_CD.new_zeros(len(h_CD)))
    logits_CV = backbone.next_token_logits(h_CD).float()
    expected_CD = logits_CV.softmax(-1) @ token_vectors(backbone)
    return Forecasts(h_CD=h_CD, expected_CD=expected_CD, log_normaliser_C=logits_CV.logsumexp(-1))


def deviate(
    backbone: Backbone, forecasts: Forecasts, token_ids_C: Tensor, attribute_ids_CF: Tensor
) -> tuple[Tensor, Tensor]:
    """Hold event c against forecast c.

    Args:
        backbone: the one that made the states.
        forecasts: of `forecast`.
        token_ids_C: int64; not read by a factored backbone.
        attribute_ids_CF: int64, 1 or more; read by a factored backbone alone.

    Returns:
        surprise_C: float32, -log p of the token, or of the whole tuple if the backbone is factored; nats.
        cosine_C: float32, between the expected vector and that of what came.
    """
    if backbone.tuple_head is not None:
        surprise_C = -backbone.tuple_head.log_prob(forecasts.h_CD, attribute_ids_CF)
        seen_CD = event_vectors(backbone, attribute_ids_CF)
    else:
        h_CD, vectors_CD, bias_C = backbone.next_token_factors(forecasts.h_CD, token_ids_C)
        score_C = (h_CD * vectors_CD).sum(-1)
        surprise_C = forecasts.log_normaliser_C - (score_C if bias_C is None else score_C + bias_C)
        seen_CD = token_vectors(backbone)[token_ids_C]
    return surprise_C, torch.cosine_similarity(forecasts.expected_CD, seen_CD, dim=-1)
