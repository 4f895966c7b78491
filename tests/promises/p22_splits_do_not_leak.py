"""P22: what is fitted comes before what it is judged on, and knows nothing of it.

On the ledger of a finished run: the windows of time follow each other, and a fitted label was known before the test
began; the statistics of the head come from its fit rows alone; with shuffled labels nothing can be predicted, by the
head or by trees.
"""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import roc_auc_score

from panther_pipeline.ledger.splits import TEST, TRAIN, VALID, SplitConfig, assign_split
from panther_pipeline.scoring.fit import HeadConfig, copy_network, fit_fraud_head
from panther_pipeline.scoring.scores import collect_scores
from panther_pipeline.scoring.task import CALIBRATION, FIT, JUDGED, FraudTask, FraudTaskConfig, assemble_fraud_task
from panther_pipeline.scoring.trees import TreeConfig, fit_tree_baselines
from panther_pipeline.units import epoch_us

STATISTICS = ("number_mean_F", "number_std_F", "embedding_mean_D", "embedding_std_D", "log_odds")


@pytest.fixture(scope="module")
def finetuning(finished_project, load_config):
    torch.set_num_threads(1)
    return load_config("test", finished_project)["parameters"]["finetuning"]


@pytest.fixture(scope="module")
def splits(finished_project, load_config) -> SplitConfig:
    return SplitConfig(**load_config("test", finished_project)["parameters"]["ledger"]["splits"])


@pytest.fixture(scope="module")
def ledger(finished_project) -> pl.DataFrame:
    return pl.read_parquet(finished_project / "data/03_primary/test/valid_events.parquet")


@pytest.fixture(scope="module")
def task(finished_project, finetuning, ledger, splits) -> FraudTask:
    data = finished_project / "data"
    return assemble_fraud_task(
        ledger,
        pl.read_parquet(data / "04_feature/test/event_features.parquet"),
        pl.read_parquet(data / "07_model_output/test/event_embeddings.parquet"),
        FraudTaskConfig(**finetuning["task"]),
        splits,
    )


def shuffle_labels(task: FraudTask, seed: int) -> FraudTask:
    shuffled = task.events["label"].sample(fraction=1.0, shuffle=True, seed=seed)
    return replace(task, events=task.events.with_columns(label=shuffled))


def standard_errors_from_chance(label_R: np.ndarray, score_R: np.ndarray) -> float:
    """How far an AUC is from 0.5, in standard errors of one that knows nothing (Hanley and McNeil 1982)."""
    positives, negatives = int(label_R.sum()), int((label_R == 0).sum())
    error = np.sqrt((positives + negatives + 1) / (12 * positives * negatives))
    return (roc_auc_score(label_R, score_R) - 0.5) / error


def worst_model(scores: pl.DataFrame) -> float:
    judged = scores.filter(split="test")
    return max(
        abs(standard_errors_from_chance(table["label"].to_numpy(), table["score"].to_numpy()))
        for _, table in judged.group_by("model", "seed")
    )


def test_windows_of_time_follow_each_other(ledger, splits, task):
    time_N = epoch_us(ledger["event_time"])
    split_N = assign_split(time_N, ledger["user_id"], splits)
    assert time_N[split_N == TRAIN].max() < time_N[split_N == VALID].min()
    assert time_N[split_N == VALID].max() < time_N[split_N == TEST].min()
    times, known = task.events["event_time"], ledger["label_time"].gather(task.events["row"])
    for earlier, later in ((FIT, CALIBRATION), (CALIBRATION, JUDGED)):
        assert known.gather(task.rows(earlier)).max() < times.gather(task.rows(later)).min()
    fitted, judged = (set(task.events["user_id"].gather(task.rows(part))) for part in (FIT, JUDGED))
    print(f"\nP22 {len(judged & fitted)} of {len(judged)} users of the test were fitted on / stated")


def statistics(task: FraudTask, config: HeadConfig) -> dict[str, torch.Tensor]:
    head, _ = fit_fraud_head(task, config)
    return {name: value for name, value in copy_network(head).state_dict().items() if name in STATISTICS}


def alter_later_rows(task: FraudTask) -> FraudTask:
    later = task.part_R != FIT
    return replace(
        task,
        features_RF=np.where(later[:, None], 7 * task.features_RF + 3, task.features_RF),
        embeddings_RD=np.where(later[:, None], 1 - task.embeddings_RD, task.embeddings_RD),
        surprises_RS=np.where(later[:, None], 5 - task.surprises_RS, task.surprises_RS),
        events=task.events.with_columns(label=pl.Series(np.where(later, 1 - task.label_R, task.label_R))),
    )


@pytest.fixture(scope="module")
def short_head(finetuning) -> HeadConfig:
    return HeadConfig(**{**finetuning["head"], "max_epochs": 1, "seeds": [0]})


def test_statistics_come_from_the_fit_rows_alone(task, short_head):
    before, after = (statistics(t, short_head) for t in (task, alter_later_rows(task)))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_guard_notices_statistics_of_all_rows(task, short_head, monkeypatch):
    stock = FraudTask.rows
    everything = np.arange(len(task.part_R))
    monkeypatch.setattr(FraudTask, "rows", lambda self, part: everything if part == FIT else stock(self, part))
    before, after = (statistics(t, short_head) for t in (task, alter_later_rows(task)))
    assert not all(torch.equal(before[name], after[name]) for name in before)


def test_shuffled_labels_predict_nothing(task, finetuning):
    head, trees = HeadConfig(**finetuning["head"]), TreeConfig(**finetuning["trees"])
    worst = 0.0
    for seed in range(3):
        shuffled = shuffle_labels(task, seed)
        scores = collect_scores(fit_fraud_head(shuffled, head)[1], fit_tree_baselines(shuffled, trees))
        worst = max(worst, worst_model(scores))
    print(f"\nP22 shuffled labels: AUC {worst:.1f} standard errors from one half at most, in 12 fits / 3")
    assert worst < 3


def test_guard_notices_a_feature_that_is_the_label(task, finetuning):
    shuffled = shuffle_labels(task, 0)
    leaky = replace(shuffled, features_RF=shuffled.features_RF + shuffled.label_R[:, None])
    assert worst_model(fit_tree_baselines(leaky, TreeConfig(**finetuning["trees"]))) > 3
