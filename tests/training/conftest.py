"""Sequences and configurations that train in a second."""

import runpy
from pathlib import Path

import pytest
import torch

from panther_pipeline.model.config import ModelConfig
from panther_pipeline.training.config import LossConfig, TrainingConfig


@pytest.fixture(scope="session")
def random_sequences():
    return runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "histories.py"))["random_sequences"]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def model_config() -> ModelConfig:
    return ModelConfig(dim=16, num_layers=1, num_heads=2, max_events=16, num_prototypes=4, attribute_dim=4)


@pytest.fixture
def loss_config() -> LossConfig:
    return LossConfig()


@pytest.fixture
def make_config():
    def make(**changes) -> TrainingConfig:
        defaults = {
            "batch_size": 8, "max_steps": 12, "warmup_steps": 2, "log_every": 3, "eval_every": 4,
            "save_every": 2, "num_threads": 1, "device": "cpu",
        }  # fmt: skip
        return TrainingConfig(**defaults | changes)

    return make
