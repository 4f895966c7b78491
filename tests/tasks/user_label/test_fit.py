"""Scores come from models that never saw what they judge."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.tasks.user_label.fit import SCORE_SCHEMA, ModelsConfig, fit_and_score, score_user_labels
from panther_pipeline.tasks.user_label.models import LogisticConfig, LogisticFamily, TreesConfig
from panther_pipeline.tasks.user_label.protocol import ProtocolConfig, draw_folds

PROTOCOL = ProtocolConfig(
    kind="repeated_folds", num_folds=2, num_repeats=2, fit_before=None, known_after_days=None, seed=0
)
TIME = ProtocolConfig(
    kind="time", num_folds=None, num_repeats=None, fit_before="2024-02-10", known_after_days=10.0, seed=0
)
MODELS = ModelsConfig(
    num_inner_folds=2,
    logistic=LogisticConfig(penalties=[1000.0, 10.0]),
    trees=TreesConfig(num_rounds=[3, 10], learning_rate=0.2, max_leaves=3, min_labels_per_leaf=4, l2=1.0),
    num_threads=1,
)
FAMILY = LogisticFamily(MODELS.logistic)
NAMES = {f"{family}_{inputs}" for family in ("logistic", "trees") for inputs in ("features", "embeddings", "both")}


def make_tables(labels: pl.DataFrame, seed: int = 1) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One informative feature, one informative direction of the embedding, noise around them."""
    rng = np.random.default_rng(seed)
    num, label = labels.height, labels["label"].to_numpy()
    features = labels.with_columns(
        pl.Series("num_events_ever", rng.normal(size=num) + 1.5 * label, dtype=pl.Float32),
        pl.Series("log_mean_size_30d", [None if i % 5 == 0 else rng.normal() for i in range(num)], dtype=pl.Float32),
    )
    states = rng.normal(size=(num, 3)).astype(np.float32)
    states[:, 2] += 1.5 * label
    embeddings = labels.select("user_id", "as_of").with_columns(
        pl.Series("embedding", states, dtype=pl.Array(pl.Float32, 3)),
        pl.Series("surprise_mean", rng.random(num), dtype=pl.Float32),
        pl.Series("surprise_std", rng.random(num), dtype=pl.Float32),
        has_history=True,
    )
    return features, embeddings


@pytest.fixture(scope="module")
def tables(drawn_labels):
    return make_tables(drawn_labels(60, 20))


@pytest.fixture(scope="module")
def scores(tables):
    return score_user_labels(*tables, PROTOCOL, MODELS)


def test_every_model_scores_every_label_in_every_repeat(scores, tables):
    assert dict(scores.schema) == SCORE_SCHEMA
    assert set(scores["model"]) == NAMES
    assert scores.height == 6 * 2 * 60
    assert scores.group_by("model", "repeat").agg(pl.col("user_id").n_unique())["user_id"].unique().to_list() == [60]
    assert scores["score"].is_between(0, 1).all()
    assert scores["split"].unique().to_list() == ["out_of_fold"]


def test_both_kinds_of_input_are_learnt_from(scores):
    for (model,), table in scores.filter(repeat=0).group_by("model"):
        assert roc_auc_score(table["label"], table["score"]) > 0.7, model


def test_own_label_never_reaches_a_score(tables):
    """Where labels and inputs are unrelated nothing can be predicted: a leak of the own label could."""
    _, embeddings = tables
    label, inputs = tables[0]["label"].shuffle(seed=3).to_numpy(), embeddings["embedding"].to_numpy()
    found = np.empty(60)
    for fit, judged in draw_folds(embeddings["user_id"], label, 5, seed=0):
        inner = draw_folds(embeddings["user_id"].gather(fit), label[fit], 2, seed=0)
        found[judged] = fit_and_score(FAMILY, inputs[fit], label[fit], inputs[judged], inner)
    assert roc_auc_score(label, found) < 0.65


def worst_model(scores: pl.DataFrame) -> float:
    """The AUC furthest from 0.5, in standard errors of one that knows nothing (Hanley and McNeil 1982)."""
    worst = 0.0
    for _, table in scores.group_by("model", "repeat"):
        positives, negatives = int(table["label"].sum()), int((table["label"] == 0).sum())
        error = np.sqrt((positives + negatives + 1) / (12 * positives * negatives))
        worst = max(worst, abs(roc_auc_score(table["label"], table["score"]) - 0.5) / error)
    return worst


