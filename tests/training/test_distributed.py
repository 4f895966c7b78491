"""Several processes train as one does; torch is imported once per process, which is most of the time here."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from panther_pipeline.errors import TrainingError
from panther_pipeline.training.batches import BatchOrder
from panther_pipeline.training.checkpoint import CheckpointFolder
from panther_pipeline.training.config import LossConfig
from panther_pipeline.training.loop import train
from panther_pipeline.training.objective import Objective
from panther_pipeline.training.pretraining import pretrain, untrained_backbone

NUM_PROCESSES = 2


@pytest.fixture
def no_dropout(model_config):
    """Processes draw dropout each for themselves: only without it do they compute the same."""
    return model_config.model_copy(update={"dropout": 0.0})


def workers_of_this_test() -> dict[int, int]:
    """Process ids by rank."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            words = (folder / "cmdline").read_text().split("\0")
        except (OSError, ValueError, IndexError):
            continue
        if parent == os.getpid() and "panther_pipeline.training.worker" in words:
            found[int(words[-2])] = int(folder.name)
    return found


def test_two_processes_train_as_one(random_sequences, no_dropout, make_config):
    points, sequences = [], random_sequences()
    loss = LossConfig(attribute_weight=0.5)
    config = make_config(max_steps=20, log_every=1, eval_every=8, batch_size=7)
    initial = untrained_backbone(sequences, no_dropout, seed=5)
    alone, curves = pretrain(sequences, no_dropout, loss, config, initial=initial)
    together, other_curves = pretrain(
        sequences, no_dropout, loss, config.model_copy(update={"num_processes": NUM_PROCESSES}),
        report=lambda *point: points.append((*point, len(workers_of_this_test()))), initial=initial,
    )  # fmt: skip
    assert other_curves.select("step", "metric").equals(curves.select("step", "metric"))
    assert "train_contrastive_loss" in set(curves["metric"])
    losses = curves["metric"].str.starts_with("train_")
    for step, metric, one, two in zip(
        *curves.filter(losses)[["step", "metric", "value"]], other_curves.filter(losses)["value"], strict=True
    ):
        assert two == pytest.approx(one, rel=1e-5), (step, metric)
    for name, tensor in together.state_dict().items():
        assert torch.allclose(tensor, alone.state_dict()[name], rtol=1e-5, atol=1e-5), name
    reported = [(step, name, value) for step, values, _ in points for name, value in values.items()]
    assert [point for point in reported if point[1] != "tokens_per_s"] == other_curves.rows()
    assert points[0][2] == NUM_PROCESSES, "the curves must be live"


def gradients(objective, batches) -> torch.Tensor:
    """The mean over the processes' gradients, as one vector."""
    objective.zero_grad()
    for batch in batches:
        (objective(batch)["loss"] / len(batches)).backward()
    return torch.cat([p.grad.ravel() for p in objective.parameters()])


@pytest.mark.parametrize("num_processes", [2, 3, 10])
def test_mean_gradient_of_shares_is_that_of_the_whole(num_processes, random_sequences, no_dropout):
    sequences = random_sequences()
    order = BatchOrder(sequences, 16, batch_size=7, seed=0)
    objective = Objective(untrained_backbone(sequences, no_dropout, 0), LossConfig(), sequences)
    step = next(s for s in range(99) if len(set(order.batch_at(s).events.lengths_B.tolist())) > 2)
    whole = gradients(objective, [order.batch_at(step)])
    shares = [order.batch_at(step, rank, num_processes) for rank in range(num_processes)]
    assert torch.allclose(gradients(objective, shares), whole, atol=1e-6)
    # The red twins: without the weights by targets, and with the profiles of each share alone.
    unweighted = [replace(batch, share=torch.ones(())) for batch in shares]
    assert not torch.allclose(gradients(objective, unweighted), whole, atol=1e-4)
    own_profiles = [replace(batch, step_profile_ids_AP=batch.events.profile_ids_BP) for batch in shares]
    assert not torch.allclose(gradients(objective, own_profiles), whole, atol=1e-4)


def test_processes_share_every_window_once(random_sequences):
    sequences = random_sequences()
    order = BatchOrder(sequences, 16, batch_size=7, seed=0)
    for step in range(order.steps_per_epoch):
        shares = [order.batch_at(step, rank, 3) for rank in range(3)]
        tokens = sum(int((batch.targets_BT != -100).sum()) for batch in shares if batch.share > 0)
        assert tokens == int((order.batch_at(step).targets_BT != -100).sum())
        assert float(sum(batch.share for batch in shares)) == pytest.approx(3)


def test_process_that_dies_stops_the_others_with_a_sentence(
    random_sequences, model_config, loss_config, make_config, tmp_path
):
    killed = {}

    def kill_the_second(step, values):
        if not killed:
            killed.update(workers_of_this_test())
            os.kill(killed[1], signal.SIGKILL)

    config = make_config(max_steps=100_000, save_every=100_000, num_processes=NUM_PROCESSES)
    with pytest.raises(TrainingError, match=r"process 1 of 2 was ended by SIGKILL; the others were stopped"):
        pretrain(random_sequences(), model_config, loss_config, config, CheckpointFolder(tmp_path), kill_the_second)
    assert set(killed) == {0, 1}
    assert workers_of_this_test() == {}


def test_what_a_process_says_is_raised_here(random_sequences, model_config, loss_config, make_config):
    sequences = random_sequences()
    nothing = replace(sequences, split_N=sequences.split_N * 0 + 3)
    with pytest.raises(TrainingError, match="nothing to train on"):
        pretrain(nothing, model_config, loss_config, make_config(num_processes=NUM_PROCESSES))


def test_model_of_this_process_is_not_trained_in_others(random_sequences, model_config, loss_config, make_config):
    model = untrained_backbone(random_sequences(), model_config, seed=0)
    with pytest.raises(TrainingError, match=r"num_processes: 2 is for `pretrain`"):
        train(model, random_sequences(), loss_config, make_config(num_processes=2))


@pytest.mark.slow
def test_killed_processes_resume_bit_identically(random_sequences, model_config, loss_config, make_config, tmp_path):
    def kill(step, values):
        if step == 30 and "train_loss" in values:
            os.kill(workers_of_this_test()[0], signal.SIGKILL)

    config = make_config(num_processes=NUM_PROCESSES, max_steps=300, save_every=10, eval_every=100)
    sequences, folder = random_sequences(), CheckpointFolder(tmp_path)
    whole, whole_curves = pretrain(sequences, model_config, loss_config, config)
    with pytest.raises(TrainingError, match="process 0 of 2 was ended by SIGKILL"):
        pretrain(sequences, model_config, loss_config, config, folder, kill)
    assert 20 <= folder.latest().step < 300
    resumed, curves = pretrain(sequences, model_config, loss_config, config, folder)
    assert resumed.digest == whole.digest
    assert curves.equals(whole_curves)
