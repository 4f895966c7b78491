import pytest
import torch

from panther_pipeline.training.batches import BatchOrder
from panther_pipeline.training.config import LossConfig
from panther_pipeline.training.objective import Objective
from panther_pipeline.training.pretraining import untrained_backbone


@pytest.fixture
def make_objective(model_config, random_sequences):
    """An objective and a batch, without dropout."""

    def make(config=None, kind="structured", **changes):
        sequences = random_sequences(**changes)
        quiet = model_config.model_copy(update={"dropout": 0.0})
        model = untrained_backbone(sequences, quiet, seed=0, tokenizer_kind=kind)
        return Objective(model, config or LossConfig(), sequences), BatchOrder(sequences, 16, 8, 0).batch_at(0)

    return make


@pytest.mark.parametrize("kind", ["structured", "factored"])
def test_loss_is_the_weighted_sum_of_its_parts(make_objective, kind):
    objective, batch = make_objective(LossConfig(contrastive_weight=0.7), kind)
    losses = objective(batch)
    main = "next_token_loss" if kind == "structured" else "next_tuple_loss"
    assert list(losses) == ["loss", main, "contrastive_loss"]
    assert torch.equal(losses["loss"], losses[main] + 0.7 * losses["contrastive_loss"])
    assert all(value.dim() == 0 for value in losses.values())


@pytest.mark.parametrize(("weight", "num_profiles"), [(0.0, 3), (0.1, 0)])
def test_contrast_is_off_at_weight_zero_or_without_profiles(make_objective, weight, num_profiles):
    objective, batch = make_objective(LossConfig(contrastive_weight=weight), num_profiles=num_profiles)
    assert list(objective(batch)) == ["loss", "next_token_loss"]


def test_objective_adds_no_weight_unless_asked(make_objective):
    objective, _ = make_objective()
    assert {f"model.{name}" for name in objective.model.state_dict()} == set(objective.state_dict())
