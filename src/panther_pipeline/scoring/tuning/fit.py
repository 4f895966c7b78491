"""Tune backbone and head together on the fraud task.

The backbone starts as it was pretrained, the head with new weights or as it was trained on the frozen backbone. A
trained one keeps the first steps from distorting what pretraining found, but where it knows its fit rows by heart it
has nothing left to ask of the backbone. The epoch is chosen on the calibration rows; of a trained head, none at all
(the frozen pair) is one of the choices.

Source: the start from a trained head is LP-FT, Kumar et al. 2022 (arXiv 2202.10054).

Shape letters: R rows of the task.
"""

import copy
import logging

import numpy as np
import polars as pl

from panther_pipeline.cache.embed import EventEmbeddingConfig, as_of_rows
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.not_asked import NotAsked
from panther_pipeline.scoring.calibration import fit_scaler
from panther_pipeline.scoring.fit import copy_network
from panther_pipeline.scoring.head import FraudHead
from panther_pipeline.scoring.identity import check_belongs
from panther_pipeline.scoring.networks.base import HeadNetwork
from panther_pipeline.scoring.networks.build import build_network
from panther_pipeline.scoring.scores import collect_scores, empty_scores, tabulate_scores
from panther_pipeline.scoring.task import CALIBRATION, FIT, FraudTask
from panther_pipeline.scoring.tuning.config import MODEL_NAMES, Method, TuningConfig
from panther_pipeline.scoring.tuning.joint import JointModel
from panther_pipeline.scoring.tuning.loop import TuningRun
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.training.determinism import pinned
from panther_pipeline.units import epoch_us

logger = logging.getLogger(__name__)


def tune_backbone(
    method: Method,
    task: FraudTask,
    head: FraudHead,
    backbone: Backbone,
    sequences: TokenSequences,
    events: EventEmbeddingConfig,
    config: TuningConfig,
) -> tuple[Backbone | NotAsked, FraudHead | NotAsked, pl.DataFrame]:
    """Tune once per seed, by one method.

    Args:
        method: "full" (every weight, a learning rate per block) or "lora" (low-rank updates, merged in the end).
        task: the rows, with the features and surprises that are read beside the embedding.
        head: that of the same task on the frozen backbone.
        backbone: the pretrained one; it is left as it is.
        sequences: all histories.
        events: how fresh the cache is when an event happens.
        config: the block.

    Returns:
        Backbone and head of the first seed, an ordinary pair: `embed_events` and `FraudHead.score` serve it, with the
        surprises of the pretrained backbone. And the scores of all seeds on calibration and test rows. Where the
        method is off: twice `NotAsked`, no scores. Where the task cannot be fitted, with a warning: the backbone as it
        is, an untrained head, no scores.

    Raises:
        ArtifactError: the head was fitted on another backbone.
        ConfigurationError: task, head, backbone and sequences are not of one run; nothing to adapt.
        TrainingError: loss or gradient is not finite.
    """
    if not config.includes(method):
        not_asked = NotAsked(option=f"finetuning.tuning.methods={method}")
        return not_asked, not_asked, empty_scores()
    untrained = FraudHead(task.feature_names, backbone.config.dim, head.config, None, _identify(head, backbone))
    unchanged = backbone, untrained, empty_scores()
    if not (task.can_be_fitted and head.is_trained):
        logger.warning("Fit or calibration rows lack frauds or non-frauds: the backbone is not tuned (%s).", method)
        return unchanged
    _check_belong_together(task, head, backbone, sequences)
    fitted_rows = task.events["row"].to_numpy()[task.rows(FIT)]
    if (as_of_rows(sequences, events.refresh)[fitted_rows] < 0).all():
        logger.warning("No fit row has a history: the backbone is not tuned (%s).", method)
        return unchanged
    pairs, tables = [], []
    for seed in config.seeds:
        with pinned(seed, None, backbone.device):
            network = _start_network(task, head, config)
            joint = JointModel(copy.deepcopy(backbone), network, task, sequences, events)
            TuningRun(method=method, joint=joint, task=task, config=config, seed=seed).train()
        _calibrate(joint, task)
        tuned = joint.backbone.eval().requires_grad_(True)
        identity = _identify(head, tuned)
        tuned_head = FraudHead(task.feature_names, head.embedding_dim, head.config, joint.network.as_arrays(), identity)
        pairs.append((tuned, tuned_head))
        tables.append(tabulate_scores(task, _score(tuned_head, joint, task), MODEL_NAMES[method], seed))
    return *pairs[0], collect_scores(*tables)


def _identify(head: FraudHead, backbone: Backbone) -> dict[str, str]:
    """The features are those of the frozen head, the states those of the backbone that was tuned with the new one."""
    return head.identity | {"backbone_digest": backbone.digest, "tokenizer_digest": backbone.tokenizer_digest}


def _start_network(task: FraudTask, head: FraudHead, config: TuningConfig) -> HeadNetwork:
    """The head at the start, with the statistics of the frozen one and the log odds of the fit rows."""
    network = trained = copy_network(head)
    if config.head == "fresh":
        network = build_network(len(trained.number_mean_F), head.embedding_dim, head.config)
        for name, value in trained.named_buffers():
            setattr(network, name, value.clone())
    network.log_odds -= task.prior_shift
    return network


def _calibrate(joint: JointModel, task: FraudTask) -> None:
    """Correct for the sampling of the fit rows, then calibrate as the frozen head was."""
    rows, network = task.rows(CALIBRATION), joint.network
    network.log_odds += task.prior_shift
    network.set_calibration(fit_scaler(network.calibration, joint.logits(rows), task.label_R[rows]).buffers)


def _score(head: FraudHead, joint: JointModel, task: FraudTask) -> np.ndarray:
    """Probabilities (R,) of the calibration and test rows; NaN for the fit rows, whose scores are not kept."""
    rows = np.flatnonzero(task.part_R != FIT)
    probability_R = np.full(len(task.part_R), np.nan)
    probability_R[rows] = head.score(task.features_RF[rows], joint.embed(rows), task.surprises_RS[rows])
    return probability_R


def _check_belong_together(task: FraudTask, head: FraudHead, backbone: Backbone, sequences: TokenSequences) -> None:
    if (head.feature_names, head.embedding_dim) != (task.feature_names, backbone.config.dim):
        raise ConfigurationError(
            f"fraud_head reads {len(head.feature_names)} features and {head.embedding_dim} numbers of a state; the "
            f"task has {len(task.feature_names)}, the backbone {backbone.config.dim}. Run the finetune pipeline again."
        )
    check_belongs("fraud_head", head.identity, _identify(head, backbone))
    row_R = task.events["row"].to_numpy()
    is_inside = row_R.max(initial=-1) < sequences.num_events
    if not is_inside or (sequences.time_us_N[row_R] != epoch_us(task.events["event_time"])).any():
        raise ConfigurationError(
            "token_sequences belong to another version of valid_events. Run the tokenize and embed pipelines again."
        )
