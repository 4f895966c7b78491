"""The declared grid: what is built, what is refused before anything is trained."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from panther_pipeline.ablation.grid import plan_grid
from panther_pipeline.errors import ConfigurationError


def test_variant_overrides_its_keys_and_keeps_the_environments_others(make_config, base, sequences):
    grid = plan_grid(make_config(equal_parameters=False), base, sequences)
    panther, gru = grid.variants
    assert panther.blocks == base
    assert gru.blocks.model == base.model.model_copy(update={"mixer": "gru", "profile": "none"})
    assert gru.blocks.loss.contrastive_weight == 0
    assert gru.blocks.training == base.training


def test_all_faults_of_all_variants_are_named_at_once(make_config, base, sequences):
    variants = {
        "panther": {},
        "typo": {"model": {"mixr": "gru"}},
        "value": {"model": {"mixer": "lstm"}, "loss": {"contrastive_weight": -1.0}},
        "seed": {"training": {"seed": 3}},
        "heads": {"model": {"num_heads": 3}},
        "large": {"model": {"num_prototypes": 100_000}},
    }
    with pytest.raises(ConfigurationError) as caught:
        plan_grid(make_config(variants), base, sequences)
    lines = str(caught.value).splitlines()
    assert len(lines) == 7
    for start, what in [
        ("typo.model", "did you mean 'mixer'"),
        ("value.model.mixer", "hstu"),
        ("value.loss.contrastive_weight", "greater than or equal to 0"),
        ("seed.training.seed", "ablation.num_seeds"),
        ("heads.model", "multiple of num_heads"),
        ("large", "feed_forward_dim 1"),
    ]:
        assert any(line.startswith(f"  ablation.variants.{start}") and what in line for line in lines), start


def test_unknown_key_of_a_variant_and_unknown_names_are_refused(make_config):
    with pytest.raises(ValidationError, match="did you mean 'model'"):
        make_config({"panther": {"modle": {}}})
    with pytest.raises(ValidationError, match="no variant 'gro'; variants: panther, gru"):
        make_config(only="gro")
    with pytest.raises(ValidationError, match="no variant 'panter'"):
        make_config(reference="panter")
    with pytest.raises(ValidationError, match="names a folder"):
        make_config({"panther": {}, "../x": {}})


def test_subset_always_holds_the_reference_first(make_config):
    variants = {"a": {}, "panther": {}, "b": {}, "gone": None}
    assert list(make_config(variants).chosen) == ["panther", "a", "b"]
    assert list(make_config(variants, only="b").chosen) == ["panther", "b"]
    assert list(make_config(variants, only="b + a").chosen) == ["panther", "a", "b"]
    with pytest.raises(ValidationError, match="no variant 'gone'"):
        make_config(variants, only="gone")


def test_factored_tokens_are_refused(make_config, base, sequences):
    with pytest.raises(ConfigurationError, match="factored"):
        plan_grid(make_config(), base, sequences, "factored")


def test_runs_go_seed_by_seed(make_config, base, sequences):
    grid = plan_grid(make_config(num_seeds=2), base, sequences)
    assert [str(run) for run in grid.runs] == ["panther, seed 0", "gru, seed 0", "panther, seed 1", "gru, seed 1"]
    assert [run.training.seed for run in grid.runs] == [0, 0, 1, 1]


def test_variant_that_is_another_one_here_is_not_trained_twice(make_config, base, sequences):
    variants = {
        "panther": {}, "again": {"model": {"num_prototypes": 4}},
        "no_profile": {"model": {"profile": "none"}},
        "no_user": {"model": {"profile": "none"}, "loss": {"contrastive_weight": 0.0}},
    }  # fmt: skip
    grid = plan_grid(make_config(variants), base, sequences)
    assert [variant.name for variant in grid.variants] == ["panther", "no_profile"]
    assert grid.same == {"again": "panther", "no_user": "no_profile"}

    nobody = replace(sequences, profile_sizes=[], profile_ids_UP=np.zeros((sequences.num_users, 0), np.int32))
    assert set(plan_grid(make_config(variants), base, nobody).same.values()) == {"panther"}


def test_variant_that_states_its_size_is_not_one_whose_size_was_chosen(make_config, base, sequences):
    gru = {"mixer": "gru", "profile": "none"}
    variants = {"panther": {}, "gru": {"model": gru}, "gru_64": {"model": gru | {"feed_forward_dim": 64}}}
    grid = plan_grid(make_config(variants), base, sequences)
    _, matched, stated = grid.variants
    assert grid.same == {}
    assert matched.blocks.model.feed_forward_dim != stated.blocks.model.feed_forward_dim == 64


def test_loss_that_the_ledger_refuses_is_named_before_any_training(make_config, base, sequences):
    nothing_changes = replace(sequences, attribute_ids_NF=np.ones_like(sequences.attribute_ids_NF))
    variants = {"panther": {}, "attribute_loss": {"loss": {"attribute_weight": 0.3}}}
    plan_grid(make_config(variants), base, sequences)
    with pytest.raises(ConfigurationError, match=r"variants\.attribute_loss: no attribute of the training"):
        plan_grid(make_config(variants), base, nothing_changes)
