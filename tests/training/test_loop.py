import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from panther_pipeline.errors import TrainingError
from panther_pipeline.ledger.splits import TRAIN, UNUSED, VALID
from panther_pipeline.model.batch import EventBatch
from panther_pipeline.training import identity, run
from panther_pipeline.training.batches import validation_windows
from panther_pipeline.training.checkpoint import CheckpointFolder
from panther_pipeline.training.config import LossConfig
from panther_pipeline.training.evaluation import evaluate
from panther_pipeline.training.loop import train
from panther_pipeline.training.objective import Objective
from panther_pipeline.training.pretraining import pretrain, untrained_backbone


class Killed(BaseException):
    """Stands for `kill -9` inside one process."""


def kill_at(step):
    def report(at, values):
        if at == step and "train_loss" in values:
            raise Killed

    return report


@pytest.mark.parametrize("killed_at", [3, 6, 9])
def test_resumed_run_equals_uninterrupted_bitwise(
    killed_at, random_sequences, model_config, loss_config, make_config, tmp_path, caplog
):
    sequences, config = random_sequences(), make_config()
    whole, whole_curves = pretrain(sequences, model_config, loss_config, config)
    folder = CheckpointFolder(tmp_path)
    with pytest.raises(Killed):
        pretrain(sequences, model_config, loss_config, config, folder, kill_at(killed_at))
    torch.rand(5)  # whatever the process does in between must not matter
    with caplog.at_level(logging.INFO):
        resumed, curves = pretrain(sequences, model_config, loss_config, config, folder)
    assert f"continuing at step {killed_at - 1 - (killed_at - 1) % 2} of 12" in caplog.text
    assert resumed.digest == whole.digest
    assert curves.equals(whole_curves)


@pytest.mark.parametrize("lost", ["rng.", "optimizer."])
def test_resume_differs_when_the_snapshot_lacks_a_part(
    lost, random_sequences, model_config, loss_config, make_config, tmp_path, monkeypatch
):
    # The red twin of the test above: it would notice.
    sequences, config = random_sequences(), make_config()
    whole, _ = pretrain(sequences, model_config, loss_config, config)
    folder = CheckpointFolder(tmp_path)
    with pytest.raises(Killed):
        pretrain(sequences, model_config, loss_config, config, folder, kill_at(9))
    if lost == "rng.":
        monkeypatch.setattr(run, "restore_random_state", lambda *_: None)
    else:
        monkeypatch.setattr(run, "restore_optimizer", lambda optimizer, tensors: None)
    resumed, _ = pretrain(sequences, model_config, loss_config, config, folder)
    assert resumed.digest != whole.digest


def test_checkpoint_of_another_run_is_not_continued(random_sequences, model_config, loss_config, make_config, tmp_path):
    sequences = random_sequences()
    folder = CheckpointFolder(tmp_path)
    with pytest.raises(Killed):
        pretrain(sequences, model_config, loss_config, make_config(), folder, kill_at(6))
    other = make_config(seed=1)
    expected, _ = pretrain(sequences, model_config, loss_config, other)
    assert pretrain(sequences, model_config, loss_config, other, folder)[0].digest == expected.digest


# 11 steps end between two saves, 12 at one; with patience the run ends before either.
@pytest.mark.parametrize("changes", [{"max_steps": 11}, {}, {"max_steps": 200, "eval_every": 5, "patience": 2}])
def test_finished_training_is_not_repeated(
    changes, random_sequences, model_config, loss_config, make_config, tmp_path, caplog, monkeypatch
):
    sequences, config, folder = random_sequences(), make_config(peak_lr=3e-2, **changes), CheckpointFolder(tmp_path)
    first, curves = pretrain(sequences, model_config, loss_config, config, folder)
    monkeypatch.setattr(Objective, "forward", None)  # any further step would fail
    with caplog.at_level(logging.INFO):
        again, same_curves = pretrain(sequences, model_config, loss_config, config, folder)
    assert again.digest == first.digest
    assert same_curves.equals(curves)
    assert not again.training
    assert "finished before" in caplog.text
    assert f"delete the folder {tmp_path}" in caplog.text


