"""Two families of models, each a path from strong to weak regularisation.

A family fits its whole path at once: which point of it to use is chosen in `fit`, by inner folds.

Shape letters: L labels fitted on, J labels judged, X inputs, S points of the path.
"""

from typing import Protocol

import numpy as np
from pydantic import Field, model_validator
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from panther_pipeline.config import Config
from panther_pipeline.scoring.calibration import to_logit


class LogisticConfig(Config):
    """Ridge logistic regression."""

    penalties: list[float] = Field(min_length=1)  # on the squared weights, of which the best is chosen

    @model_validator(mode="after")
    def _check(self) -> "LogisticConfig":
        if min(self.penalties) <= 0 or self.penalties != sorted(set(self.penalties), reverse=True):
            raise ValueError(f"penalties must be > 0, descending, each once; got {self.penalties}")
        return self


class TreesConfig(Config):
    """Boosted trees; histories are few, so the trees are small."""

    num_rounds: list[int] = Field(min_length=1)  # trees, of which the best number is chosen
    learning_rate: float = Field(gt=0)
    max_leaves: int = Field(gt=1)
    min_labels_per_leaf: int = Field(gt=0)
    l2: float = Field(ge=0)

    @model_validator(mode="after")
    def _check(self) -> "TreesConfig":
        if self.num_rounds[0] < 1 or self.num_rounds != sorted(set(self.num_rounds)):
            raise ValueError(f"num_rounds must be >= 1, ascending, each once; got {self.num_rounds}")
        return self


class Family(Protocol):
    """A kind of model with a path of regularisation."""

    def predict_path(self, inputs_LX: np.ndarray, label_L: np.ndarray, judged_JX: np.ndarray) -> np.ndarray:
        """Fit on L labels and return the logits of J others at every point of the path, float64 (S, J).

        Inputs may be NaN where nothing is known.
        """
        ...


class LogisticFamily:
    """Standardised inputs; what is missing becomes the median, beside a column that says so."""

    def __init__(self, config: LogisticConfig) -> None:
        self.penalties = config.penalties

    def predict_path(self, inputs_LX: np.ndarray, label_L: np.ndarray, judged_JX: np.ndarray) -> np.ndarray:
        prepare = make_pipeline(
            SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True), StandardScaler()
        )
        prepared_LX = prepare.fit_transform(inputs_LX.astype(np.float64))
        prepared_JX = prepare.transform(judged_JX.astype(np.float64))
        logits = []
        for penalty in self.penalties:
            line = LogisticRegression(C=1 / penalty, max_iter=2000).fit(prepared_LX, label_L)
            logits.append(line.decision_function(prepared_JX))
        return np.array(logits)


class TreeFamily:
    """Boosting, read off at several numbers of trees; what is missing goes the way that fits best."""

    def __init__(self, config: TreesConfig) -> None:
        self.config = config

    def predict_path(self, inputs_LX: np.ndarray, label_L: np.ndarray, judged_JX: np.ndarray) -> np.ndarray:
        config = self.config
        trees = HistGradientBoostingClassifier(
            learning_rate=config.learning_rate,
            max_iter=config.num_rounds[-1],
            max_leaf_nodes=config.max_leaves,
            min_samples_leaf=config.min_labels_per_leaf,
            l2_regularization=config.l2,
            early_stopping=False,
            random_state=0,  # of the bins, and only of tables with more than 200,000 rows
        )
        is_known_X = ~np.isnan(inputs_LX).all(axis=0)  # scikit-learn has no bins for an input that is never known
        trees.fit(inputs_LX[:, is_known_X], label_L)
        after = dict(enumerate(trees.staged_predict_proba(judged_JX[:, is_known_X]), start=1))
        return np.array([to_logit(after[rounds][:, 1]) for rounds in config.num_rounds])
