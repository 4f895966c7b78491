import pytest
from pydantic import ValidationError

from panther_pipeline.model.config import ModelConfig


def test_config_reports_all_problems_at_once():
    with pytest.raises(ValidationError, match=r"multiple of num_heads.*every dilation"):
        ModelConfig(dim=10, num_heads=4, dilations=[1, 0])


def test_config_refuses_heads_too_narrow_for_rotary():
    with pytest.raises(ValidationError, match="multiple of 4; got 2"):
        ModelConfig(dim=8, num_heads=4)
    with pytest.raises(ValidationError, match="multiple of 2; got 3"):
        ModelConfig(dim=12, num_heads=4, time_encoding="none")


@pytest.mark.parametrize("change", [{"time_encoding": "none"}, {"position": "learned"}])
def test_two_channels_are_enough_for_one_kind_of_angle(change, make_backbone, make_batch):
    backbone = make_backbone(dim=8, num_heads=4, **change)
    assert backbone(make_batch()).isfinite().all()


@pytest.mark.parametrize("change", [{"num_layers": "four"}, {"layers": 4}, {"mixer": "rnn"}, {"dropout": 1.0}])
def test_config_refuses_wrong_types_keys_and_values(change):
    with pytest.raises(ValidationError):
        ModelConfig(**change)
