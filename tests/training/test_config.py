import pytest
from pydantic import ValidationError

from panther_pipeline.training.config import LossConfig, TrainingConfig


def test_config_reports_all_problems_at_once():
    with pytest.raises(ValidationError, match=r"warmup_steps < max_steps.*betas must lie"):
        TrainingConfig(max_steps=10, warmup_steps=10, betas=[0.9, 1.5])


def test_sampled_softmax_needs_negatives():
    with pytest.raises(ValidationError, match="num_uniform_negatives >= 1 or in_batch_negatives"):
        LossConfig(softmax="sampled", num_uniform_negatives=0, in_batch_negatives=False)
