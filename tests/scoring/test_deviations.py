"""Deviation alone as a detector."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from panther_pipeline.scoring.deviations import score_deviations
from panther_pipeline.scoring.task import JUDGED


def auc(scores, model: str) -> float:
    test = scores.filter(model=model, split="test")
    return roc_auc_score(test["label"], test["score"])


@pytest.fixture(scope="module")
def deviating(task):
    """Frauds are two standard deviations more surprising, and less like what was expected."""
    surprises = task.surprises_RS.copy()
    surprises[:, 1] += 2 * task.label_R
    surprises[:, 2] -= 1 * task.label_R
    return replace(task, surprises_RS=surprises)


def test_deviations_find_what_deviates(deviating):
    scores = score_deviations(deviating)
    assert auc(scores, "deviation_surprise") > auc(scores, "deviation_cosine") > 0.7
    assert scores["seed"].unique().to_list() == [0]


def test_deviations_that_say_nothing_find_nothing(task):
    scores = score_deviations(task)
    assert abs(auc(scores, "deviation_surprise") - 0.5) < 0.1


def test_labels_move_no_event_past_another(deviating):
    judged = deviating.rows(JUDGED)
    score = score_deviations(deviating).filter(model="deviation_surprise", split="test")["score"].to_numpy()
    order = np.argsort(deviating.surprises_RS[judged, 1], kind="stable")
    assert (np.diff(score[order]) >= 0).all()


def test_scores_are_probabilities(deviating):
    scores = score_deviations(deviating).filter(split="calibration")
    assert scores["score"].mean() == pytest.approx(scores["label"].mean(), abs=0.02)


def test_task_without_labels_is_not_scored(unlabelled_task):
    assert score_deviations(unlabelled_task).is_empty()
