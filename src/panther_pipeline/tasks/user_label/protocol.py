"""Which labels are fitted on and which are judged.

Shape letters: L labels.
"""

import logging
import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Self

import numpy as np
import polars as pl
from pydantic import Field, model_validator
from sklearn.model_selection import StratifiedKFold

from panther_pipeline.config import Config
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.splits import Instant, parse_instant

logger = logging.getLogger(__name__)

FEWEST_FITTED = 2  # users of either class to fit on, so that what is fitted on one can be checked on the other


class ProtocolConfig(Config):
    """How labels are divided; a key that the kind does not read is null."""

    kind: Literal["repeated_folds", "time"]
    num_folds: int | None = Field(ge=2)  # repeated_folds: parts of the users, each judged by a model of the others
    num_repeats: int | None = Field(ge=1)  # repeated_folds: divisions drawn
    fit_before: Instant | None  # time: labels as of a date before it are fitted on, the others judged
    known_after_days: float | None = Field(ge=0)  # time: a label is known so long after its date
    seed: int = Field(ge=0)  # of every draw of folds

    @model_validator(mode="after")
    def _check(self) -> Self:
        keys = {"repeated_folds": ("num_folds", "num_repeats"), "time": ("fit_before", "known_after_days")}
        missing = [key for key in keys[self.kind] if getattr(self, key) is None]
        others = [key for kind in keys if kind != self.kind for key in keys[kind]]
        unread = [key for key in others if getattr(self, key) is not None]
        problems = [f"kind {self.kind} needs {' and '.join(missing)}"] if missing else []
        problems += [f"kind {self.kind} does not read {' and '.join(unread)}: set to null"] if unread else []
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def split(self) -> str:
        """What the judged labels are, as records say it."""
        return "test" if self.kind == "time" else "out_of_fold"


@dataclass(frozen=True, kw_only=True)
class Division:
    """One model is fitted on some labels and judges others."""

    repeat: int
    fit: np.ndarray  # int64 positions of labels
    judged: np.ndarray


def divide_labels(labels: pl.DataFrame, config: ProtocolConfig) -> list[Division]:
    """The divisions of the protocol.

    Args:
        labels: user_id, as_of, label (0 or 1).
        config: which protocol.

    Returns:
        repeated_folds: `num_folds` per repeat, in which every label is judged once; all labels of a user are in one
        fold, and users with a positive label are spread evenly. Where a class has fewer users than there should be
        folds, there are as many folds as it has users, with a warning. time: one, of labels known before `fit_before`
        and of those as of a date at or after it; the labels between are in neither. Without labels, and where a class
        would have fewer than two users to fit on, there is no division, with a warning.

    Raises:
        ConfigurationError: `fit_before` is before the first label or after the last one; says when they are.
    """
    if labels.is_empty():
        logger.warning("This ledger has no labels of users (ledger.schema.user_labels): nothing is fitted on them.")
        return []
    return _divide_by_time(labels, config) if config.kind == "time" else _divide_by_folds(labels, config)


def draw_folds(user_ids_L: pl.Series, label_L: np.ndarray, most: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Positions to fit on and positions held out, of stratified folds of users; fewer folds where a class is rare.

    A user is of the positive class if one of their labels is.
    """
    users = (
        pl.DataFrame({"user_id": user_ids_L, "label": label_L})
        .group_by("user_id")
        .agg(pl.col("label").max())
        .sort("user_id")
    )
    num_folds = min(most, int(np.bincount(users["label"].to_numpy(), minlength=2).min()))
    folds = StratifiedKFold(num_folds, shuffle=True, random_state=seed).split(users, users["label"].to_numpy())
    held_out = [user_ids_L.is_in(users["user_id"].gather(held_out).to_list()).to_numpy() for _, held_out in folds]
    return [(np.flatnonzero(~held_out_L), np.flatnonzero(held_out_L)) for held_out_L in held_out]


def _divide_by_folds(labels: pl.DataFrame, config: ProtocolConfig) -> list[Division]:
    rarer = _count_rarer(labels)
    num_folds = min(config.num_folds, rarer)
    fitted = rarer - math.ceil(rarer / num_folds) if num_folds else 0
    if fitted < FEWEST_FITTED:
        _warn_few(fitted, f"of {rarer} in all, less those of a fold")
        return []
    if num_folds < config.num_folds:
        logger.warning(
            "The rarer class of user labels has %d users: they make %d folds, not the %d of "
            "finetuning.user_label.protocol.num_folds.", rarer, num_folds, config.num_folds,
        )  # fmt: skip
    label_L = labels["label"].to_numpy()
    return [
        Division(repeat=repeat, fit=fit, judged=judged)
        for repeat in range(config.num_repeats)
        for fit, judged in draw_folds(labels["user_id"], label_L, num_folds, config.seed + repeat)
    ]


def _divide_by_time(labels: pl.DataFrame, config: ProtocolConfig) -> list[Division]:
    border = parse_instant(config.fit_before)
    first, last = labels["as_of"].min(), labels["as_of"].max()
    if not first < border <= last:
        raise ConfigurationError(
            f"finetuning.user_label.protocol.fit_before is {config.fit_before}, but the labels are as of "
            f"{first:%Y-%m-%d} to {last:%Y-%m-%d}. Set it between the two: some are fitted on, the others judged."
        )
    # Strictly before, like every event that is read.
    known_L = (labels["as_of"] + timedelta(days=config.known_after_days) < border).to_numpy()
    fit, judged = np.flatnonzero(known_L), np.flatnonzero((labels["as_of"] >= border).to_numpy())
    fitted = _count_rarer(labels[fit])
    if fitted < FEWEST_FITTED:
        _warn_few(fitted, f"known before {config.fit_before}")
        return []
    return [Division(repeat=0, fit=fit, judged=judged)]


def _count_rarer(labels: pl.DataFrame) -> int:
    """How many users the rarer class has."""
    users = labels.group_by("user_id").agg(pl.col("label").max())
    return int(np.bincount(users["label"].to_numpy(), minlength=2).min())


def _warn_few(fitted: int, which: str) -> None:
    logger.warning(
        "The rarer class of user labels has %d users to fit on (%s): with fewer than %d nothing is fitted.",
        fitted, which, FEWEST_FITTED,
    )  # fmt: skip
