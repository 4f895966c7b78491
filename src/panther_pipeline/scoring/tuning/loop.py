"""The training loop of backbone and head together; the epoch is chosen on the calibration rows.

Shape letters: R rows of the task, r those of a batch.
"""

import copy
import logging
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from panther_pipeline.errors import TrainingError
from panther_pipeline.model.dropout import Dropout
from panther_pipeline.scoring.task import CALIBRATION, FIT, FraudTask
from panther_pipeline.scoring.tuning.config import MODEL_NAMES, Method, TuningConfig
from panther_pipeline.scoring.tuning.joint import JointModel
from panther_pipeline.scoring.tuning.layerwise import unfreeze_layers
from panther_pipeline.scoring.tuning.lora import add_low_rank_updates, merge_low_rank_updates
from panther_pipeline.scoring.tuning.windows import FitBatch, FitWindows
from panther_pipeline.training.optimizer import decay_groups

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TuningRun:
    """One tuning of one pair, by one method, with one seed; draws from torch's global random state."""

    method: Method
    joint: JointModel
    task: FraudTask
    config: TuningConfig
    seed: int

    @property
    def name(self) -> str:
        """Row of the comparison."""
        return MODEL_NAMES[self.method]

    def train(self) -> None:
        """Train the pair in place, up to the best epoch; low-rank updates are merged.

        Raises:
            TrainingError: loss or gradient is not finite.
        """
        optimizer = self._make_optimizer()
        rows = self.task.rows(FIT)
        fit = FitWindows.of(rows, self.joint.as_of_R[rows], self.joint.sequences, self.joint.backbone.max_events)
        best, best_epoch, waited = copy.deepcopy(self.joint.state_dict()), 0, 0
        # A head with new weights is no candidate before it was trained.
        best_precision = self._judge() if self.config.head == "trained" else -1.0
        num_windows = min(len(fit), self.config.epoch_windows or len(fit))
        num_rows = round(self.config.max_epochs * len(rows) * num_windows / len(fit))
        with tqdm(total=num_rows, desc=self.name, unit="row", unit_scale=True) as bar:
            for epoch in range(1, self.config.max_epochs + 1):
                self._run_epoch(fit, optimizer, epoch, bar)
                if (precision := self._judge()) > best_precision:
                    best, best_precision = copy.deepcopy(self.joint.state_dict()), precision
                    best_epoch, waited = epoch, 0
                elif (waited := waited + 1) >= self.config.patience:
                    break
        self.joint.load_state_dict(best)
        merge_low_rank_updates(self.joint.backbone)
        logger.info(
            "%s seed %d: average precision %.3f on the calibration rows after epoch %d of %d",
            self.name, self.seed, best_precision, best_epoch, epoch,
        )  # fmt: skip

    def _make_optimizer(self) -> torch.optim.AdamW:
        """AdamW over what the method trains of the backbone, and the whole head."""
        joint, config = self.joint, self.config
        for module in joint.backbone.modules():
            if isinstance(module, Dropout):
                module.p = config.dropout
        if self.method == "full":
            groups = unfreeze_layers(joint.backbone, config.full, config.weight_decay)
        else:
            groups = add_low_rank_updates(joint.backbone, config.lora, config.weight_decay)
        num_tuned = sum(p.numel() for group in groups for p in group["params"])
        num_head = sum(p.numel() for p in joint.network.parameters())
        logger.info("%s trains %d weights for the backbone and %d of the head", self.name, num_tuned, num_head)
        groups += decay_groups(joint.network.parameters(), config.weight_decay, lr=config.head_learning_rate)
        return torch.optim.AdamW(groups)

    def _judge(self) -> float:
        """Average precision on the calibration rows."""
        rows = self.task.rows(CALIBRATION)
        return average_precision_score(self.task.label_R[rows], self.joint.logits(rows))

    def _run_epoch(self, fit: FitWindows, optimizer: torch.optim.Optimizer, epoch: int, bar: tqdm) -> None:
        self.joint.train()
        generator = np.random.default_rng((self.seed, epoch))
        for batch in fit.epoch(self.config.batch_windows, self.config.epoch_windows, generator):
            loss = self._step(fit, batch, optimizer)
            bar.update(len(batch.rows_r))
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)

    def _step(self, fit: FitWindows, batch: FitBatch, optimizer: torch.optim.Optimizer) -> float:
        logit_r = self.joint(fit, batch)
        label_r = torch.from_numpy(self.task.label_R[batch.rows_r].astype(np.float32)).to(logit_r.device)
        loss = binary_cross_entropy_with_logits(logit_r, label_r)
        optimizer.zero_grad()
        loss.backward()
        norm = clip_grad_norm_(self.joint.parameters(), self.config.grad_clip)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise TrainingError(
                f"The loss of {self.name} is {loss.item()}, the norm of its gradient {norm.item()}: lower "
                f"finetuning.tuning.{self.method}.learning_rate or head_learning_rate, or look for values that are not "
                "finite in event_features."
            )
        optimizer.step()
        return loss.item()
