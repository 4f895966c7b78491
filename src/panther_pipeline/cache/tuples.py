"""What the cache keeps of a factored backbone, which has attribute vectors and no token vectors.

The vector of an event is what its attributes add to the input of the model, (D,): without time and user.

Shape letters: N states or events, F token attributes, S ids of one attribute, D width.
"""

import torch
from torch import Tensor

from panther_pipeline.model.backbone import Backbone


def event_vectors(backbone: Backbone, attribute_ids_NF: Tensor) -> Tensor:
    """float32 (N, D); an attribute with id 0 (dropped by a token) adds nothing."""
    columns = [
        table(attribute_ids_NF[:, f]) * (attribute_ids_NF[:, f, None] > 0)
        for f, table in enumerate(backbone.embedding.attributes)
    ]
    return backbone.embedding.project(torch.cat(columns, dim=-1)).float()


def expected_vectors(backbone: Backbone, h_ND: Tensor) -> Tensor:
    """The event vector the model expects after each state, float32 (N, D).

    See `TupleHead.expected_probs` for what is exact about it.
    """
    probs = backbone.tuple_head.expected_probs(h_ND)
    columns = [
        probs_NS @ table.weight.float() for probs_NS, table in zip(probs, backbone.embedding.attributes, strict=True)
    ]
    return backbone.embedding.project(torch.cat(columns, dim=-1)).float()
