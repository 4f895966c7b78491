"""What the served head learns of one that sees more."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch.nn.functional import binary_cross_entropy_with_logits

from panther_pipeline.not_asked import NotAsked
from panther_pipeline.scoring.fit import fit_fraud_head
from panther_pipeline.scoring.head import FraudHead
from panther_pipeline.scoring.history.distil import DistillationLoss, assign_folds, cross_fit_teacher, distil_head
from panther_pipeline.scoring.history.fit import fit_history_heads
from panther_pipeline.scoring.loop import HeadRows
from panther_pipeline.scoring.task import CALIBRATION, FIT, JUDGED

from .conftest import plant_order


@pytest.fixture(scope="module")
def taught(head_config):
    """Few rows with doubtful labels, many numbers that each show a little of the order: hard to learn untaught."""
    task, histories = plant_order(2000, seed=0, fraud_shares=(0.2, 0.7), clue=0.3, width=32)
    task = replace(task, part_R=np.repeat([FIT, CALIBRATION, JUDGED], [300, 300, 1400]).astype(np.int8))
    changes = {"seeds": [0], "batch_size": 32, "max_epochs": 12, "patience": 4}
    return task, histories, head_config.model_copy(update=changes)


@pytest.fixture(scope="module")
def distilled(taught, history_config):
    task, histories, head = taught
    return distil_head(task, histories, head, history_config)


def held_out_loss(scores) -> float:
    judged = scores.filter(split="test")
    return log_loss(judged["label"], judged["score"])


def test_distillation_moves_the_loss_toward_the_teachers(taught, distilled, history_config):
    task, _, head = taught
    plain = held_out_loss(fit_fraud_head(task, head)[1])
    teacher = held_out_loss(fit_history_heads(*taught, history_config.model_copy(update={"models": ["attention"]})))
    assert teacher < plain - 0.02
    assert held_out_loss(distilled[1]) < plain - 0.5 * (plain - teacher)


def test_distilled_head_is_saved_and_served_like_the_plain_one(taught, distilled, tmp_path):
    task, _, _ = taught
    head, scores = distilled
    head.save(tmp_path / "head")
    again = FraudHead.load(tmp_path / "head")
    kept = task.part_R != FIT
    found = again.score(task.features_RF[kept], task.embeddings_RD[kept], task.surprises_RS[kept])
    np.testing.assert_allclose(scores["score"], found, atol=1e-6)
    assert scores["model"].unique().to_list() == ["head_distilled"]


def test_teacher_of_a_row_has_not_seen_its_label(taught, history_config):
    task, histories, head = taught
    brief = head.model_copy(update={"max_epochs": 1})
    fold_R = assign_folds(task, 2, seed=0)
    before = cross_fit_teacher(task, histories, brief, history_config, fold_R)
    own = (fold_R == 0) & (task.part_R == FIT)
    flipped = task.label_R.copy()
    flipped[own] = 1 - flipped[own]
    other = replace(task, events=task.events.with_columns(label=flipped))
    after = cross_fit_teacher(other, histories, brief, history_config, fold_R)
    assert torch.equal(before[own], after[own])
    judged_otherwise = (fold_R == 1) & (task.part_R == FIT)
    assert (before[judged_otherwise] != after[judged_otherwise]).all()
    assert before[task.part_R != FIT].isnan().all()


def test_folds_part_users_and_spread_those_with_frauds(taught):
    task, _, _ = taught
    fold_R = assign_folds(task, 3, seed=1)
    users = task.events["user_id"].to_numpy()
    assert all(len(np.unique(fold_R[users == user])) == 1 for user in np.unique(users))
    frauds = (task.label_R == 1) & (task.part_R == FIT)
    counts = [len(np.unique(users[frauds & (fold_R == fold)])) for fold in range(3)]
    assert max(counts) - min(counts) <= 1
    np.testing.assert_array_equal(fold_R, assign_folds(task, 3, seed=1))


def test_loss_is_that_of_the_label_plus_that_of_the_opinion(taught, history_config):
    task, _, _ = taught
    rows = HeadRows.of(task)
    config = history_config.distillation.model_copy(update={"weight": 0.5, "temperature": 2.0})
    teacher_logit_R = torch.randn(len(task.part_R))
    loss = DistillationLoss(rows=rows, teacher_logit_R=teacher_logit_R, config=config)
    logit, chosen = torch.randn(4), torch.tensor([3, 1, 8, 7])
    hard = binary_cross_entropy_with_logits(logit, rows.label_R[chosen])
    opinion = (teacher_logit_R[chosen] / 2).sigmoid()
    soft = -(opinion * (logit / 2).sigmoid().log() + (1 - opinion) * (-logit / 2).sigmoid().log()).mean()
    torch.testing.assert_close(loss(logit, chosen), hard + 0.5 * 4 * soft)


def test_frauds_of_a_single_user_cannot_be_distilled(taught, history_config, caplog):
    task, histories, head = taught
    only = (task.events["user_id"] == task.events["user_id"][0]).to_numpy()
    label_R = np.where(task.part_R == FIT, only, task.label_R).astype(np.int8)
    lone = replace(task, events=task.events.with_columns(label=label_R))
    distilled, scores = distil_head(lone, histories, head, history_config)
    assert not distilled.is_trained
    assert scores.is_empty()
    assert "of two users" in caplog.text


def test_head_that_is_not_named_is_not_made(taught, history_config, caplog):
    task, histories, head = taught
    distilled, scores = distil_head(task, histories, head, history_config.model_copy(update={"models": ["attention"]}))
    assert distilled == NotAsked(option="finetuning.history.models=distilled")
    assert scores.is_empty()
    assert caplog.text == ""
