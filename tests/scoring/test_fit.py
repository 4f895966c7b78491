"""Training of the fraud head."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from panther_pipeline.errors import TrainingError
from panther_pipeline.scoring.fit import MODEL_NAME, copy_network, fit_fraud_head, score_without_backbone
from panther_pipeline.scoring.task import CALIBRATION, FIT, JUDGED, assemble_fraud_task


@pytest.fixture(scope="module")
def fitted(task, head_config):
    return fit_fraud_head(task, head_config)


def test_head_learns_from_features_and_embeddings(fitted, task):
    head, _ = fitted
    judged = task.rows(JUDGED)
    label = task.label_R[judged]
    full = head.score(task.features_RF[judged], task.embeddings_RD[judged], task.surprises_RS[judged])
    blind = head.score(task.features_RF[judged], 0 * task.embeddings_RD[judged], task.surprises_RS[judged])
    assert average_precision_score(label, full) > 0.85
    assert average_precision_score(label, full) > average_precision_score(label, blind) + 0.01


@pytest.mark.parametrize("kind", ["deep_fm", "logistic"])
def test_other_kinds_of_head_learn_too(task, head_config, kind):
    network = head_config.network.model_copy(update={"kind": kind})
    config = head_config.model_copy(update={"network": network, "seeds": [0]})
    judged = fit_fraud_head(task, config)[1].filter(split="test")
    assert average_precision_score(judged["label"], judged["score"]) > 0.8


def test_head_scores_are_probabilities(fitted, task):
    _, scores = fitted
    for split, part in (("calibration", CALIBRATION), ("test", JUDGED)):
        score = scores.filter((scores["split"] == split) & (scores["seed"] == 0))["score"]
        assert score.is_between(0, 1).all()
        assert score.mean() == pytest.approx(task.label_R[task.rows(part)].mean(), abs=0.03)


def test_isotonic_head_has_the_ranking_of_the_platt_head_and_serves_its_own_probabilities(fitted, task, head_config):
    config = head_config.model_copy(update={"calibration": "isotonic", "seeds": head_config.seeds[:1]})
    head, scores = fit_fraud_head(task, config)
    platt = fitted[1].filter(seed=config.seeds[0])
    assert np.array_equal(np.argsort(scores["score"]), np.argsort(platt["score"]))
    assert not np.allclose(scores["score"], platt["score"], atol=1e-3)
    kept = task.part_R != FIT
    again = head.score(task.features_RF[kept], task.embeddings_RD[kept], task.surprises_RS[kept])
    np.testing.assert_allclose(scores["score"], again, rtol=1e-4)  # rows stand in other chunks


def test_probabilities_know_the_prior_when_non_frauds_are_sampled(
    ledger, features, embeddings, task_config, head_config, splits
):
    config = task_config.model_copy(update={"negatives_per_fraud": 1})
    sampled = assemble_fraud_task(ledger, features, embeddings, config, splits)
    assert sampled.prior_shift < -2
    head, scores = fit_fraud_head(sampled, head_config.model_copy(update={"seeds": [0]}))
    network = copy_network(head)
    numbers_RF = torch.from_numpy(np.hstack([sampled.features_RF, sampled.surprises_RS]))
    judged = sampled.rows(JUDGED)
    with torch.inference_mode():
        raw = network(numbers_RF, torch.from_numpy(np.array(sampled.embeddings_RD)))[judged].sigmoid()
    share = sampled.label_R[judged].mean()
    assert raw.mean() == pytest.approx(share, rel=0.5)  # before Platt scaling, which would hide a wrong prior
    assert scores.filter(split="test")["score"].mean() == pytest.approx(share, rel=0.3)


def test_scores_cover_each_seed_and_no_fitted_row(fitted, task):
    _, scores = fitted
    assert scores["model"].unique().to_list() == [MODEL_NAME]
    assert scores["seed"].unique().sort().to_list() == [0, 1]
    assert scores.height == 2 * (len(task.rows(CALIBRATION)) + len(task.rows(JUDGED)))


def test_saved_head_is_the_one_of_the_first_seed(fitted, task):
    head, scores = fitted
    kept = task.part_R != FIT
    again = head.score(task.features_RF[kept], task.embeddings_RD[kept], task.surprises_RS[kept])
    np.testing.assert_allclose(scores.filter(scores["seed"] == 0)["score"], again, atol=1e-6)


def test_training_is_repeatable_and_leaves_global_random_state_alone(task, head_config):
    config = head_config.model_copy(update={"seeds": [3], "max_epochs": 2})
    torch.manual_seed(11)
    state = torch.random.get_rng_state()
    _, first = fit_fraud_head(task, config)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    _, second = fit_fraud_head(task, config)
    assert first.equals(second)


def test_seeds_give_different_heads(fitted):
    _, scores = fitted
    a, b = (scores.filter(scores["seed"] == seed)["score"] for seed in (0, 1))
    assert not a.equals(b)


def test_statistics_come_from_fit_rows_alone(task, head_config):
    config = head_config.model_copy(update={"seeds": [0], "max_epochs": 1})
    head, _ = fit_fraud_head(task, config)
    shifted = task.features_RF.copy()
    shifted[task.rows(JUDGED)] += 1000
    other, _ = fit_fraud_head(type(task)(**{**vars(task), "features_RF": shifted}), config)
    probe = (task.features_RF[:50], task.embeddings_RD[:50], task.surprises_RS[:50])
    np.testing.assert_array_equal(head.score(*probe), other.score(*probe))


def test_infinite_embedding_stops_training_with_advice(task, head_config):
    broken = task.embeddings_RD.copy()
    broken[task.rows(FIT)[0], 0] = np.nan
    with pytest.raises(TrainingError, match="learning_rate"):
        fit_fraud_head(type(task)(**{**vars(task), "embeddings_RD": broken}), head_config)


def test_task_without_labels_gives_an_untrained_head_and_no_scores(unlabelled_task, head_config, caplog):
    with caplog.at_level(logging.WARNING):
        head, scores = fit_fraud_head(unlabelled_task, head_config)
    assert not head.is_trained
    assert scores.is_empty()
    assert "untrained" in caplog.text


def test_head_without_backbone_reads_features_alone(task, head_config):
    config = head_config.model_copy(update={"also_without_backbone": True, "seeds": [0]})
    scores = score_without_backbone(task, config)
    assert set(scores["model"]) == {"head_features"}
    rng = np.random.default_rng(0)
    other = replace(
        task,
        embeddings_RD=rng.normal(size=task.embeddings_RD.shape).astype(np.float32),
        surprises_RS=rng.normal(size=task.surprises_RS.shape).astype(np.float32),
    )
    assert score_without_backbone(other, config).equals(scores)
    mixed = replace(task, features_RF=rng.permutation(task.features_RF))
    assert not score_without_backbone(mixed, config).equals(scores)


def test_head_without_backbone_is_fitted_on_demand(task, head_config):
    assert score_without_backbone(task, head_config).is_empty()
