"""Which weights a training ends with, and when it ends early."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from panther_pipeline.errors import TrainingError
from panther_pipeline.ledger.splits import TRAIN
from panther_pipeline.training import loop
from panther_pipeline.training.batches import validation_windows
from panther_pipeline.training.checkpoint import CheckpointFolder
from panther_pipeline.training.evaluation import evaluate
from panther_pipeline.training.pretraining import pretrain


def metrics_of(model, sequences, config):
    windows = validation_windows(sequences, 16, config.eval_windows, config.seed)
    return evaluate(model, sequences, windows, 8, torch.device("cpu"))


@pytest.mark.parametrize("metric", ["nll", "hr@1", "hr@10"])
def test_best_weights_are_those_of_the_metric(metric, random_sequences, model_config, loss_config, make_config):
    sequences = random_sequences(mean_events=60)
    config = make_config(max_steps=60, eval_every=5, peak_lr=3e-2, best_metric=metric)
    shaky = model_config.model_copy(update={"score": "dot"})  # whose last look is never its best
    model, curves = pretrain(sequences, shaky, loss_config, config)
    looks = curves.filter(metric=f"valid_{metric}")["value"]
    best = looks.min() if metric == "nll" else looks.max()
    assert best != looks[-1]
    assert metrics_of(model, sequences, config)[metric] == best


def test_last_weights_are_kept_when_asked(
    random_sequences, model_config, loss_config, make_config, tmp_path, monkeypatch
):
    sequences, folder = random_sequences(), CheckpointFolder(tmp_path)
    config = make_config(max_steps=60, eval_every=5, peak_lr=3e-2, keep="last")
    best, curves = pretrain(sequences, model_config, loss_config, config.model_copy(update={"keep": "best"}), folder)
    monkeypatch.setattr(loop, "_train_step", None)  # the snapshot holds both: nothing is trained again
    last, _ = pretrain(sequences, model_config, loss_config, config, folder)
    looks = curves.filter(metric="valid_nll")["value"]
    assert metrics_of(best, sequences, config)["nll"] == looks.min()
    assert metrics_of(last, sequences, config)["nll"] == looks[-1] > looks.min()


@pytest.mark.parametrize("metric", ["nll", "hr@10"])
def test_patience_stops_early(metric, random_sequences, model_config, loss_config, make_config):
    config = make_config(max_steps=200, eval_every=5, peak_lr=3e-2, patience=2, best_metric=metric)
    _, curves = pretrain(random_sequences(mean_events=60), model_config, loss_config, config)
    looks = curves.filter(metric=f"valid_{metric}")["value"].to_list()
    best = min(looks) if metric == "nll" else max(looks)
    assert curves["step"].max() < 200
    assert len(looks) == looks.index(best) + 3


def test_patience_without_validation_events_is_refused(random_sequences, model_config, loss_config, make_config):
    sequences = random_sequences()
    only_training = replace(sequences, split_N=np.full_like(sequences.split_N, TRAIN))
    pretrain(only_training, model_config, loss_config, make_config())
    with pytest.raises(TrainingError, match=r"patience: 2.*no validation event"):
        pretrain(only_training, model_config, loss_config, make_config(patience=2))


def test_patience_begins_with_the_fall_of_the_rate(random_sequences, model_config, loss_config, make_config):
    config = make_config(
        max_steps=100, eval_every=5, peak_lr=3e-2, patience=1, schedule="wsd", decay_share=0.5, lr_floor=1.0
    )
    _, curves = pretrain(random_sequences(), model_config, loss_config, config)
    looks = curves.filter(metric="valid_nll")
    assert looks.sort("value")["step"][0] < 45  # worse looks before the fall did not end it
    assert looks["step"].max() == 55
