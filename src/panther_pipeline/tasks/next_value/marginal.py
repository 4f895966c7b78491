"""What the backbone itself says of the next value, without any head: a sum over the next tokens.

p(value) = Σ p(token) · share of the token's training events that had the value. For a token that keeps the attribute
the share is 1 for one value, and the sum runs over the tokens with that value. A token that dropped it, [UNK], and the
field's (other) are shared out among their values as they came in training. A factored backbone has no tokens: its
forecast of the attribute's own ids takes their place.

Shape letters: N events, M states, D width, G tokens (or ids of the field), V ids of the values.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from panther_pipeline.ledger.splits import TRAIN
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.tokenizer.config import TEXT_SOURCES
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.sources import column_of
from panther_pipeline.tokenizer.tokenizer import Tokenizer

_LEAST = 1e-30  # of a probability, so that its logarithm is finite


@dataclass(frozen=True, kw_only=True)
class ValueMarginal:
    """Sums the backbone's forecast over everything but one attribute."""

    backbone: Backbone
    field_ix: int  # of the attribute among the tokenizer's fields
    shares_VG: Tensor  # sparse float32: columns sum to 1, or to 0 where training never saw the token

    @classmethod
    def of(
        cls, attribute: str, backbone: Backbone, tokenizer: Tokenizer, sequences: TokenSequences, values: TokenSequences
    ) -> Self | None:
        """Shares counted on training events; None where no field of the tokenizer reads the attribute.

        Args:
            attribute: event column.
            backbone: of either kind.
            tokenizer: made the sequences.
            sequences: the tokens of all events.
            values: the values of the same events, from `encode_values`.
        """
        reads = [f.source in TEXT_SOURCES and column_of(f.source, f.column) == attribute for f in tokenizer.fields]
        if not any(reads):
            return None
        field_ix, is_train_N = reads.index(True), sequences.split_N == TRAIN
        is_structured = backbone.tuple_head is None
        groups_N = sequences.token_ids_N if is_structured else sequences.attribute_ids_NF[:, field_ix]
        num_groups = sequences.vocab_size if is_structured else sequences.attribute_sizes[field_ix]
        shares_VG = _count_shares(groups_N[is_train_N], values.token_ids_N[is_train_N], num_groups, values.vocab_size)
        return cls(backbone=backbone, field_ix=field_ix, shares_VG=shares_VG)

    def log_prob(self, h_MD: Tensor) -> Tensor:
        """log p of every id as the next one, float32 (M, V), nats.

        Exact for a structured backbone. For a factored one as exact as `TupleHead.expected_probs`: the first field is
        exact, for the others the fields before are replaced by their expectation.
        """
        h_MD = h_MD.to(self.backbone.device)
        with torch.inference_mode():
            if self.backbone.tuple_head is None:
                prob_MG = self.backbone.next_token_logits(h_MD).float().softmax(-1)
            else:
                prob_MG = self.backbone.tuple_head.expected_probs(h_MD)[self.field_ix]
            prob_MV = torch.sparse.mm(self.shares_VG, prob_MG.cpu().T).T
            return (prob_MV / prob_MV.sum(1, keepdim=True)).clamp_min(_LEAST).log()


def _count_shares(groups_N: np.ndarray, values_N: np.ndarray, num_groups: int, num_values: int) -> Tensor:
    """Of each group's events, the share that had each value; sparse float32 (V, G)."""
    codes, counts = np.unique(values_N.astype(np.int64) * num_groups + groups_N, return_counts=True)
    group_ix = codes % num_groups
    shares = counts / np.bincount(groups_N, minlength=num_groups)[group_ix]
    indices = torch.from_numpy(np.stack([codes // num_groups, group_ix]))
    return torch.sparse_coo_tensor(
        indices, torch.from_numpy(shares).float(), (num_values, num_groups), check_invariants=True
    ).coalesce()
