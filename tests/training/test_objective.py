from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.splits import TRAIN
from panther_pipeline.training.batches import IGNORE, BatchOrder
from panther_pipeline.training.config import LossConfig
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


def asked_of(objective, batch):
    """The targets (tokens, attributes) of the next-event loss and of the all-action loss."""
    asked = []
    objective._next_event = lambda h_ND, *targets: asked.append(targets) or ("", h_ND.sum())
    objective(batch)
    return asked


def test_all_action_asks_for_token_and_attributes_of_one_later_event(make_objective, random_sequences):
    sequences = random_sequences(vocab_size=500)
    attribute_ids_NF = np.stack([1 + sequences.token_ids_N % 4, 1 + sequences.token_ids_N // 4 % 4], axis=1)
    sequences = replace(sequences, attribute_ids_NF=attribute_ids_NF.astype(np.int32))
    objective, batch = make_objective(LossConfig(all_action_weight=1.0), sequences=sequences)
    (next_N, _), (drawn_N, attributes_NF) = asked_of(objective, batch)
    assert (next_N != drawn_N).float().mean() > 0.5
    assert torch.equal(attributes_NF, torch.stack([1 + drawn_N % 4, 1 + drawn_N // 4 % 4], dim=1))


def test_all_action_targets_are_of_the_same_user_and_before_the_training_border(make_objective, random_sequences):
    sequences = random_sequences(vocab_size=500)
    # A token says whose event it is and whether it is of the training window.
    user_ix_N = sequences.user_ix_N()
    token_ids_N = np.where(sequences.split_N == TRAIN, 1 + user_ix_N, 400 + user_ix_N).astype(np.int32)
    sequences = replace(sequences, token_ids_N=token_ids_N)
    objective, _ = make_objective(LossConfig(all_action_weight=1.0, all_action_events=50), sequences=sequences)
    order = BatchOrder(sequences, 16, 8, 0)
    for step in range(2 * order.steps_per_epoch):
        batch = order.batch_at(step)
        _, (drawn_N, _) = asked_of(objective, batch)
        window_N, _ = (batch.targets_BT != IGNORE).nonzero(as_tuple=True)
        assert torch.equal(drawn_N, torch.from_numpy(1 + batch.step_user_ix_A)[window_N])


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"softmax": "sampled"}, "softmax: full"), ({"attribute_weight": 0.1}, "attribute_weight: 0")],
)
def test_factored_model_refuses_losses_on_tokens_and_attributes(make_objective, changes, message):
    with pytest.raises(ConfigurationError, match=message):
        make_objective(LossConfig(**changes), "factored")
