from dataclasses import replace

import torch

from panther_pipeline.training.config import LossConfig
from panther_pipeline.training.identity import run_identity, source_digest
from panther_pipeline.training.objective import Objective
from panther_pipeline.training.pretraining import untrained_backbone


def test_source_digest_changes_with_name_and_content(tmp_path):
    digests = set()
    for name, text in (("a.py", "1"), ("a.py", "2"), ("b.py", "2")):
        folder = tmp_path / f"{name}{text}"
        folder.mkdir()
        (folder / name).write_text(text)
        digests.add(source_digest([folder]))
    assert len(digests) == 3


def test_identity_changes_with_everything_that_matters(random_sequences, model_config, make_config):
    sequences, config, cpu = random_sequences(), make_config(), torch.device("cpu")

    def objective(seed=0, weight=0.1, **changes):
        model = untrained_backbone(sequences, model_config.model_copy(update=changes), seed)
        return Objective(model, LossConfig(contrastive_weight=weight), sequences)

    base = run_identity(objective(), sequences, config, cpu, 1)
    assert base == run_identity(objective(), random_sequences(), config, cpu, 1)
    others = [
        run_identity(objective(), sequences, config, cpu, 2),
        run_identity(objective(), sequences, make_config(peak_lr=2e-3), cpu, 1),
        run_identity(objective(), replace(sequences, time_us_N=sequences.time_us_N + 1), config, cpu, 1),
        run_identity(objective(seed=1), sequences, config, cpu, 1),
        run_identity(objective(weight=0.2), sequences, config, cpu, 1),
        run_identity(objective(merge="mean"), sequences, config, cpu, 1),
    ]
    assert len({base.whole, *(other.whole for other in others)}) == 7
    assert len({base.trunk, *(other.trunk for other in others)}) == 7


def test_identity_is_that_of_the_device_found_not_of_how_it_was_asked_for(
    random_sequences, model_config, loss_config, make_config
):
    sequences, cpu = random_sequences(), torch.device("cpu")
    objective = Objective(untrained_backbone(sequences, model_config, seed=0), loss_config, sequences)
    asked = [
        {"device": "auto", "precision": "auto", "num_threads": None},
        {"device": "cpu", "precision": "float32", "num_threads": 2},
    ]
    same = [run_identity(objective, sequences, make_config(**changes), cpu, 2) for changes in asked]
    assert same[0] == same[1]
    other = run_identity(objective, sequences, make_config(precision="bfloat16"), cpu, 2)
    assert other.trunk != same[0].trunk


def test_data_digest_covers_attributes(random_sequences, model_config, loss_config, make_config):
    sequences = random_sequences()
    objective = Objective(untrained_backbone(sequences, model_config, seed=0), loss_config, sequences)
    digests = set()
    for name in ("token_ids_N", "attribute_ids_NF", "split_N", "profile_ids_UP", "offsets_U1"):
        changed = getattr(sequences, name).copy()
        changed.flat[-1] += 1
        other = replace(sequences, **{name: changed})
        digests.add(run_identity(objective, other, make_config(), torch.device("cpu"), 1).whole)
    assert len(digests) == 5


def test_trunk_depends_on_all_but_the_fall(random_sequences, model_config, loss_config, make_config):
    sequences = random_sequences()
    objective = Objective(untrained_backbone(sequences, model_config, seed=0), loss_config, sequences)

    def identity(**changes):
        config = make_config(**{"schedule": "wsd", "max_steps": 60} | changes)
        return run_identity(objective, sequences, config, torch.device("cpu"), 1)

    base = identity()
    for change in ({"max_steps": 100}, {"decay_share": 0.5}, {"lr_floor": 0.0}):
        assert identity(**change).trunk == base.trunk
        assert identity(**change).whole != base.whole
    for change in ({"warmup_steps": 3}, {"schedule": "cosine"}, {"best_metric": "hr@1"}, {"eval_every": 5}):
        assert identity(**change).trunk != base.trunk
    for change in ({"keep": "last"}, {"save_every": 7}):
        assert identity(**change) == base
    assert [base.at(step) == base.trunk for step in (47, 48, 49)] == [True, True, False]
