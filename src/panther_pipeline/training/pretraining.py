"""From token sequences to a trained backbone in one call."""

import copy
import logging

import polars as pl

from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.tokenizer.config import TokenizerKind
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.training.batches import attribute_target_counts, target_counts
from panther_pipeline.training.checkpoint import CheckpointFolder
from panther_pipeline.training.config import LossConfig, TrainingConfig
from panther_pipeline.training.distributed import train_in_processes
from panther_pipeline.training.loop import Report, train
from panther_pipeline.training.world import ALONE, World


def pretrain(
    sequences: TokenSequences,
    model_config: ModelConfig,
    loss_config: LossConfig,
    training_config: TrainingConfig,
    checkpoints: CheckpointFolder | None = None,
    report: Report | None = None,
    tokenizer_kind: TokenizerKind = "structured",
    initial: Backbone | None = None,
) -> tuple[Backbone, pl.DataFrame]:
    """A backbone fitted to the training events, on the CPU, and its curves (step, metric, value).

    With `num_processes` above 1 it is trained in so many processes, which start with a copy of the sequences on disk.

    Args:
        initial: whose weights training begins with, of these sequences' sizes, left as it is; None = fresh weights. As
            first weights they are part of the run's identity: a run from another source never continues this one.

    Raises:
        TrainingError: see `train`; a process that died.
    """
    if training_config.num_processes == 1:
        return pretrain_here(
            sequences, model_config, loss_config, training_config, checkpoints, report, tokenizer_kind, ALONE, initial
        )
    job = {
        "model": model_config.model_dump(),
        "loss": loss_config.model_dump(),
        "training": training_config.model_dump(),
        "checkpoints": None if checkpoints is None else str(checkpoints.path.absolute()),
        "tokenizer_kind": tokenizer_kind,
        "log_level": logging.getLogger(__package__).getEffectiveLevel(),
    }
    return train_in_processes(sequences, job, training_config.num_processes, report, initial)


def pretrain_here(
    sequences: TokenSequences,
    model_config: ModelConfig,
    loss_config: LossConfig,
    training_config: TrainingConfig,
    checkpoints: CheckpointFolder | None,
    report: Report | None,
    tokenizer_kind: TokenizerKind,
    world: World,
    initial: Backbone | None = None,
) -> tuple[Backbone, pl.DataFrame]:
    """`pretrain` in this process, alone or as one of several."""
    if initial is None:
        backbone = untrained_backbone(sequences, model_config, training_config.seed, tokenizer_kind)
    else:
        backbone = copy.deepcopy(initial)
    curves = train(backbone, sequences, loss_config, training_config, checkpoints, report, world)
    return backbone.cpu(), curves


def untrained_backbone(
    sequences: TokenSequences, config: ModelConfig, seed: int, tokenizer_kind: TokenizerKind = "structured"
) -> Backbone:
    """A backbone with the sizes of these sequences.

    It predicts the frequencies of their tokens or attributes, where the scores have a bias to do so: not with cosines.
    """
    backbone = Backbone(
        config,
        vocab_size=sequences.vocab_size,
        attribute_sizes=sequences.attribute_sizes,
        profile_sizes=sequences.profile_sizes,
        tokenizer_digest=sequences.tokenizer_digest,
        tokenizer_kind=tokenizer_kind,
        seed=seed,
    )
    if backbone.tuple_head is None:
        backbone.start_from_frequencies(target_counts(sequences))
    else:
        backbone.tuple_head.start_from_frequencies(attribute_target_counts(sequences))
    return backbone
