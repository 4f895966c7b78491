"""Training: what is drawn, when it stops, what it learns, and ledgers with hardly anything to learn from."""

import copy
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from panther_pipeline.errors import TrainingError
from panther_pipeline.ledger.splits import TRAIN, UNUSED, VALID
from panther_pipeline.tasks.next_value import fit
from panther_pipeline.tasks.next_value.fit import draw_targets, fit_next_value_heads
from panther_pipeline.tasks.next_value.values import encode_values, fit_value_fields


@pytest.fixture(scope="module")
def fit_heads(backbone, config):
    def run(sequences, events, backbone=backbone, **changes):
        changed = config.model_copy(update=changes)
        fields = fit_value_fields(events.lazy(), sequences, changed)
        return fit_next_value_heads(fields, events.lazy(), sequences, backbone, changed).heads

    return run


def validation_loss(head, sequences, events, backbone) -> float:
    values = encode_values(events.lazy(), sequences, head.field)
    rows_M = draw_targets(sequences, backbone, VALID, 10_000, seed=0)
    targets = fit._with_states(backbone, sequences, rows_M)
    return fit._mean_loss(head.network, values, fit.SeenTokens(values), targets)


def test_targets_are_events_of_the_split_with_an_earlier_one(sequences, backbone):
    firsts = set(sequences.offsets_U1[:-1].tolist())
    expected = [n for n in range(sequences.num_events) if sequences.split_N[n] == TRAIN and n not in firsts]
    assert draw_targets(sequences, backbone, TRAIN, 10_000, seed=0).tolist() == expected


def test_a_draw_takes_whole_pieces_of_histories(sequences, backbone):
    rows_M = draw_targets(sequences, backbone, TRAIN, 40, seed=0)
    assert len(rows_M) == 40
    before_M = rows_M - 1 - sequences.first_row_N()[rows_M]  # where the state before the target stands
    pieces = np.unique(np.stack([sequences.user_ix_N()[rows_M], before_M // 8]), axis=1, return_counts=True)[1]
    assert len(pieces) <= 10, "events from all over would need a forward pass each"
    assert (pieces == 8).sum() >= 3
    assert not np.array_equal(rows_M, draw_targets(sequences, backbone, TRAIN, 40, seed=1))
    assert set(rows_M) <= set(draw_targets(sequences, backbone, TRAIN, 10_000, seed=0))


def test_copying_learns_that_merchants_are_personal(fit_heads, sequences, events, backbone):
    losses = {}
    for copy_past in (True, False):
        _, merchant = fit_heads(sequences, events, copy_past=copy_past)
        losses[copy_past] = validation_loss(merchant, sequences, events, backbone)
    assert losses[True] < losses[False] - 0.2
    assert losses[True] < np.log(12) - 0.4


def test_the_epoch_with_the_lowest_validation_loss_is_kept(fit_heads, sequences, events, backbone):
    def loss(max_epochs: int) -> float:
        # Far too fast: later epochs are worse.
        wanted = {"attributes": ["counterparty"], "max_epochs": max_epochs, "patience": 9, "learning_rate": 0.3}
        (head,) = fit_heads(sequences, events, **wanted)
        return validation_loss(head, sequences, events, backbone)

    losses = [loss(num) for num in (1, 2, 3, 5)]
    assert losses == sorted(losses, reverse=True)


def test_patience_ends_the_training(fit_heads, sequences, events, monkeypatch):
    losses = iter([3.0, 2.0, 2.5, 2.2, 1.0])
    monkeypatch.setattr(fit, "_mean_loss", lambda *_: next(losses))
    fit_heads(sequences, events, attributes=["category"], max_epochs=9, patience=2)
    assert next(losses) == 1.0


def test_same_seed_gives_the_same_heads_and_leaves_the_global_state(fit_heads, sequences, events):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, again, other = (fit_heads(sequences, events, max_epochs=1, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    for name, weights in first[1].network.state_dict().items():
        assert torch.equal(weights, again[1].network.state_dict()[name])
    assert not torch.equal(first[1].network.out.weight, other[1].network.out.weight)


def test_weights_of_the_backbone_stay_as_they_are(fit_heads, sequences, events, backbone):
    digest = backbone.digest
    fit_heads(sequences, events, max_epochs=1)
    assert backbone.digest == digest


def test_attribute_with_one_value_is_forecast_for_certain(fit_heads, sequences, events, backbone):
    same = events.with_columns(category=pl.lit("food"))
    (head,) = fit_heads(sequences, same, attributes=["category"])
    assert head.field.categories == ["food"]
    assert validation_loss(head, sequences, same, backbone) < 0.05


def test_users_with_one_event_leave_nothing_to_fit(fit_heads, ledger, caplog):
    assert fit_heads(*ledger((1, 1, 1, 1))) == []
    # One event each: all of them are test events, so no value is known either.
    assert "is not forecast" in caplog.text


def test_single_training_events_leave_nothing_to_fit(fit_heads, ledger, caplog):
    sequences, events = ledger((2, 2, 2, 2))
    assert fit_heads(sequences, events) == []
    assert "No training event has an earlier event" in caplog.text


def test_without_validation_events_all_epochs_are_run(fit_heads, sequences, events, caplog):
    split_N = np.where(sequences.split_N == VALID, UNUSED, sequences.split_N)
    two, four = (fit_heads(replace(sequences, split_N=split_N), events, max_epochs=n, patience=1) for n in (2, 4))
    assert "trained for all 4 epochs" in caplog.text
    assert not torch.equal(two[0].network.out.weight, four[0].network.out.weight)


def test_states_that_are_not_finite_are_refused(fit_heads, sequences, events, backbone):
    broken = copy.deepcopy(backbone)
    broken.norm.weight.data.fill_(float("nan"))
    with pytest.raises(TrainingError, match="learning_rate"):
        fit_heads(sequences, events, backbone=broken)