def test_finished_training_of_other_code_is_repeated(
    random_sequences, model_config, loss_config, make_config, tmp_path, monkeypatch, caplog
):
    sequences, folder = random_sequences(), CheckpointFolder(tmp_path / "checkpoints")
    pretrain(sequences, model_config, loss_config, make_config(), folder)
    (tmp_path / "losses.py").write_text("changed = True")
    monkeypatch.setattr(identity, "_CODE_FOLDERS", (tmp_path,))
    with caplog.at_level(logging.INFO):
        pretrain(sequences, model_config, loss_config, make_config(), folder)
    assert "another configuration, data, code" in caplog.text
    assert "finished before" not in caplog.text


def test_training_leaves_global_state_alone(random_sequences, model_config, loss_config, make_config):
    torch.manual_seed(11)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].tolist()
    pretrain(random_sequences(), model_config, loss_config, make_config(num_threads=2, max_steps=3))
    assert torch.equal(state, torch.get_rng_state())
    assert np.random.get_state()[1].tolist() == numpy_state
    assert torch.get_num_threads() == 1


def test_events_after_training_never_reach_the_weights(random_sequences, model_config, loss_config, make_config):
    sequences = random_sequences()
    tokens = sequences.token_ids_N.copy()
    later = sequences.split_N != TRAIN
    tokens[later] = 1 + (tokens[later] * 7) % 19
    times = sequences.time_us_N + later * 10**12
    # Without validation events the last weights are kept: nothing may look at what came later.
    hidden = np.where(later, UNUSED, TRAIN).astype(np.int8)
    first, _ = pretrain(replace(sequences, split_N=hidden), model_config, loss_config, make_config())
    changed = replace(sequences, split_N=hidden, token_ids_N=tokens, time_us_N=times)
    assert pretrain(changed, model_config, loss_config, make_config())[0].digest == first.digest


def test_planted_motif_is_learnt(random_sequences, model_config, loss_config, make_config):
    sequences = random_sequences(num_users=60, motif=[3, 5, 3, 7, 2])
    config = make_config(max_steps=150, warmup_steps=10, peak_lr=1e-2, batch_size=16, eval_every=150)
    _, curves = pretrain(sequences, model_config, loss_config, config)
    last = {row["metric"]: row["value"] for row in curves.sort("step").iter_rows(named=True)}
    # After 3 comes 5 or 7: only a model that reads further back than one event gets them right.
    assert last["valid_hr@1"] > 0.95
    assert last["valid_nll"] < 0.3


def test_curves_hold_losses_validation_and_rate(random_sequences, model_config, loss_config, make_config):
    points = []
    _, curves = pretrain(
        random_sequences(), model_config, loss_config, make_config(), report=lambda *point: points.append(point)
    )
    names = {
        "train_loss", "train_next_token_loss", "train_contrastive_loss", "learning_rate",
        "valid_nll", "valid_hr@1", "valid_hr@10",
    }  # fmt: skip
    assert set(curves["metric"]) == names
    assert curves.filter(metric="train_loss")["step"].to_list() == [3, 6, 9, 12]
    assert curves.filter(metric="valid_nll")["step"].to_list() == [4, 8, 12]
    loss, generation, contrastive = (
        curves.filter(metric=f"train_{part}")["value"] for part in ("loss", "next_token_loss", "contrastive_loss")
    )
    assert ((generation + 0.1 * contrastive - loss).abs() < 1e-5).all()
    reported = [(step, name, value) for step, values in points for name, value in values.items()]
    assert [point for point in reported if point[1] != "tokens_per_s"] == curves.rows()
    assert all(value > 0 for _, name, value in reported if name == "tokens_per_s")


def test_ledger_without_profiles_trains_without_contrast(random_sequences, model_config, loss_config, make_config):
    _, curves = pretrain(random_sequences(num_profiles=0), model_config, loss_config, make_config())
    assert "train_contrastive_loss" not in set(curves["metric"])


def test_missing_gpu_is_said(random_sequences, model_config, loss_config, make_config, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match="finds no GPU"):
        pretrain(random_sequences(), model_config, loss_config, make_config(device="cuda"))


