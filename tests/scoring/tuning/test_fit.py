"""Backbone and head tuned together: what it finds, what it leaves alone, and that its product is an ordinary pair."""

import logging
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import average_precision_score

from panther_pipeline.cache.embed import embed_events
from panther_pipeline.errors import ArtifactError, ConfigurationError, TrainingError
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.not_asked import NotAsked
from panther_pipeline.scoring.calibration import IsotonicScaler
from panther_pipeline.scoring.fit import copy_network
from panther_pipeline.scoring.head import FraudHead
from panther_pipeline.scoring.identity import unknown_identity
from panther_pipeline.scoring.task import CALIBRATION, FIT, JUDGED
from panther_pipeline.scoring.tuning.config import MODEL_NAMES
from panther_pipeline.scoring.tuning.fit import tune_backbone


@pytest.fixture(scope="module")
def tuned(case, config):
    return tune_backbone("full", *case.parts, config)


@pytest.fixture(scope="module")
def adapted(case, config):
    return tune_backbone("lora", *case.parts, short(config, 4))


def short(config, max_epochs: int = 1, **changes):
    return config.model_copy(update={"max_epochs": max_epochs, **changes})


def precision_of(scores: pl.DataFrame) -> float:
    test = scores.filter(split="test")
    return average_precision_score(test["label"], test["score"])


def test_tuning_finds_what_the_frozen_state_hides(case, tuned):
    judged = case.task.rows(JUDGED)
    frozen = case.head.score(case.task.features_RF, case.task.embeddings_RD, case.task.surprises_RS)[judged]
    assert average_precision_score(case.task.label_R[judged], frozen) < 0.55
    assert precision_of(tuned[2]) > 0.7  # 0.8 knows the plant


def test_scores_cover_calibration_and_test_under_their_name(case, tuned, adapted):
    for scores, name in ((tuned[2], "head_tuned"), (adapted[2], "head_lora")):
        assert scores["model"].unique().to_list() == [name]
        assert scores.height == len(case.task.rows(CALIBRATION)) + len(case.task.rows(JUDGED))
        assert scores["score"].is_between(0, 1).all()
        assert scores.filter(split="calibration")["score"].mean() == pytest.approx(
            case.task.label_R[case.task.rows(CALIBRATION)].mean(), abs=0.03
        )


@pytest.mark.parametrize("which", ["tuned", "adapted"])
def test_saved_pair_serves_the_same_scores_without_new_code(case, which, request, tmp_path):
    backbone, head, scores = request.getfixturevalue(which)
    assert backbone.digest != case.backbone.digest
    backbone.save(tmp_path / "backbone")
    head.save(tmp_path / "head")
    served, loaded = Backbone.load(tmp_path / "backbone"), FraudHead.load(tmp_path / "head")
    embedded = embed_events(served, case.sequences, case.surprises, case.parts[-1])
    wanted = embedded.join(scores.select("row", "score"), on="row", maintain_order="left")
    rows = wanted["row"].to_numpy()
    at = {row: place for place, row in enumerate(case.task.events["row"])}
    features_RF = case.task.features_RF[[at[row] for row in rows]]
    again = loaded.score(
        features_RF, wanted["embedding"].to_numpy(), wanted.select("surprise", "surprise_z", "cosine").to_numpy()
    )
    assert len(again) == scores.height
    np.testing.assert_allclose(again, wanted["score"], atol=1e-5)


def test_pretrained_backbone_and_head_stay_as_they_were(case, config):
    digest, weights = case.backbone.digest, copy_network(case.head).state_dict()
    tune_backbone("lora", *case.parts, short(config))
    assert case.backbone.digest == digest
    assert all(torch.equal(tensor, weights[name]) for name, tensor in copy_network(case.head).state_dict().items())
    assert all(p.requires_grad for p in case.backbone.parameters())


def test_frozen_pair_is_kept_when_no_epoch_is_better(case, config, fit_head):
    # Features that give the label away: the frozen head is perfect, and nothing is better than perfect. As if half of
    # the non-frauds had been sampled away, so that a correction forgotten on the way would be seen.
    task = replace(case.task, features_RF=case.task.label_R[:, None].astype(np.float32), kept_share=0.5)
    head = fit_head(task)
    backbone, kept_head, scores = tune_backbone("full", task, head, *case.parts[2:], short(config, head="trained"))
    assert backbone.digest == case.backbone.digest
    torch.testing.assert_close(copy_network(kept_head).log_odds, copy_network(head).log_odds)
    kept = task.part_R != FIT
    frozen = head.score(task.features_RF[kept], task.embeddings_RD[kept], task.surprises_RS[kept])
    np.testing.assert_allclose(scores["score"], frozen, atol=1e-5)


@pytest.mark.parametrize("method", MODEL_NAMES)
def test_tuning_is_repeatable_and_leaves_global_random_state_alone(case, config, method):
    config = short(config, dropout=0.1)
    torch.manual_seed(11)
    state = torch.random.get_rng_state()
    first = tune_backbone(method, *case.parts, config)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    second = tune_backbone(method, *case.parts, config)
    assert first[0].digest == second[0].digest
    assert first[2].equals(second[2])
    other = tune_backbone(method, *case.parts, short(config, seeds=[5]))
    assert other[0].digest != first[0].digest


