"""A grid that trains in a second or two."""

import runpy
from pathlib import Path

import pytest
import torch

from panther_pipeline.ablation.config import AblationConfig
from panther_pipeline.ablation.grid import Blocks
from panther_pipeline.metrics.config import BootstrapConfig, RankingConfig
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.training.config import LossConfig, TrainingConfig

VARIANTS = {
    "panther": {},
    "gru": {"model": {"mixer": "gru", "profile": "none"}, "loss": {"contrastive_weight": 0.0}},
}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def random_sequences():
    return runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "histories.py"))["random_sequences"]


@pytest.fixture(scope="session")
def sequences(random_sequences):
    return random_sequences()


@pytest.fixture
def base() -> Blocks:
    return Blocks(
        model=ModelConfig(
            dim=16, num_layers=1, num_heads=2, max_events=16, num_prototypes=4, attribute_dim=4, feed_forward_dim=64
        ),
        loss=LossConfig(),
        training=TrainingConfig(
            batch_size=8, max_steps=8, warmup_steps=1, log_every=2, eval_every=4, save_every=2, num_threads=1,
            device="cpu",
        ),
    )  # fmt: skip


@pytest.fixture
def make_config():
    def make(variants=VARIANTS, **changes) -> AblationConfig:
        values = {
            "ledger": "unit", "environment": "base", "reference": "panther", "only": None, "num_seeds": 1,
            "split": "test", "equal_parameters": True,
        }  # fmt: skip
        return AblationConfig(**values | changes, variants=variants)

    return make


@pytest.fixture
def ranking() -> RankingConfig:
    return RankingConfig(max_users=None, seed=0, batch_size=8)


@pytest.fixture
def bootstrap() -> BootstrapConfig:
    return BootstrapConfig(num_resamples=200, seed=0)
