"""Which values and tokens of one tokenizer stand for those of another: the dictionary of a transfer.

Fields that share their name and source are one field in two ledgers. A category is the same where its text is; a bin
is where its middle lies. A token is the token with the same values; where there is none, the values that say least are
left out one by one, as a rare tuple is backed off, until some agree on the rest.

Shape letters: S ids of a field, F fields shared, V tokens of the target, W of the source, G groups of source tokens, M
their members.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from panther_pipeline.tokenizer.fields import FIRST_VALUE, PADDING, UNKNOWN, FittedField
from panther_pipeline.tokenizer.tokenizer import Tokenizer
from panther_pipeline.tokenizer.vocabulary import FIRST_TOKEN

FRESH = -1  # stands where nothing of the source corresponds


@dataclass(frozen=True, kw_only=True)
class FieldMapping:
    """What each value of a field is in the source."""

    source_ix: int | None  # the field's position in the source; None = it has no such field
    source_ids_S: np.ndarray  # int64; FRESH = no such value
    is_exact_S: np.ndarray  # bool: the same text, or the same two edges


@dataclass(frozen=True, kw_only=True)
class TokenMapping:
    """Which group of source tokens each token stands for."""

    groups_V: np.ndarray  # int64, 0 to G - 1; FRESH = no source token agrees on anything
    dropped_V: np.ndarray  # int64: values left out until some agreed; FRESH likewise
    is_exact_V: np.ndarray  # bool: the source has this very token
    members_M: np.ndarray  # int64 source token ids, group after group
    member_groups_M: np.ndarray  # int64, not decreasing
    member_weights_M: np.ndarray  # float64, by frequency in the source's training events; sum to 1 in each group


@dataclass(frozen=True, kw_only=True)
class TokenizerMapping:
    """Fields in the order of the target."""

    fields: list[FieldMapping]
    profile_fields: list[FieldMapping]
    tokens: TokenMapping


def map_tokenizer(target: Tokenizer, source: Tokenizer) -> TokenizerMapping:
    """What every value and token of `target` is in `source`."""
    fields = map_fields(target.fields, source.fields)
    return TokenizerMapping(
        fields=fields,
        profile_fields=map_fields(target.profile_fields, source.profile_fields),
        tokens=_map_tokens(target, source, fields),
    )


def map_fields(target: Sequence[FittedField], source: Sequence[FittedField]) -> list[FieldMapping]:
    """Each target field in the source; one of the same name that reads something else is another field."""
    place = {(field.name, field.source): ix for ix, field in enumerate(source)}
    mappings = []
    for field in target:
        source_ix = place.get((field.name, field.source))
        ids_S, is_exact_S = _map_values(field, None if source_ix is None else source[source_ix])
        mappings.append(FieldMapping(source_ix=source_ix, source_ids_S=ids_S, is_exact_S=is_exact_S))
    return mappings


def _map_values(target: FittedField, source: FittedField | None) -> tuple[np.ndarray, np.ndarray]:
    ids_S = np.full(target.size, FRESH, dtype=np.int64)
    is_exact_S = np.zeros(target.size, dtype=bool)
    if source is None:
        return ids_S, is_exact_S
    # What is not known, or too rare to be told apart, is so in both.
    for own_id in (PADDING, UNKNOWN):
        ids_S[own_id], is_exact_S[own_id] = own_id, True
    for own_id in range(FIRST_VALUE, target.size):
        source_id = source.encode_one(target.representative(own_id))
        if source_id != UNKNOWN:
            ids_S[own_id] = source_id
            is_exact_S[own_id] = source.labels[source_id] == target.labels[own_id]
    return ids_S, is_exact_S


def _map_tokens(target: Tokenizer, source: Tokenizer, fields: list[FieldMapping]) -> TokenMapping:
    own_VF, theirs_WF, shared = _patterns(target, source, fields)
    groups_V = np.full(target.vocab_size, FRESH, dtype=np.int64)
    dropped_V = groups_V.copy()
    groups_V[:FIRST_TOKEN], dropped_V[:FIRST_TOKEN] = range(FIRST_TOKEN), 0  # [PAD] and [UNK] are the same in both
    members, member_groups, num_groups = [np.arange(FIRST_TOKEN)], [np.arange(FIRST_TOKEN)], FIRST_TOKEN
    for dropped in range(len(shared)):
        open_v = np.flatnonzero(groups_V == FRESH)
        keys_v, keys_W = _number_rows(own_VF[open_v, dropped:], theirs_WF[FIRST_TOKEN:, dropped:])
        met_v = np.isin(keys_v, keys_W)
        met_keys, ranks = np.unique(keys_v[met_v], return_inverse=True)
        groups_V[open_v[met_v]], dropped_V[open_v[met_v]] = num_groups + ranks, dropped
        inside_w = np.flatnonzero(np.isin(keys_W, met_keys))
        members.append(FIRST_TOKEN + inside_w)
        member_groups.append(num_groups + np.searchsorted(met_keys, keys_W[inside_w]))
        num_groups += len(met_keys)
    members_M, member_groups_M = np.concatenate(members), np.concatenate(member_groups)
    order = np.argsort(member_groups_M, kind="stable")
    members_M, member_groups_M = members_M[order], member_groups_M[order]
    count_M = np.maximum(source.vocabulary.counts_V[members_M], 1).astype(np.float64)
    return TokenMapping(
        groups_V=groups_V,
        dropped_V=dropped_V,
        is_exact_V=_find_exact(target, source, fields, dropped_V),
        members_M=members_M,
        member_groups_M=member_groups_M,
        member_weights_M=count_M / np.bincount(member_groups_M, count_M)[member_groups_M],
    )


def _patterns(
    target: Tokenizer, source: Tokenizer, fields: list[FieldMapping]
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Both vocabularies in the source's ids, (V, F) and (W, F), the value that says least first; and which fields."""
    by_information = [target.attribute_names.index(name) for name in target.content.drop_order]
    shared = [f for f in by_information if fields[f].source_ix is not None]
    patterns_VF = target.vocabulary.patterns_VF
    columns = [fields[f].source_ids_S[patterns_VF[:, f]] for f in shared]
    own_VF = np.stack(columns, axis=1) if shared else np.empty((len(patterns_VF), 0), dtype=np.int64)
    return own_VF, source.vocabulary.patterns_VF[:, [fields[f].source_ix for f in shared]], shared


def _number_rows(own_vF: np.ndarray, theirs_WF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One number for each row of both tables, the same for equal rows. FRESH equals no value of the source."""
    _, number = np.unique(np.vstack([own_vF, theirs_WF]), axis=0, return_inverse=True)
    number = number.reshape(-1)
    return number[: len(own_vF)], number[len(own_vF) :]


def _find_exact(target: Tokenizer, source: Tokenizer, fields: list[FieldMapping], dropped_V: np.ndarray) -> np.ndarray:
    """Whether all fields are shared, none was left out, and each value is the very same."""
    are_same_fields = len(target.fields) == len(source.fields) and all(m.source_ix is not None for m in fields)
    is_exact_V = (dropped_V == 0) & are_same_fields
    for f, mapping in enumerate(fields):
        is_exact_V &= mapping.is_exact_S[target.vocabulary.patterns_VF[:, f]]
    is_exact_V[:FIRST_TOKEN] = True
    return is_exact_V
