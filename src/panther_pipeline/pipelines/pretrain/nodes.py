"""Nodes of `pretrain`: token sequences in, backbone and curves out."""

from typing import Any

import polars as pl

from panther_pipeline.errors import TrainingError
from panther_pipeline.lock import taken
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.pipelines.reporting import mlflow_reporter
from panther_pipeline.report.training_plot import plot_training_curves
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer
from panther_pipeline.training.checkpoint import CheckpointFolder
from panther_pipeline.training.config import LossConfig, TrainingConfig, TransferConfig
from panther_pipeline.training.learnt import learnt_until
from panther_pipeline.training.pretraining import pretrain
from panther_pipeline.training.transfer import initial_backbone

__all__ = ["plot_training_curves", "pretrain_backbone"]


def pretrain_backbone(
    token_sequences: TokenSequences,
    tokenizer: Tokenizer,
    pretraining_checkpoints: CheckpointFolder,
    source_backbone: Backbone | None,
    source_tokenizer: Tokenizer | None,
    model: ModelConfig,
    loss: LossConfig,
    training: TrainingConfig,
    transfer: TransferConfig,
) -> tuple[Backbone, pl.DataFrame, dict[str, Any]]:
    """Learn to predict every user's next transaction; a killed run continues from its newest checkpoint.

    Raises:
        ConfigurationError: see `initial_backbone`.
        TrainingError: see `pretrain`; or another process trains into the same folder.
    """
    initial, transfer_report = initial_backbone(
        source_backbone, source_tokenizer, token_sequences, tokenizer, model, training.seed, transfer
    )
    report = mlflow_reporter("pretrain")
    with taken(pretraining_checkpoints.path) as is_ours:
        if not is_ours:
            raise TrainingError(
                f"another process is training into {pretraining_checkpoints.path}: two would overwrite each other's "
                "checkpoints. Wait for it, or train beside it with --params=ledger_name=ANOTHER_NAME."
            )
        backbone, curves = pretrain(
            token_sequences, model, loss, training, pretraining_checkpoints, report, tokenizer.kind, initial
        )
    began_with = "" if source_backbone is None else source_backbone.learnt_until
    backbone.learnt_until = learnt_until(token_sequences, tokenizer, began_with)
    return backbone, curves, transfer_report
