"""A backbone that was pretrained on one ledger begins again on another, with what the two have in common.

Values, tokens and fields are matched by `tokenizer.mapping`. A value takes its row of the source; a token the mean of
the source tokens it stands for, by their frequency. What knows no ledger (attention, convolutions, prototypes, time,
norms) is copied. The rest keeps its first weights.

Source: PANTHER, Table 8 (arXiv 2510.10102): pretrained on one data set, continued on another. How the vocabularies are
matched is ours.

Shape letters: N events, V tokens, S ids of a field.
"""

import logging
from typing import Any

import numpy as np

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.splits import TEST, VALID
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.tokenizer.fields import FIRST_VALUE, FittedField
from panther_pipeline.tokenizer.mapping import FRESH, FieldMapping, TokenizerMapping, TokenMapping, map_tokenizer
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer
from panther_pipeline.tokenizer.vocabulary import FIRST_TOKEN
from panther_pipeline.training.carry_over import carry_over
from panther_pipeline.training.config import TransferConfig
from panther_pipeline.training.learnt import as_instant
from panther_pipeline.training.pretraining import untrained_backbone
from panther_pipeline.units import to_us

logger = logging.getLogger(__name__)
_ALLOW = "set pretraining.transfer.allow_later_source: true."


def initial_backbone(
    source: Backbone | None,
    source_tokenizer: Tokenizer | None,
    sequences: TokenSequences,
    tokenizer: Tokenizer,
    model_config: ModelConfig,
    seed: int,
    transfer: TransferConfig,
) -> tuple[Backbone | None, dict[str, Any]]:
    """What training begins with, and where it comes from: None where no source is named.

    Args and errors: see `transferred_backbone`.

    Raises:
        ConfigurationError: a source is named and not there, or the other way round.
    """
    if (source is None or source_tokenizer is None) != (transfer.source is None):
        raise ConfigurationError(
            f"pretraining.transfer.source is {transfer.source}, while the catalog's source_backbone is "
            f"{'none' if source is None else 'one'}. State the source once, as source_ledger: in globals.yml or by "
            "--params=source_ledger=NAME."
        )
    if source is None or source_tokenizer is None:
        return None, {"source": None}
    return transferred_backbone(source, source_tokenizer, sequences, tokenizer, model_config, seed, transfer)


def transferred_backbone(
    source: Backbone,
    source_tokenizer: Tokenizer,
    sequences: TokenSequences,
    tokenizer: Tokenizer,
    model_config: ModelConfig,
    seed: int,
    transfer: TransferConfig,
) -> tuple[Backbone, dict[str, Any]]:
    """The backbone that training begins with: the source's weights where they mean something here.

    Args:
        source: pretrained on the other ledger.
        source_tokenizer: the one its tokens come from.
        sequences: of this ledger.
        tokenizer: of this ledger.
        model_config: of this ledger; it must have the source's shape.
        seed: of the weights that have no counterpart.
        transfer: whether a source may have learnt from events as late as those judged here.

    Returns:
        The backbone, and how much of it was taken over, JSON values: of each field how many values came over as they
        are, from the nearest bin, or not at all; of tokens likewise, and the share of training events they stand for.
        `nearest_without_1` are tokens for which one value had to be left out.

    Raises:
        ConfigurationError: shapes or kinds differ; backbone and tokenizer of the source are of different runs; the
            source, or one that it began with, learnt from events that are not earlier than those this ledger is judged
            on, or was chosen by looking at them; or it does not say until when it learnt.
    """
    _check_source(source, source_tokenizer, model_config, tokenizer)
    if not transfer.allow_later_source:
        _check_source_is_earlier(source, source_tokenizer, sequences)
    target = untrained_backbone(sequences, model_config, seed, tokenizer.kind)
    mapping = map_tokenizer(tokenizer, source_tokenizer)
    carry_over(source, target, mapping)
    report = {
        "source": transfer.source,
        "backbone_digest": source.digest,
        "tokenizer_digest": source_tokenizer.digest,
        "train_end": source_tokenizer.content.train_end,
        "learnt_until": source.learnt_until,
        **_describe(mapping, tokenizer, source_tokenizer),
    }
    logger.info("training begins with the backbone of '%s': tokens %s", transfer.source, report["tokens"])
    return target, report


