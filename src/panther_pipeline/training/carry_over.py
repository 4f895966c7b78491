"""The weights of one backbone put into another, each where it means the same.

Shape letters: V tokens of the target, W of the source, G groups of source tokens, M their members, D width, S ids of a
field, Y, X outputs and inputs of a layer.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.tuple_head import TupleHead
from panther_pipeline.tokenizer.mapping import FRESH, FieldMapping, TokenizerMapping, TokenMapping

# Weights with a place for each token, value or field; all others mean the same whatever the ledger.
_OF_A_LEDGER = (
    "embedding.token.", "embedding.attributes.", "embedding.project.", "embedding.profile.attributes.",
    "embedding.profile.project.", "token_bias_V", "tuple_head.",
)  # fmt: skip


@torch.no_grad()
def carry_over(source: Backbone, target: Backbone, mapping: TokenizerMapping) -> None:
    """Overwrite the target's weights with their counterparts in the source; what has none stays.

    Args:
        source: of the same shape and kind, but for the sizes of vocabulary, fields and profile.
        target: changed in place.
        mapping: from the source's tokenizer to the target's.
    """
    own, theirs = target.state_dict(), source.state_dict()
    for name in own.keys() & theirs.keys():
        if not name.startswith(_OF_A_LEDGER):
            own[name].copy_(theirs[name])
    ours, donor, width = target.embedding, source.embedding, target.config.attribute_dim
    num_before = 0 if ours.token is None else target.config.dim
    if ours.token is not None:
        _copy_tokens(ours.token.weight, donor.token.weight, mapping.tokens)
        ours.project.weight[:, :num_before] = donor.project.weight[:, :num_before]
    if target.token_bias_V is not None:
        _copy_tokens(target.token_bias_V, source.token_bias_V, mapping.tokens)
    if len(ours.attributes):
        _copy_fields(ours.attributes, donor.attributes, mapping.fields)
        _copy_columns(ours.project.weight, donor.project.weight, mapping.fields, num_before, width)
    if ours.profile is not None and donor.profile is not None:
        _copy_fields(ours.profile.attributes, donor.profile.attributes, mapping.profile_fields)
        _copy_columns(ours.profile.project.weight, donor.profile.project.weight, mapping.profile_fields, 0, width)
    if target.tuple_head is not None:
        _copy_tuple_head(target.tuple_head, source.tuple_head, mapping.fields)


def _copy_tokens(own_VD: Tensor, theirs_WD: Tensor, tokens: TokenMapping) -> None:
    """Vectors (or biases, without D) of the tokens: the mean of the group that each stands for."""
    groups_V = torch.from_numpy(tokens.groups_V)
    weight_M = torch.from_numpy(tokens.member_weights_M).reshape(-1, *[1] * (theirs_WD.dim() - 1))
    mean_GD = torch.zeros(int(tokens.member_groups_M[-1]) + 1, *theirs_WD.shape[1:], dtype=torch.float64)
    rows_MD = theirs_WD[torch.from_numpy(tokens.members_M)].double() * weight_M
    mean_GD.index_add_(0, torch.from_numpy(tokens.member_groups_M), rows_MD)
    is_known_V = groups_V != FRESH
    own_VD[is_known_V] = mean_GD[groups_V[is_known_V]].to(own_VD.dtype)


def _copy_rows(own_SD: Tensor, theirs_SD: Tensor, field: FieldMapping, first_id: int = 0) -> None:
    """A row per value of one field; row 0 is that of `first_id`."""
    ids_S = torch.from_numpy(field.source_ids_S[first_id:])
    is_known_S = ids_S != FRESH
    own_SD[is_known_S] = theirs_SD[ids_S[is_known_S] - first_id]


def _copy_fields(own: nn.ModuleList, theirs: nn.ModuleList, fields: Sequence[FieldMapping]) -> None:
    """A table per field; a table that one of the two lacks is passed over."""
    for table, field in zip(own, fields, strict=False):
        if field.source_ix is not None and field.source_ix < len(theirs):
            _copy_rows(table.weight, theirs[field.source_ix].weight, field)


def _copy_columns(
    own_YX: Tensor, theirs_YX: Tensor, fields: Sequence[FieldMapping], num_before: int, width: int
) -> None:
    """Of a layer that reads the fields side by side, `width` columns each after `num_before` others."""
    for f, field in enumerate(fields):
        if field.source_ix is not None:
            to, of = num_before + f * width, num_before + field.source_ix * width
            own_YX[:, to : to + width] = theirs_YX[:, of : of + width]


def _copy_tuple_head(own: TupleHead, theirs: TupleHead, fields: Sequence[FieldMapping]) -> None:
    """By field, also where another one now stands before it: what it is predicted from is then learnt again."""
    _copy_fields(own.given, theirs.given, fields)
    for f, field in enumerate(fields):
        if field.source_ix is not None:
            own.hidden[f].load_state_dict(theirs.hidden[field.source_ix].state_dict())
            for name in ("weight", "bias"):  # padding has no output
                weights = getattr(own.output[f], name), getattr(theirs.output[field.source_ix], name)
                _copy_rows(*weights, field, first_id=1)