def test_bfloat16_trains_close_to_float32(random_sequences, model_config, loss_config, make_config):
    last = []
    for precision in ("float32", "bfloat16"):
        model, curves = pretrain(random_sequences(), model_config, loss_config, make_config(precision=precision))
        assert all(p.dtype == torch.float32 for p in model.parameters())
        last.append(curves.filter(metric="train_loss")["value"][-1])
    assert last[0] != last[1]
    assert last[0] == pytest.approx(last[1], rel=0.02)


class Repeater(torch.nn.Module):
    """The smallest model the loop trains: it scores tokens by the last one."""

    vocab_size, max_events = 20, 16

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(20, 20)

    def forward(self, batch: EventBatch):
        return self.table(batch.token_ids_BT)

    def next_token_factors(self, h):
        return h, torch.eye(20), None


def test_any_next_token_model_can_be_trained(random_sequences, loss_config, make_config):
    torch.manual_seed(0)
    curves = train(Repeater(), random_sequences(), loss_config, make_config(peak_lr=0.1, max_steps=30))
    losses = curves.filter(metric="train_loss")["value"]
    assert losses[-1] < losses[0]


def test_evaluation_counts_ties_against_the_model(random_sequences):
    model, sequences = Repeater(), random_sequences()
    torch.nn.init.zeros_(model.table.weight)
    windows = validation_windows(sequences, 16, 100, 0)
    metrics = evaluate(model, sequences, windows, 8, torch.device("cpu"))
    assert metrics["hr@1"] == metrics["hr@10"] == 0
    assert metrics["nll"] == pytest.approx(math.log(20))


def test_evaluation_equals_a_loop_over_events(random_sequences, model_config):
    sequences = random_sequences()
    model = untrained_backbone(sequences, model_config, seed=0).eval()
    torch.nn.init.normal_(model.embedding.token.weight, generator=torch.Generator().manual_seed(0))
    windows = validation_windows(sequences, 16, 100, 0)
    nll, hits = [], []
    for w in range(len(windows)):
        for row in range(windows.first_targets_W[w], windows.stops_W[w] + 1):
            user = windows.user_ix_W[w : w + 1]
            batch = EventBatch.from_windows(sequences, user, windows.starts_W[w : w + 1], np.array([row]))
            with torch.no_grad():
                logits = model.next_token_logits(model(batch)[0, -1])
            assert sequences.split_N[row] == VALID
            nll.append(-logits.log_softmax(-1)[sequences.token_ids_N[row]].item())
            hits.append(sequences.token_ids_N[row] in logits.topk(10).indices)
    metrics = evaluate(model, sequences, windows, 8, torch.device("cpu"))
    assert metrics["nll"] == pytest.approx(np.mean(nll), abs=1e-5)
    assert metrics["hr@10"] == pytest.approx(np.mean(hits))


def test_factored_evaluation_is_that_of_whole_tuples(random_sequences, model_config):
    sequences = random_sequences()
    model = untrained_backbone(sequences, model_config, seed=0, tokenizer_kind="factored").eval()
    windows = validation_windows(sequences, 16, 100, 0)
    tuples = torch.cartesian_prod(torch.arange(1, 5), torch.arange(1, 5))
    nll, hits, seen = [], [], 0
    for w in range(len(windows)):
        for row in range(windows.first_targets_W[w], windows.stops_W[w] + 1):
            user = windows.user_ix_W[w : w + 1]
            batch = EventBatch.from_windows(sequences, user, windows.starts_W[w : w + 1], np.array([row]))
            with torch.no_grad():
                log_prob = model.tuple_head.log_prob(model(batch)[0, -1].expand(16, -1), tuples)
            came = tuples.tolist().index(sequences.attribute_ids_NF[row].tolist())
            nll.append(-log_prob[came].item())
            hits.append(came in log_prob.topk(10).indices)
            seen += 1
    metrics = evaluate(model, sequences, windows, 8, torch.device("cpu"))
    assert seen > 20
    assert metrics["nll"] == pytest.approx(np.mean(nll), abs=1e-5)
    assert metrics["hr@10"] == pytest.approx(np.mean(hits))