def _check_source(source: Backbone, source_tokenizer: Tokenizer, config: ModelConfig, tokenizer: Tokenizer) -> None:
    if source.tokenizer_digest != source_tokenizer.digest:
        raise ConfigurationError(
            "source_backbone was not trained with source_tokenizer: one of them was made again since. Run the pretrain "
            "pipeline of the source ledger again."
        )
    # Neither changes a weight, but where a weight belongs to each place in the window.
    free = {"dropout"} if config.position == "learned" or config.mixer == "hstu" else {"dropout", "max_events"}
    theirs, ours = source.config.model_dump(exclude=free), config.model_dump(exclude=free)
    differing = [f"{name} is {theirs[name]} there and {ours[name]} here" for name in ours if theirs[name] != ours[name]]
    if source.tokenizer_kind != tokenizer.kind:
        differing.append(f"tokenizer.vocabulary.kind is {source.tokenizer_kind} there and {tokenizer.kind} here")
    if differing:
        raise ConfigurationError(
            f"The source's backbone does not fit pretraining.model: {'; '.join(differing)}. State the source's values "
            "for this ledger, or pretrain the source again with these."
        )


def _check_source_is_earlier(source: Backbone, source_tokenizer: Tokenizer, sequences: TokenSequences) -> None:
    """Nothing from the future, across ledgers too: the source ends before the first event that is judged here."""
    is_judged_N = np.isin(sequences.split_N, (VALID, TEST))
    if not is_judged_N.any():
        return
    first_us = int(sequences.time_us_N[is_judged_N].min())
    if source.learnt_until is None:
        raise ConfigurationError(
            "The source does not say until when it, and whatever it began with, learnt: it was saved before backbones "
            "did. Run the pretrain pipeline of the source ledger again (a finished training is not repeated); or, "
            f"where the ledgers have no user and no event in common, {_ALLOW}"
        )
    # Training looks at nothing at or after `train_end`, while `learnt_until` is the time of an event that was seen.
    if _is_before(source_tokenizer.content.train_end, first_us + 1) and _is_before(source.learnt_until, first_us):
        return
    raise ConfigurationError(
        f"The source, or one that it began with, learnt from events up to {source.learnt_until} or was chosen by "
        f"looking at them; this ledger validates and tests on events from {np.datetime64(first_us, 'us')} on, so that "
        "the source may know what is to be forecast. Pretrain it with an earlier ledger.splits.valid_end; or, where "
        f"the ledgers have no user and no event in common, {_ALLOW}"
    )


def _is_before(bound: str, time_us: int) -> bool:
    """Never for a protocol by order: no instant bounds what was learnt."""
    instant = as_instant(bound)
    return instant is not None and to_us(instant) < time_us


def _describe(mapping: TokenizerMapping, tokenizer: Tokenizer, source_tokenizer: Tokenizer) -> dict[str, Any]:
    """Counts of values and tokens, and the share of this ledger's training events that the tokens stand for."""
    return {
        "fields": _count_values(mapping.fields, tokenizer.fields),
        "profile_fields": _count_values(mapping.profile_fields, tokenizer.profile_fields),
        "fields_left": _left(mapping.fields, source_tokenizer.fields),
        "profile_fields_left": _left(mapping.profile_fields, source_tokenizer.profile_fields),
        **_count_tokens(mapping.tokens, tokenizer.vocabulary.counts_V),
    }


def _count_values(mappings: list[FieldMapping], fields: list[FittedField]) -> dict[str, dict[str, int]]:
    return {
        field.name: {
            "exact": int(m.is_exact_S[FIRST_VALUE:].sum()),
            "nearest": int(((m.source_ids_S != FRESH) & ~m.is_exact_S)[FIRST_VALUE:].sum()),
            "fresh": int((m.source_ids_S[FIRST_VALUE:] == FRESH).sum()),
        }
        for field, m in zip(fields, mappings, strict=True)
    }


def _left(mappings: list[FieldMapping], source_fields: list[FittedField]) -> list[str]:
    """Names of the source's fields that nothing here corresponds to."""
    used = {mapping.source_ix for mapping in mappings}
    return [field.name for ix, field in enumerate(source_fields) if ix not in used]


def _count_tokens(tokens: TokenMapping, counts_V: np.ndarray) -> dict[str, Any]:
    """How many tokens came over in which way, and how often they occur; [PAD] and [UNK] do not count."""
    names_V = np.where(tokens.is_exact_V, "exact", [f"nearest_without_{n}" for n in tokens.dropped_V])
    names_V[tokens.groups_V == FRESH] = "fresh"
    names_V, counts_V = names_V[FIRST_TOKEN:], counts_V[FIRST_TOKEN:]
    total = max(int(counts_V.sum()), 1)
    names = sorted(set(names_V.tolist()))
    return {
        "tokens": {name: int((names_V == name).sum()) for name in names},
        "training_event_share": {name: float(counts_V[names_V == name].sum() / total) for name in names},
    }