@pytest.mark.parametrize("method", MODEL_NAMES)
def test_future_tokens_and_labels_move_no_weight_and_no_earlier_score(case, config, method):
    """§1: whatever happens from the first judged event on."""
    judged_rows = case.task.events["row"].to_numpy()[case.task.rows(JUDGED)]
    tokens = case.sequences.token_ids_N.copy()
    tokens[judged_rows] = 2 + (tokens[judged_rows] - 1) % 8
    flipped = case.task.events.with_columns(
        label=pl.when(pl.col("row").is_in(judged_rows.tolist())).then(1 - pl.col("label")).otherwise(pl.col("label"))
    )
    future = (
        replace(case.task, events=flipped), case.head, case.backbone, replace(case.sequences, token_ids_N=tokens),
        case.parts[-1],
    )  # fmt: skip
    here, there = (tune_backbone(method, *parts, short(config)) for parts in (case.parts, future))
    assert here[0].digest == there[0].digest
    weights = copy_network(there[1]).state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in copy_network(here[1]).state_dict().items())
    before, after = (pair[2].filter(split="calibration") for pair in (here, there))
    np.testing.assert_array_equal(before["score"], after["score"])
    assert not here[2].filter(split="test")["score"].equals(there[2].filter(split="test")["score"])


def test_event_itself_and_later_ones_do_not_move_its_score(case, tuned):
    backbone, _, scores = tuned
    row = int(scores.filter(split="test")["row"][200])
    tokens = case.sequences.token_ids_N.copy()
    stop = case.sequences.offsets_U1[case.sequences.user_ix_N()[row] + 1]
    tokens[row:stop] = 2 + (tokens[row:stop] - 1) % 8
    changed = replace(case.sequences, token_ids_N=tokens)
    before, after = (embed_events(backbone, s, case.surprises, case.parts[-1]) for s in (case.sequences, changed))
    assert before.filter(row=row).equals(after.filter(row=row))
    assert not before.filter(row=row + 1).equals(after.filter(row=row + 1))


def test_loss_that_is_not_finite_stops_with_advice(case, config):
    broken = case.task.features_RF.copy()
    broken[case.task.rows(FIT)[0], 0] = np.nan
    parts = (replace(case.task, features_RF=broken), *case.parts[1:])
    with pytest.raises(TrainingError, match=r"finetuning\.tuning\.full\.learning_rate"):
        tune_backbone("full", *parts, short(config))


def test_method_that_is_off_changes_nothing(case, config):
    backbone, head, scores = tune_backbone("lora", *case.parts, config.model_copy(update={"methods": "full"}))
    assert backbone == head == NotAsked(option="finetuning.tuning.methods=lora")
    assert scores.is_empty()


def test_task_without_labels_leaves_the_backbone_with_a_warning(case, config, caplog):
    nothing = replace(case.task, events=case.task.events[:0], part_R=case.task.part_R[:0])
    with caplog.at_level(logging.WARNING):
        backbone, head, scores = tune_backbone("full", nothing, *case.parts[1:], config)
    assert backbone is case.backbone
    assert not head.is_trained
    assert scores.is_empty()
    assert "not tuned" in caplog.text


def test_sequences_of_another_ledger_are_refused(case, config):
    moved = replace(case.sequences, time_us_N=case.sequences.time_us_N + 1)
    with pytest.raises(ConfigurationError, match="another version"):
        tune_backbone("full", *case.parts[:3], moved, case.parts[-1], config)
    renamed = replace(case.task, feature_names=["other"])
    with pytest.raises(ConfigurationError, match="fraud_head"):
        tune_backbone("full", renamed, *case.parts[1:], config)


def test_head_of_another_backbone_is_refused(case, config):
    head = case.head
    strange = unknown_identity() | {"backbone_digest": "0" * 64}
    other = FraudHead(head.feature_names, head.embedding_dim, head.config, head.weights, strange)
    with pytest.raises(ArtifactError, match=f"backbone_digest 0{{16}}, not {case.backbone.digest[:16]}"):
        tune_backbone("full", case.task, other, *case.parts[2:], short(config))


def test_tuned_head_is_calibrated_as_the_frozen_one_was(case, config):
    task, frozen, *others = case.parts
    network = copy_network(frozen)
    network.set_calibration(IsotonicScaler.fit(np.linspace(-3, 3, 60), np.arange(60) % 2).buffers)
    isotonic = FraudHead(frozen.feature_names, frozen.embedding_dim, frozen.config, network.as_arrays())
    _, tuned, scores = tune_backbone("lora", task, isotonic, *others, short(config))
    own = copy_network(tuned)
    assert own.calibration == "isotonic"
    assert (own.platt_slope, own.platt_intercept) == (1, 0)
    assert not torch.equal(own.isotonic_logits_K, network.isotonic_logits_K)
    calibration = scores.filter(split="calibration")
    assert calibration["score"].mean() == pytest.approx(calibration["label"].mean(), abs=0.03)