def test_factored_training_learns_what_follows_what(random_sequences, model_config, loss_config, make_config):
    sequences = random_sequences(motif=[1, 2, 3, 4])
    # The second attribute follows from the first of the same event, the first from the event before.
    first = sequences.token_ids_N
    sequences = replace(sequences, attribute_ids_NF=np.stack([first, 5 - first], axis=1).astype(np.int32))
    config = make_config(max_steps=60, peak_lr=0.01, eval_every=60)
    model, curves = pretrain(sequences, model_config, loss_config, config, tokenizer_kind="factored")
    assert model.tokenizer_kind == "factored"
    losses = curves.filter(metric="train_next_tuple_loss")["value"]
    assert losses[0] > 2
    assert losses[-1] < 0.3
    assert curves.filter(metric="valid_hr@1")["value"][-1] > 0.9


def test_resumed_factored_run_equals_uninterrupted_bitwise(
    random_sequences, model_config, loss_config, make_config, tmp_path
):
    sequences, config = random_sequences(), make_config()
    whole, _ = pretrain(sequences, model_config, loss_config, config, tokenizer_kind="factored")
    folder = CheckpointFolder(tmp_path)
    with pytest.raises(Killed):
        pretrain(sequences, model_config, loss_config, config, folder, kill_at(6), tokenizer_kind="factored")
    assert (
        pretrain(sequences, model_config, loss_config, config, folder, tokenizer_kind="factored")[0].digest
        == whole.digest
    )


_TERMS = {"attribute_weight": 0.5, "all_action_weight": 0.5, "all_action_events": 2}
EVERY_LOSS = {
    "full": LossConfig(**_TERMS),
    "sampled": LossConfig(softmax="sampled", num_uniform_negatives=5, **_TERMS),
}


@pytest.mark.parametrize("softmax", EVERY_LOSS)
def test_resumed_run_with_every_loss_equals_uninterrupted_bitwise(
    softmax, random_sequences, model_config, make_config, tmp_path
):
    sequences, config, losses = random_sequences(), make_config(), EVERY_LOSS[softmax]
    whole, whole_curves = pretrain(sequences, model_config, losses, config)
    folder = CheckpointFolder(tmp_path)
    with pytest.raises(Killed):
        pretrain(sequences, model_config, losses, config, folder, kill_at(6))
    resumed, curves = pretrain(sequences, model_config, losses, config, folder)
    assert resumed.digest == whole.digest
    assert curves.equals(whole_curves)
    named = {"train_contrastive_loss", "train_attribute_loss", "train_all_action_loss"}
    assert named < set(curves["metric"])


@pytest.mark.parametrize("softmax", EVERY_LOSS)
def test_every_loss_learns_the_planted_motif(softmax, random_sequences, model_config, make_config):
    sequences = random_sequences(num_users=60, motif=[3, 5, 3, 7, 2])
    attribute_ids_NF = np.stack([1 + sequences.token_ids_N % 4, 1 + sequences.token_ids_N % 2], axis=1)
    sequences = replace(sequences, attribute_ids_NF=attribute_ids_NF.astype(np.int32))
    config = make_config(max_steps=150, warmup_steps=10, peak_lr=1e-2, batch_size=16, eval_every=150)
    _, curves = pretrain(sequences, model_config, EVERY_LOSS[softmax], config)
    last = {row["metric"]: row["value"] for row in curves.sort("step").iter_rows(named=True)}
    assert last["valid_nll"] < 0.3
    assert last["train_attribute_loss"] < 0.3
    # One of the next two events, which differ: a coin.
    assert last["train_all_action_loss"] == pytest.approx(math.log(2), abs=0.05)


def test_finished_backbone_holds_no_training_head(random_sequences, model_config, loss_config, make_config):
    plain, _ = pretrain(random_sequences(), model_config, loss_config, make_config())
    model, _ = pretrain(random_sequences(), model_config, EVERY_LOSS["full"], make_config())
    assert set(model.state_dict()) == set(plain.state_dict())
