"""A longer run of schedule "wsd" continues where the learning rate of a shorter one began to fall."""

import logging
from dataclasses import replace

import pytest

from panther_pipeline.training.checkpoint import CheckpointFolder
from panther_pipeline.training.pretraining import pretrain


class Killed(BaseException):
    """Stands for `kill -9` inside one process."""


@pytest.fixture
def make_wsd(make_config):
    def make(**changes):
        defaults = {"schedule": "wsd", "max_steps": 60, "peak_lr": 1e-2, "eval_every": 7, "log_every": 9}
        return make_config(**defaults | changes)

    return make


@pytest.fixture
def short_run(random_sequences, model_config, loss_config, make_wsd, tmp_path):
    """The folder that a finished run of 60 steps leaves: its rate began to fall at step 48."""
    folder = CheckpointFolder(tmp_path)
    pretrain(random_sequences(), model_config, loss_config, make_wsd(), folder)
    return folder


@pytest.mark.parametrize("keep", ["best", "last"])
def test_longer_run_continues_the_trunk_bitwise(
    keep, short_run, random_sequences, model_config, loss_config, make_wsd, caplog
):
    config = make_wsd(max_steps=100, keep=keep)
    whole, whole_curves = pretrain(random_sequences(), model_config, loss_config, config)
    with caplog.at_level(logging.INFO):
        continued, curves = pretrain(random_sequences(), model_config, loss_config, config, short_run)
    assert "continuing at step 48 of 100" in caplog.text
    assert continued.digest == whole.digest
    assert curves.equals(whole_curves)
    assert [short_run.trunk.latest().step, short_run.latest().step] == [80, 100]


def test_best_weights_of_the_fall_stay_out_of_the_longer_run(
    random_sequences, model_config, loss_config, make_wsd, tmp_path
):
    # The short run's best look is in its fall; the longer one must not have seen it.
    sequences, folder = random_sequences(motif=[3, 5, 3, 7, 2]), CheckpointFolder(tmp_path)
    _, curves = pretrain(sequences, model_config, loss_config, make_wsd(), folder)
    looks = curves.filter(metric="valid_nll")
    fall = looks.filter(looks["step"] > 48)["value"].to_list()
    assert folder.latest().progress["best"] == min(fall)
    assert folder.trunk.latest().progress["best"] == min(set(looks["value"]) - set(fall))


@pytest.mark.parametrize("change", [{"max_steps": 59}, {"decay_share": 0.4}])
def test_shorter_trunk_is_trained_afresh(
    change, short_run, random_sequences, model_config, loss_config, make_wsd, caplog
):
    with caplog.at_level(logging.INFO):
        again, _ = pretrain(random_sequences(), model_config, loss_config, make_wsd(**change), short_run)
    assert "continuing" not in caplog.text
    assert again.digest == pretrain(random_sequences(), model_config, loss_config, make_wsd(**change))[0].digest


def test_trunk_with_another_fall_is_continued(short_run, random_sequences, model_config, loss_config, make_wsd, caplog):
    config = make_wsd(decay_share=0.1, lr_floor=0.0)
    with caplog.at_level(logging.INFO):
        again, _ = pretrain(random_sequences(), model_config, loss_config, config, short_run)
    assert "continuing at step 48 of 60" in caplog.text
    assert again.digest == pretrain(random_sequences(), model_config, loss_config, config)[0].digest


def test_trunk_of_other_data_or_rate_is_not_continued(
    short_run, random_sequences, model_config, loss_config, make_wsd, caplog
):
    sequences = random_sequences()
    later = replace(sequences, time_us_N=sequences.time_us_N + 1)
    with caplog.at_level(logging.INFO):
        pretrain(later, model_config, loss_config, make_wsd(max_steps=61), short_run)
        pretrain(sequences, model_config, loss_config, make_wsd(max_steps=61, peak_lr=2e-2), short_run)
    assert "another configuration, data" in caplog.text
    assert "continuing" not in caplog.text


def test_killed_stable_phase_continues_as_a_longer_run(
    random_sequences, model_config, loss_config, make_wsd, tmp_path, caplog
):
    def kill(step, values):
        if step == 27:
            raise Killed

    folder, longer = CheckpointFolder(tmp_path), make_wsd(max_steps=70)
    with pytest.raises(Killed):
        pretrain(random_sequences(), model_config, loss_config, make_wsd(), folder, kill)
    with caplog.at_level(logging.INFO):
        continued, _ = pretrain(random_sequences(), model_config, loss_config, longer, folder)
    assert "continuing at step 26 of 70" in caplog.text
    assert continued.digest == pretrain(random_sequences(), model_config, loss_config, longer)[0].digest


def test_cosine_keeps_no_trunk(random_sequences, model_config, loss_config, make_config, tmp_path):
    pretrain(random_sequences(), model_config, loss_config, make_config(), CheckpointFolder(tmp_path))
    assert not (tmp_path / "trunk").exists()


def test_damaged_trunk_is_passed_over(short_run, random_sequences, model_config, loss_config, make_wsd, caplog):
    (state,) = short_run.trunk.path.rglob("state.safetensors")
    state.write_bytes(state.read_bytes()[:-1])
    again, _ = pretrain(random_sequences(), model_config, loss_config, make_wsd(max_steps=61), short_run)
    assert str(state) in caplog.text
    assert again.digest == pretrain(random_sequences(), model_config, loss_config, make_wsd(max_steps=61))[0].digest
