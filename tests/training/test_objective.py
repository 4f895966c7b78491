from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.splits import TRAIN
from panther_pipeline.training.batches import IGNORE, BatchOrder
from panther_pipeline.training.config import LossConfig
from panther_pipeline.training.losses import next_tuple_loss
from panther_pipeline.training.objective import Objective
from panther_pipeline.training.pretraining import untrained_backbone

ALL_TERMS = LossConfig(contrastive_weight=0.7, attribute_weight=0.5, all_action_weight=0.3)


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def make_objective(model_config, random_sequences):
    """An objective and a batch, without dropout."""

    def make(config=None, kind="structured", sequences=None, **changes):
        sequences = sequences or random_sequences()
        model_changes = {"dropout": 0.0} | changes
        model = untrained_backbone(sequences, model_config.model_copy(update=model_changes), 0, kind)
        return Objective(model, config or LossConfig(), sequences), BatchOrder(sequences, 16, 8, 0).batch_at(0)

    return make


@pytest.mark.parametrize(
    ("main", "kind", "changes"),
    [
        ("next_token_loss", "structured", {}),
        ("sampled_token_loss", "structured", {"softmax": "sampled"}),
        ("next_tuple_loss", "factored", {"attribute_weight": 0.0}),
    ],
)
def test_loss_is_the_weighted_sum_of_its_parts(make_objective, main, kind, changes):
    config = ALL_TERMS.model_copy(update=changes)
    objective, batch = make_objective(config, kind)
    losses = objective(batch)
    terms = {"contrastive_loss": 0.7, "attribute_loss": config.attribute_weight, "all_action_loss": 0.3}
    terms = {main: 1.0} | {name: weight for name, weight in terms.items() if weight}
    assert list(losses) == ["loss", *terms]
    expected = sum(weight * losses[name] for name, weight in terms.items())
    assert torch.allclose(losses["loss"], expected, rtol=1e-6)
    assert all(value.dim() == 0 for value in losses.values())


def test_every_weight_of_the_objective_learns(make_objective):
    objective, batch = make_objective(ALL_TERMS)
    objective(batch)["loss"].backward()
    heads = {name for name, _ in objective.named_parameters() if not name.startswith("model.")}
    assert heads == {
        "attribute_heads.output.weight", "attribute_heads.output.bias",
        "all_action_projection.weight", "all_action_projection.bias",
    }  # fmt: skip
    assert all(parameter.grad.abs().sum() > 0 for parameter in objective.parameters())


@pytest.mark.parametrize(("weight", "num_profiles"), [(0.0, 3), (0.1, 0)])
def test_contrast_is_off_at_weight_zero_or_without_profiles(make_objective, random_sequences, weight, num_profiles):
    sequences = random_sequences(num_profiles=num_profiles)
    objective, batch = make_objective(LossConfig(contrastive_weight=weight), sequences=sequences)
    assert list(objective(batch)) == ["loss", "next_token_loss"]


@pytest.mark.parametrize("softmax", ["full", "sampled"])
def test_objective_adds_no_weight_unless_asked(make_objective, softmax):
    objective, _ = make_objective(LossConfig(softmax=softmax))
    assert {f"model.{name}" for name in objective.model.state_dict()} == set(objective.state_dict())


@pytest.mark.parametrize("score", ["dot", "cosine"])
def test_sampled_softmax_over_all_tokens_equals_the_full_one(make_objective, score):
    config = LossConfig(contrastive_weight=0.0, softmax="sampled", in_batch_negatives=False)
    objective, batch = make_objective(config, score=score)
    losses = objective(batch)
    is_target_BT = batch.targets_BT != IGNORE
    logits_NV = objective.model.next_token_logits(objective.model(batch.events)[is_target_BT])
    expected = cross_entropy(logits_NV[:, 1:], batch.targets_BT[is_target_BT] - 1)
    assert torch.allclose(losses["loss"], expected, rtol=1e-6)


def test_sampled_softmax_knows_the_training_frequencies(make_objective, random_sequences):
    sequences = random_sequences()
    config = LossConfig(softmax="sampled")
    objective, _ = make_objective(config, sequences=sequences)
    is_train_N = sequences.split_N == TRAIN
    is_train_N[sequences.offsets_U1[:-1][np.diff(sequences.offsets_U1) > 0]] = False
    shares = np.bincount(sequences.token_ids_N[is_train_N], minlength=20) / is_train_N.sum()
    assert np.allclose(objective.frequency_V, shares)
    later_N = sequences.split_N != TRAIN
    changed = replace(sequences, token_ids_N=np.where(later_N, 1, sequences.token_ids_N).astype(np.int32))
    assert torch.equal(make_objective(config, sequences=changed)[0].frequency_V, objective.frequency_V)


def test_all_action_of_one_event_starts_as_the_next_event(make_objective):
    config = LossConfig(all_action_weight=1.0, all_action_events=1)
    for kind in ("structured", "factored"):
        objective, batch = make_objective(config, kind)
        _, main, _, all_action = objective(batch).values()
        assert torch.allclose(all_action, main, rtol=1e-6)


def test_all_action_predicts_the_attributes_of_the_drawn_event(make_objective):
    # Every event of a window has the attributes of its user's first: whatever is drawn, the targets are known.
    objective, batch = make_objective(LossConfig(contrastive_weight=0, all_action_weight=1.0), "factored")
    constant_BTF = batch.attribute_targets_BTF[:, :1].expand_as(batch.attribute_targets_BTF)
    batch = replace(batch, attribute_targets_BTF=constant_BTF)
    is_target_BT = batch.targets_BT != IGNORE
    h_ND = objective.model(batch.events)[is_target_BT]
    expected = next_tuple_loss(h_ND, constant_BTF[is_target_BT], objective.model.tuple_head)
    assert torch.allclose(objective(batch)["all_action_loss"], expected, rtol=1e-6)


def test_all_action_targets_are_of_the_same_user_and_before_the_training_border(make_objective, random_sequences):
    sequences = random_sequences(vocab_size=500)
    # A token says whose event it is and whether it is of the training window.
    user_ix_N = sequences.user_ix_N()
    token_ids_N = np.where(sequences.split_N == TRAIN, 1 + user_ix_N, 400 + user_ix_N).astype(np.int32)
    sequences = replace(sequences, token_ids_N=token_ids_N)
    objective, _ = make_objective(LossConfig(all_action_weight=1.0, all_action_events=50), sequences=sequences)
    seen = []
    objective._next_event = lambda h_ND, targets_N, _: seen.append(targets_N) or ("", h_ND.sum())
    order = BatchOrder(sequences, 16, 8, 0)
    for step in range(2 * order.steps_per_epoch):
        batch = order.batch_at(step)
        objective(batch)
        next_N, drawn_N = seen[-2:]
        window_N, _ = (batch.targets_BT != IGNORE).nonzero(as_tuple=True)
        assert torch.equal(drawn_N, torch.from_numpy(1 + batch.step_user_ix_A)[window_N])
        assert len(next_N) == len(drawn_N)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"softmax": "sampled"}, "softmax: full"), ({"attribute_weight": 0.1}, "attribute_weight: 0")],
)
def test_factored_model_refuses_losses_on_tokens_and_attributes(make_objective, changes, message):
    with pytest.raises(ConfigurationError, match=message):
        make_objective(LossConfig(**changes), "factored")
