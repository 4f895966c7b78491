"""Fit both families on aggregates, on embeddings and on both, and score the labels that are judged.

Whatever is fitted, is fitted on the labels of the fit rows alone: medians and scales, the regularisation (inner folds
of users, log loss) and the calibration (Platt, on the same inner folds).

Shape letters: L labels fitted on, J labels judged, X inputs, S points of a path of regularisation.
"""

import numpy as np
import polars as pl
from pydantic import Field
from sklearn.metrics import log_loss
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from panther_pipeline.config import Config
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.scoring.calibration import PlattScaler, sigmoid
from panther_pipeline.tasks.user_label.aggregates import LABEL_COLUMNS
from panther_pipeline.tasks.user_label.models import Family, LogisticConfig, LogisticFamily, TreeFamily, TreesConfig
from panther_pipeline.tasks.user_label.protocol import Division, ProtocolConfig, divide_labels, draw_folds

SCORE_SCHEMA = {
    "user_id": pl.String,
    "as_of": pl.Datetime("us", "UTC"),
    "label": pl.Int8,
    "split": pl.String,
    "model": pl.String,
    "repeat": pl.Int64,  # of the folds
    "score": pl.Float64,
}

Folds = list[tuple[np.ndarray, np.ndarray]]


class ModelsConfig(Config):
    """The models of the comparison."""

    num_inner_folds: int = Field(ge=2)  # of the fit rows: regularisation and calibration
    logistic: LogisticConfig
    trees: TreesConfig
    num_threads: int = Field(gt=0)


def score_user_labels(
    features: pl.DataFrame, embeddings: pl.DataFrame, protocol: ProtocolConfig, config: ModelsConfig
) -> pl.DataFrame:
    """Probabilities of the judged labels by every model.

    Args:
        features: from `aggregate_histories`.
        embeddings: from `embed_histories`, of the same labels.
        protocol: what is fitted on and what is judged.
        config: the models.

    Returns:
        One row per judged label, model and repeat: user_id, as_of, label, split (out_of_fold, or test of the time
        protocol), model (`logistic_` or `trees_`, and `features`, `embeddings` or `both`), repeat, score (a calibrated
        probability). No rows when there is nothing to fit on.

    Raises:
        ConfigurationError: features and embeddings are not of the same labels.
    """
    keys = ["user_id", "as_of"]
    if not features.select(keys).equals(embeddings.select(keys)):
        raise ConfigurationError(
            "user_label_features and user_label_embeddings are not of the same labels: run the finetune pipeline again."
        )
    labels = features.select(LABEL_COLUMNS).with_columns(split=pl.lit(protocol.split))
    divisions = divide_labels(labels, protocol)
    if not divisions:
        return pl.DataFrame(schema=SCORE_SCHEMA)
    families = {"logistic": LogisticFamily(config.logistic), "trees": TreeFamily(config.trees)}
    inputs = _prepare_inputs(features, embeddings)
    models = {f"{family}_{name}": (families[family], inputs[name]) for family in families for name in inputs}
    # Boosting spins on its threads; more threads than free cores make it many times slower.
    with threadpool_limits(limits=config.num_threads):
        tables = [
            _score_division(labels, division, models, config.num_inner_folds, protocol.seed + division.repeat)
            for division in tqdm(divisions, desc="user labels", unit="fold")
        ]
    return pl.concat(tables)


def _score_division(
    labels: pl.DataFrame,
    division: Division,
    models: dict[str, tuple[Family, np.ndarray]],
    num_inner_folds: int,
    seed: int,
) -> pl.DataFrame:
    fitted, judged = labels[division.fit], labels[division.judged]
    label_L = fitted["label"].to_numpy()
    folds = draw_folds(fitted["user_id"], label_L, num_inner_folds, seed)
    tables = []
    for name, (family, inputs) in models.items():
        score_J = fit_and_score(family, inputs[division.fit], label_L, inputs[division.judged], folds)
        scored = judged.with_columns(pl.lit(name).alias("model"), pl.lit(division.repeat).alias("repeat"))
        tables.append(scored.with_columns(pl.Series("score", score_J)).select(list(SCORE_SCHEMA)).cast(SCORE_SCHEMA))
    return pl.concat(tables)


def fit_and_score(
    family: Family, inputs_LX: np.ndarray, label_L: np.ndarray, judged_JX: np.ndarray, folds: Folds
) -> np.ndarray:
    """Probabilities of the judged, from a model whose regularisation and calibration come from folds of the fitted.

    Args:
        family: the kind of model.
        inputs_LX: of the labels to fit on.
        label_L: 0 or 1, both there.
        judged_JX: of the labels to score.
        folds: positions among the L to fit on, and those held out; every one is held out once.

    Returns:
        float64 (J,), calibrated.
    """
    paths = [family.predict_path(inputs_LX[fit], label_L[fit], inputs_LX[held_out]) for fit, held_out in folds]
    logit_SL = np.hstack(paths)[:, np.argsort(np.concatenate([held_out for _, held_out in folds]))]
    best = int(np.argmin([log_loss(label_L, sigmoid(logit_L)) for logit_L in logit_SL]))
    scaler = PlattScaler.fit(logit_SL[best], label_L)
    return scaler.apply(family.predict_path(inputs_LX, label_L, judged_JX)[best])


def _prepare_inputs(features: pl.DataFrame, embeddings: pl.DataFrame) -> dict[str, np.ndarray]:
    """(L, X) float32 of each row of the comparison; NaN where an aggregate of nothing is unknown."""
    features_LX = features.drop(LABEL_COLUMNS).to_numpy().astype(np.float32, copy=False)
    known = embeddings.select("surprise_mean", "surprise_std", "has_history").cast(pl.Float32).to_numpy()
    model_LX = np.hstack([embeddings["embedding"].to_numpy(), known])
    return {"features": features_LX, "embeddings": model_LX, "both": np.hstack([features_LX, model_LX])}
