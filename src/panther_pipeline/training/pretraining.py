"""From token sequences to a trained backbone in one call."""

import polars as pl

from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.tokenizer.config import TokenizerKind
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.training.batches import attribute_target_counts, target_counts
from panther_pipeline.training.checkpoint import CheckpointFolder
from panther_pipeline.training.config import LossConfig, TrainingConfig
from panther_pipeline.training.loop import Report, train


def pretrain(
    sequences: TokenSequences,
    model_config: ModelConfig,
    loss_config: LossConfig,
    training_config: TrainingConfig,
    checkpoints: CheckpointFolder | None = None,
    report: Report | None = None,
    tokenizer_kind: TokenizerKind = "structured",
) -> tuple[Backbone, pl.DataFrame]:
    """A backbone fitted to the training events, on the CPU, and its curves (step, metric, value).

    Raises:
        TrainingError: see `train`.
    """
    backbone = untrained_backbone(sequences, model_config, training_config.seed, tokenizer_kind)
    curves = train(backbone, sequences, loss_config, training_config, checkpoints, report)
    return backbone.cpu(), curves


def untrained_backbone(
    sequences: TokenSequences, config: ModelConfig, seed: int, tokenizer_kind: TokenizerKind = "structured"
) -> Backbone:
    """A backbone with the sizes of these sequences, which predicts the frequencies of their tokens or attributes."""
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
