"""The served head, taught by one that sees the history: the same class and inputs, another loss.

The teacher has learned the labels of its fit rows by heart to a degree; its opinion of them is more certain than it
will be of anything new. So each fit row is judged by a teacher that was fitted on other users (cross-fitting), and the
head learns what a teacher thinks of rows it does not know.

Shape letters: R rows of the task, B rows of a batch.

Source: Hinton et al. 2015, "Distilling the knowledge in a neural network" (arXiv 1503.02531), §2; VIRT
(arXiv 2112.04195) for a student whose inputs are cached apart; out-of-fold soft targets as in Lopez-Paz et al. 2016
(arXiv 1511.03643), for teachers with inputs that the student lacks.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

from panther_pipeline.not_asked import NotAsked
from panther_pipeline.scoring.fit import HeadConfig, fit_fraud_head
from panther_pipeline.scoring.head import FraudHead
from panther_pipeline.scoring.history.config import DistillationConfig, HistoryConfig
from panther_pipeline.scoring.history.fit import MODEL_NAMES, network_builder
from panther_pipeline.scoring.history.inputs import Histories
from panther_pipeline.scoring.loop import HeadRows, predict, train_network
from panther_pipeline.scoring.scores import empty_scores
from panther_pipeline.scoring.task import FIT, FraudTask

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DistillationLoss:
    """Cross-entropy of the label + weight · cross-entropy of the teacher's opinion."""

    rows: HeadRows
    teacher_logit_R: Tensor  # float32; of fit rows
    config: DistillationConfig

    def __call__(self, logit_B: Tensor, rows_B: Tensor) -> Tensor:
        temperature = self.config.temperature
        opinion_B = torch.sigmoid(self.teacher_logit_R[rows_B] / temperature)
        # The square keeps the gradient as large as that of the label, whatever the temperature.
        soft = binary_cross_entropy_with_logits(logit_B / temperature, opinion_B) * temperature**2
        return self.rows.cross_entropy(logit_B, rows_B) + self.config.weight * soft


def distil_head(
    task: FraudTask,
    histories: Histories,
    head: HeadConfig,
    config: HistoryConfig,
    identity: dict[str, str] | None = None,
) -> tuple[FraudHead | NotAsked, pl.DataFrame]:
    """Train `head_distilled`: a `FraudHead` like `panther_head`, saved and served as one.

    Args:
        task: the rows.
        histories: of these rows; the teachers alone read them.
        head: network, loop, seeds and settings to try, the same as for `panther_head`. The teachers are trained with
            the first setting and seed.
        config: the teacher and the loss.
        identity: of the run that the task was made of, from `scoring.identity`; None = unknown.

    Returns:
        The head of the first seed and the scores of all seeds. `NotAsked` and no scores when `config.models` does not
        name it; an untrained head and no scores, with a warning, when the task cannot be fitted without one fold's
        users.

    Raises:
        TrainingError: the loss is not finite.
    """
    if "distilled" not in config.models:
        return NotAsked(option="finetuning.history.models=distilled"), empty_scores()
    fold_R = assign_folds(task, config.distillation.num_folds, head.seeds[0])
    if not task.can_be_fitted or not _can_cross_fit(task, fold_R):
        logger.warning("Fit or calibration rows lack frauds or non-frauds of two users: nothing is distilled.")
        untrained = FraudHead(task.feature_names, task.embeddings_RD.shape[1], head.network, None, identity)
        return untrained, empty_scores()
    teacher_logit_R = cross_fit_teacher(task, histories, head, config, fold_R)
    loss = DistillationLoss(rows=HeadRows.of(task), teacher_logit_R=teacher_logit_R, config=config.distillation)
    return fit_fraud_head(task, head, MODEL_NAMES["distilled"], loss, identity)


def cross_fit_teacher(
    task: FraudTask, histories: Histories, head: HeadConfig, config: HistoryConfig, fold_R: np.ndarray
) -> Tensor:
    """Logits of every fit row by a teacher that was fitted on the other folds, float32 (R,); NaN elsewhere."""
    setting = head.candidates()[0]
    rows = HeadRows.of(task, histories.gather)
    build = network_builder("attention", rows, histories, setting, config)
    logit_R = torch.full((len(fold_R),), torch.nan)
    fold_f = torch.from_numpy(fold_R[rows.fit.numpy()])
    for fold in tqdm(range(config.distillation.num_folds), desc="teachers", unit="fold"):
        own, others = rows.fit[fold_f == fold], rows.fit[fold_f != fold]
        # Without the correction for sampled non-frauds: the student's logits have none while it learns.
        teacher = train_network(
            build, replace(rows, fit=others, prior_shift=0.0), setting, setting.seeds[0], f"teacher {fold}"
        )
        logit_R[own] = torch.from_numpy(predict(teacher, rows, own))
    return logit_R


def assign_folds(task: FraudTask, num_folds: int, seed: int) -> np.ndarray:
    """Every user in one fold, those with frauds among the fit rows spread evenly, int64 (R,)."""
    fraud_R = (task.label_R == 1) & (task.part_R == FIT)
    users = (
        task.events.select("user_id")
        .with_columns(has_fraud=pl.Series(fraud_R))
        .group_by("user_id")
        .agg(pl.col("has_fraud").any())
        .sort("user_id")
    )
    shuffled = users[np.random.default_rng(seed).permutation(users.height)]
    dealt = shuffled.sort("has_fraud", descending=True, maintain_order=True).with_columns(
        fold=pl.int_range(pl.len(), dtype=pl.Int64) % num_folds
    )
    return task.events.join(dealt, on="user_id", how="left", maintain_order="left")["fold"].to_numpy()


def _can_cross_fit(task: FraudTask, fold_R: np.ndarray) -> bool:
    """Whether the teacher of every fold sees both classes."""
    others = [task.label_R[(task.part_R == FIT) & (fold_R != fold)] for fold in np.unique(fold_R)]
    return all(len(np.unique(labels)) == 2 for labels in others)
