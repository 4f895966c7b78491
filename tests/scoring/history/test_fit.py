"""Heads that read the history: what they find, and what they must not see."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from panther_pipeline.cache.embed import as_of_rows
from panther_pipeline.scoring.fit import fit_fraud_head
from panther_pipeline.scoring.history.fit import fit_history_heads, network_builder
from panther_pipeline.scoring.history.inputs import gather_histories
from panther_pipeline.scoring.loop import HeadRows, predict
from panther_pipeline.scoring.task import FIT
from panther_pipeline.tokenizer.sequences import TokenSequences


@pytest.fixture(scope="module")
def one_seed(head_config):
    return head_config.model_copy(update={"seeds": [0]})


@pytest.fixture(scope="module")
def scores(ordered, one_seed, history_config):
    return fit_history_heads(*ordered, one_seed, history_config)


def precision(scores, model: str) -> float:
    judged = scores.filter(split="test", model=model)
    return average_precision_score(judged["label"], judged["score"])


def test_both_find_an_order_that_the_plain_head_cannot_see(scores, ordered, one_seed):
    plain = precision(fit_fraud_head(ordered[0], one_seed)[1], "panther_head")
    assert plain < 0.55  # the share of frauds is 0.45
    assert precision(scores, "head_textcnn") > plain + 0.2
    assert precision(scores, "head_attention") > plain + 0.2


def test_scores_are_probabilities_of_unfitted_rows(scores, ordered):
    task, _ = ordered
    assert scores["score"].is_between(0, 1).all()
    assert scores.height == 2 * int((task.part_R != FIT).sum())
    for _, table in scores.filter(split="test").group_by("model"):
        assert table["score"].mean() == pytest.approx(table["label"].mean(), abs=0.06)


@pytest.mark.parametrize("refresh", ["each_event", "daily"])
@pytest.mark.parametrize("kind", ["textcnn", "attention"])
def test_later_events_change_no_score(
    task, sequences, backbone, history_config, events_config, one_seed, refresh, kind
):
    """After the as-of row anything may come but the transaction itself, which is what is scored."""
    config = events_config.model_copy(update={"refresh": refresh})
    rows_R = task.events["row"].to_numpy()
    _, chosen = np.unique(task.events["user_id"].to_numpy(), return_index=True)  # one row of each user

    def logits(of: TokenSequences) -> np.ndarray:
        histories = gather_histories(task, of, backbone, history_config, config)
        rows = HeadRows.of(task, histories.gather)
        torch.manual_seed(0)
        network = network_builder(kind, rows, histories, one_seed, history_config)()
        return predict(network, rows, torch.from_numpy(chosen))

    as_of_R = np.maximum(as_of_rows(sequences, refresh)[rows_R], sequences.first_row_N()[rows_R] - 1)
    stop_R = np.repeat(sequences.offsets_U1[1:], np.diff(sequences.offsets_U1))[rows_R]
    later = np.concatenate([np.arange(as_of_R[r] + 1, stop_R[r]) for r in chosen])
    later = np.setdiff1d(later, rows_R[chosen])
    assert len(later) > 1000
    tokens_N = sequences.token_ids_N.copy()
    tokens_N[later] = 1 + tokens_N[later] % 5
    changed = replace(sequences, token_ids_N=tokens_N, attribute_ids_NF=tokens_N[:, None])
    np.testing.assert_allclose(logits(changed), logits(sequences), atol=1e-6)


def test_nothing_is_fitted_when_no_model_is_named(ordered, one_seed, history_config, caplog):
    for models in ([], ["distilled"]):
        config = history_config.model_copy(update={"models": models})
        assert fit_history_heads(*ordered, one_seed, config).is_empty()
    assert caplog.text == ""


def test_task_without_labels_gives_no_scores(
    unlabelled_task, sequences, backbone, history_config, events_config, one_seed, caplog
):
    histories = gather_histories(unlabelled_task, sequences, backbone, history_config, events_config)
    assert fit_history_heads(unlabelled_task, histories, one_seed, history_config).is_empty()
    assert caplog.text.count("no head reads the history") == 1


def test_isotonic_calibration_changes_probabilities_and_not_their_order(scores, ordered, one_seed, history_config):
    config = history_config.model_copy(update={"models": ["textcnn"]})
    isotonic = fit_history_heads(*ordered, one_seed.model_copy(update={"calibration": "isotonic"}), config)
    platt = scores.filter(model="head_textcnn")
    assert isotonic["score"].rank().equals(platt["score"].rank())
    assert (isotonic["score"] - platt["score"]).abs().max() > 0.01
