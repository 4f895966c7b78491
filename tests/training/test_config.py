import pytest
from pydantic import ValidationError

from panther_pipeline.training.config import TrainingConfig


def test_config_reports_all_problems_at_once():
    with pytest.raises(ValidationError, match=r"warmup_steps < max_steps.*betas must lie"):
        TrainingConfig(max_steps=10, warmup_steps=10, betas=[0.9, 1.5])
