"""Fit the fraud head: early stopping and calibration on rows later than those it is fitted on.

Shape letters: R rows, F numbers, D embedding width.
"""

import copy
import logging

import numpy as np
import polars as pl
import torch
from pydantic import Field
from sklearn.metrics import average_precision_score
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

from panther_pipeline.errors import TrainingError
from panther_pipeline.scoring.calibration import CalibrationKind, fit_scaler
from panther_pipeline.scoring.head import NUM_SURPRISES, FraudHead
from panther_pipeline.scoring.networks.base import HeadNetwork
from panther_pipeline.scoring.networks.build import build_network
from panther_pipeline.scoring.networks.config import NetworkConfig
from panther_pipeline.scoring.scores import collect_scores, empty_scores, tabulate_scores
from panther_pipeline.scoring.search import Searchable, choose_setting
from panther_pipeline.scoring.task import CALIBRATION, FIT, FraudTask

logger = logging.getLogger(__name__)

MODEL_NAME = "panther_head"
_ROWS_AT_ONCE = 1024


class HeadConfig(Searchable):
    """The head and how it is trained; the head of the first seed is the one that is saved and served."""

    network: NetworkConfig
    batch_size: int = Field(gt=0)
    max_epochs: int = Field(gt=0)
    patience: int = Field(gt=0)  # epochs without a better average precision on the calibration rows
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    calibration: CalibrationKind = "platt"  # how logits become probabilities, on the calibration rows


def fit_fraud_head(task: FraudTask, config: HeadConfig) -> tuple[FraudHead, pl.DataFrame]:
    """Train one head per seed.

    Frauds are rare, and the fit rows may hold a sample of the non-frauds. Probabilities stay probabilities: the log
    odds of the fit rows are an offset of the logit, corrected for the sampling after training, and calibration on
    the calibration rows, which are never sampled, corrects what is left.

    Returns:
        The head of the first seed, and the scores of all seeds on calibration and test rows. A task that
        cannot be fitted gives an untrained head and no scores, with a warning.

    Raises:
        TrainingError: the loss is not finite.
    """
    if not task.can_be_fitted:
        logger.warning("Fit or calibration rows lack frauds or non-frauds: the fraud head stays untrained.")
        return FraudHead(task.feature_names, task.embeddings_RD.shape[1], config.network, None), empty_scores()
    inputs = (task.features_RF, task.embeddings_RD, task.surprises_RS)
    setting = choose_setting(MODEL_NAME, config, task, lambda c: train_head(task, c, c.seeds[0]).score(*inputs))
    heads = [train_head(task, setting, seed) for seed in tqdm(config.seeds, desc="fraud head", unit="seed")]
    tables = [
        tabulate_scores(task, head.score(*inputs), MODEL_NAME, seed)
        for head, seed in zip(heads, config.seeds, strict=True)
    ]
    return heads[0], collect_scores(*tables)


def train_head(task: FraudTask, config: HeadConfig, seed: int) -> FraudHead:
    """One calibrated head with the block's own settings; the task must have both classes to fit and calibrate on."""
    network = _train(task, config, seed)
    return FraudHead(task.feature_names, task.embeddings_RD.shape[1], config.network, network)


def _train(task: FraudTask, config: HeadConfig, seed: int) -> HeadNetwork:
    """The network of the best epoch, calibrated."""
    numbers_RF = torch.from_numpy(np.hstack([task.features_RF, task.surprises_RS]))
    embedding_RD = torch.from_numpy(np.array(task.embeddings_RD))
    label_R = torch.from_numpy(task.label_R.astype(np.float32))
    fit, calibration = (torch.from_numpy(task.rows(part)) for part in (FIT, CALIBRATION))
    # Initialisation and dropout draw from torch's global state: give them one of their own and put it back.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(len(task.feature_names) + NUM_SURPRISES, task.embeddings_RD.shape[1], config.network)
        _set_statistics(network, numbers_RF[fit], embedding_RD[fit], label_R[fit])
        optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        best, best_precision, waited = copy.deepcopy(network.state_dict()), -1.0, 0
        for _ in range(config.max_epochs):
            _run_epoch(network, optimizer, fit, (numbers_RF, embedding_RD, label_R), config.batch_size)
            logit_R = _predict(network, numbers_RF[calibration], embedding_RD[calibration])
            precision = average_precision_score(label_R[calibration].numpy(), logit_R)
            if precision > best_precision:
                best, best_precision, waited = copy.deepcopy(network.state_dict()), precision, 0
            elif (waited := waited + 1) >= config.patience:
                break
    network.load_state_dict(best)
    network.log_odds += task.prior_shift
    logit_R = _predict(network, numbers_RF[calibration], embedding_RD[calibration])
    network.set_calibration(fit_scaler(config.calibration, logit_R, label_R[calibration].numpy()).buffers)
    logger.info("%s seed %d: average precision %.3f on the calibration rows", MODEL_NAME, seed, best_precision)
    return network


def _set_statistics(network: HeadNetwork, numbers_RF: Tensor, embedding_RD: Tensor, label_R: Tensor) -> None:
    """Means and spreads of the fit rows alone; a constant input is only centred."""
    for name, values in (("number", numbers_RF), ("embedding", embedding_RD)):
        suffix = "F" if name == "number" else "D"
        std = values.std(dim=0, correction=0)
        getattr(network, f"{name}_mean_{suffix}").copy_(values.mean(dim=0))
        getattr(network, f"{name}_std_{suffix}").copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))
    network.log_odds.copy_(torch.logit(label_R.mean()))


def _run_epoch(
    network: HeadNetwork,
    optimizer: torch.optim.Optimizer,
    fit: Tensor,
    rows: tuple[Tensor, Tensor, Tensor],
    batch_size: int,
) -> None:
    numbers_RF, embedding_RD, label_R = rows
    network.train()
    for batch in fit[torch.randperm(len(fit))].split(batch_size):
        logit = network(numbers_RF[batch], embedding_RD[batch])
        loss = binary_cross_entropy_with_logits(logit, label_R[batch])
        if not torch.isfinite(loss):
            raise TrainingError(
                f"The loss of {MODEL_NAME} is {loss.item()}: lower finetuning.head.learning_rate, or look "
                "for values that are not finite in event_embeddings."
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _predict(network: HeadNetwork, numbers_RF: Tensor, embedding_RD: Tensor) -> np.ndarray:
    network.eval()
    # Every number becomes dozens on the way: all rows at once would not fit the caches, and many not the memory.
    chunks = zip(numbers_RF.split(_ROWS_AT_ONCE), embedding_RD.split(_ROWS_AT_ONCE), strict=True)
    with torch.inference_mode():
        return torch.cat([network(numbers, embedding) for numbers, embedding in chunks]).numpy()
