"""The one loop that trains a head: early stopping and calibration on rows later than those it is fitted on.

Shape letters: R rows of the task, B rows of a batch, C calibration rows, F numbers, D embedding width.
"""

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from pydantic import Field
from sklearn.metrics import average_precision_score
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from panther_pipeline.errors import TrainingError
from panther_pipeline.scoring.calibration import fit_scaler
from panther_pipeline.scoring.networks.base import HeadNetwork
from panther_pipeline.scoring.networks.config import CalibrationKind
from panther_pipeline.scoring.search import Searchable
from panther_pipeline.scoring.task import CALIBRATION, FIT, FraudTask

logger = logging.getLogger(__name__)

_ROWS_AT_ONCE = 1024

Loss = Callable[[Tensor, Tensor], Tensor]  # logits (B,) and which rows they are of, int64 (B,) → ()


class LoopConfig(Searchable):
    """How long and how fast."""

    batch_size: int = Field(gt=0)
    max_epochs: int = Field(gt=0)
    patience: int = Field(gt=0)  # epochs without a better average precision on the calibration rows
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    calibration: CalibrationKind  # how logits become probabilities, on the calibration rows


def nothing_more(rows_B: Tensor) -> tuple[Tensor, ...]:
    """What a network reads beside numbers and embedding: nothing."""
    return ()


@dataclass(frozen=True, kw_only=True)
class HeadRows:
    """What a network reads of every row of a task, and which rows it learns from."""

    numbers_RF: Tensor  # float32: features and surprises
    embedding_RD: Tensor  # float32
    label_R: Tensor  # float32, 0 or 1
    fit: Tensor  # int64 rows
    calibration: Tensor  # int64 rows
    prior_shift: float  # see FraudTask.prior_shift
    more: Callable[[Tensor], tuple[Tensor, ...]] = nothing_more  # inputs too large to hold of all rows at once

    @classmethod
    def of(cls, task: FraudTask, more: Callable[[Tensor], tuple[Tensor, ...]] = nothing_more) -> Self:
        """The rows of a task that can be fitted."""
        return cls(
            numbers_RF=torch.from_numpy(np.hstack([task.features_RF, task.surprises_RS])),
            embedding_RD=torch.from_numpy(np.array(task.embeddings_RD)),
            label_R=torch.from_numpy(task.label_R.astype(np.float32)),
            fit=torch.from_numpy(task.rows(FIT)),
            calibration=torch.from_numpy(task.rows(CALIBRATION)),
            prior_shift=task.prior_shift,
            more=more,
        )

    def gather(self, rows_B: Tensor) -> tuple[Tensor, ...]:
        """The network's inputs for these rows."""
        return self.numbers_RF[rows_B], self.embedding_RD[rows_B], *self.more(rows_B)

    def cross_entropy(self, logit_B: Tensor, rows_B: Tensor) -> Tensor:
        """The loss of the labels alone."""
        return binary_cross_entropy_with_logits(logit_B, self.label_R[rows_B])


def train_network(
    build: Callable[[], HeadNetwork], rows: HeadRows, config: LoopConfig, seed: int, name: str, loss: Loss | None = None
) -> HeadNetwork:
    """The network of the best epoch, calibrated.

    Args:
        build: makes the untrained network; its random draws follow from `seed`.
        rows: statistics and weights come from its fit rows; the epoch and the calibration from its calibration rows.
        config: the loop.
        seed: of initialisation, dropout and order; the global random state is left as it was.
        name: of the model, for log and errors.
        loss: what is minimised; None = the cross-entropy of the labels.

    Raises:
        TrainingError: the loss is not finite.
    """
    # Initialisation and dropout draw from torch's global state: give them one of their own and put it back.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build()
        _set_statistics(network, rows)
        precision = _run_epochs(network, rows, config, name, loss or rows.cross_entropy)
    network.log_odds += rows.prior_shift
    logit_C = predict(network, rows, rows.calibration)
    network.set_calibration(fit_scaler(config.calibration, logit_C, rows.label_R[rows.calibration].numpy()).buffers)
    logger.info("%s seed %d: average precision %.3f on the calibration rows", name, seed, precision)
    return network


def predict(network: HeadNetwork, rows: HeadRows, chosen: Tensor) -> np.ndarray:
    """Logits of the chosen rows before calibration, float32."""
    network.eval()
    # Every number becomes dozens on the way: all rows at once would not fit the caches, and many not the memory.
    with torch.inference_mode():
        return torch.cat([network(*rows.gather(some)) for some in chosen.split(_ROWS_AT_ONCE)]).numpy()


def _set_statistics(network: HeadNetwork, rows: HeadRows) -> None:
    """Means and spreads of the fit rows alone; a constant input is only centred."""
    for name, values in (("number", rows.numbers_RF[rows.fit]), ("embedding", rows.embedding_RD[rows.fit])):
        suffix = "F" if name == "number" else "D"
        std = values.std(dim=0, correction=0)
        getattr(network, f"{name}_mean_{suffix}").copy_(values.mean(dim=0))
        getattr(network, f"{name}_std_{suffix}").copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))
    network.log_odds.copy_(torch.logit(rows.label_R[rows.fit].mean()))


def _run_epochs(network: HeadNetwork, rows: HeadRows, config: LoopConfig, name: str, loss: Loss) -> float:
    """Leave the network as it was after its best epoch, and say how good that was on the calibration rows."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    label_R = rows.label_R[rows.calibration].numpy()
    best, best_precision, waited = copy.deepcopy(network.state_dict()), -1.0, 0
    for _ in range(config.max_epochs):
        _run_epoch(network, optimizer, rows, config.batch_size, name, loss)
        precision = float(average_precision_score(label_R, predict(network, rows, rows.calibration)))
        if precision > best_precision:
            best, best_precision, waited = copy.deepcopy(network.state_dict()), precision, 0
        elif (waited := waited + 1) >= config.patience:
            break
    network.load_state_dict(best)
    return best_precision


def _run_epoch(
    network: HeadNetwork, optimizer: torch.optim.Optimizer, rows: HeadRows, batch_size: int, name: str, loss: Loss
) -> None:
    network.train()
    for batch in rows.fit[torch.randperm(len(rows.fit))].split(batch_size):
        value = loss(network(*rows.gather(batch)), batch)
        if not torch.isfinite(value):
            raise TrainingError(
                f"The loss of {name} is {value.item()}: lower finetuning.head.learning_rate, or look "
                "for values that are not finite in event_embeddings."
            )
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