@pytest.fixture(scope="module")
def many_tables(drawn_labels):
    return make_tables(drawn_labels(240, 80), seed=5)


LATER = TIME.model_copy(update={"fit_before": "2024-05-10"})  # labels of day 130 to 239 are judged


@pytest.mark.parametrize("protocol", [PROTOCOL, LATER], ids=["folds", "time"])
def test_shuffled_labels_predict_nothing(many_tables, protocol):
    """P22: between 0.5 and what any model finds lie at most three standard errors."""
    features, embeddings = many_tables
    assert worst_model(score_user_labels(features, embeddings, protocol, MODELS)) > 3
    for seed in range(3):
        shuffled = features.with_columns(features["label"].shuffle(seed=seed))
        assert worst_model(score_user_labels(shuffled, embeddings, protocol, MODELS)) < 3, seed


def test_guard_notices_an_input_that_is_the_label(many_tables):
    features, embeddings = many_tables
    shuffled = features.with_columns(features["label"].shuffle(seed=0))
    leaky = shuffled.with_columns(log_mean_size_30d=pl.col("label").cast(pl.Float32))
    assert worst_model(score_user_labels(leaky, embeddings, PROTOCOL, MODELS)) > 3


def test_score_of_a_label_does_not_depend_on_who_is_judged_beside_it(tables):
    label, inputs = tables[0]["label"].to_numpy(), tables[0].select("num_events_ever").to_numpy()
    folds = draw_folds(tables[0]["user_id"][:40], label[:40], 2, seed=0)
    together = fit_and_score(FAMILY, inputs[:40], label[:40], inputs[40:], folds)
    assert np.array_equal(together[:5], fit_and_score(FAMILY, inputs[:40], label[:40], inputs[40:45], folds))


def test_scores_are_probabilities_on_average(scores):
    mean = scores.group_by("model").agg(pl.col("score").mean())["score"]
    assert mean.is_between(0.28, 0.39).all()  # 20 of 60 are positive


def test_regularisation_is_the_one_of_the_lowest_inner_loss():
    class Path:
        """Two points: the second one knows the label, the first one nothing."""

        def predict_path(self, inputs_LX, label_L, judged_JX):
            return np.stack([np.zeros(len(judged_JX)), 3 * judged_JX[:, 0]])

    label = np.tile([0, 1], 10)
    inputs = (2.0 * label - 1)[:, None]
    halves = [(np.arange(10), np.arange(10, 20)), (np.arange(10, 20), np.arange(10))]
    found = fit_and_score(Path(), inputs, label, np.array([[-1.0], [1.0]]), halves)
    assert found[0] < 0.2 < 0.8 < found[1]


def test_inner_folds_in_any_order_meet_their_own_labels(tables):
    features, _ = tables
    label, inputs = features["label"].to_numpy(), features.select("num_events_ever").to_numpy()
    folds = draw_folds(features["user_id"], label, 4, seed=5)
    found = fit_and_score(FAMILY, inputs, label, inputs, folds)
    turned = fit_and_score(FAMILY, inputs, label, inputs, folds[::-1])
    assert np.allclose(found, turned)
    assert roc_auc_score(label, found) > 0.75


def test_time_protocol_scores_later_labels_once(tables):
    found = score_user_labels(*tables, TIME, MODELS)
    assert found.height == 6 * 20  # labels of day 40 to 59
    assert set(found["split"]) == {"test"}
    assert set(found["repeat"]) == {0}
    assert score_user_labels(*tables, TIME, MODELS).equals(found)  # nothing is drawn but from the seed


def test_no_labels_give_no_scores(tables):
    features, embeddings = tables
    assert dict(score_user_labels(features[:0], embeddings[:0], PROTOCOL, MODELS).schema) == SCORE_SCHEMA


def test_tables_of_different_labels_are_refused(tables):
    with pytest.raises(ConfigurationError, match="not of the same labels"):
        score_user_labels(tables[0], tables[1][1:], PROTOCOL, MODELS)
