"""Training a grid: what is finished is not repeated, what is stale is not used, what fails does not cost the rest."""

import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np
import pytest

from panther_pipeline.ablation import runs, store
from panther_pipeline.ablation.grid import plan_grid
from panther_pipeline.ablation.runs import run_grid
from panther_pipeline.ablation.statistics import mean_metrics
from panther_pipeline.ablation.store import RunStore
from panther_pipeline.errors import TrainingError
from panther_pipeline.ledger.splits import TEST, VALID
from panther_pipeline.lock import taken

CODE = {"commit": "abc", "version.torch": "2"}


@pytest.fixture
def trained(monkeypatch) -> list[tuple[str, int]]:
    """Which trainings took place, as (mixer, seed)."""
    seen, pretrain = [], runs.pretrain

    def counted(sequences, model, loss, training, *rest):
        seen.append((model.mixer, training.seed))
        return pretrain(sequences, model, loss, training, *rest)

    monkeypatch.setattr(runs, "pretrain", counted)
    return seen


@pytest.fixture
def run(make_config, base, sequences, ranking, tmp_path):
    """Plan and run the small grid in one folder."""

    def run(blocks=base, data=sequences, ranking=ranking, watch=runs.unwatched, **changes):
        grid = plan_grid(make_config(**changes), blocks, data)
        return run_grid(grid, data, RunStore(tmp_path), ranking, CODE, watch)

    return run


def same(one, other) -> bool:
    return all(
        (a.variant, a.seed, a.record) == (b.variant, b.seed, b.record)
        and a.ranks.equals(b.ranks)
        and a.curves.equals(b.curves)
        for a, b in zip(one, other, strict=True)
    )


def test_finished_runs_are_not_trained_again(run, trained):
    first = run()
    assert trained == [("both", 0), ("gru", 0)]
    assert same(first, run())
    assert trained == [("both", 0), ("gru", 0)]
    more = run(num_seeds=2)
    assert trained[2:] == [("both", 1), ("gru", 1)]
    assert same(first, more[:2])


def test_run_that_another_process_has_taken_comes_last(run, trained, tmp_path):
    other = ExitStack()

    @contextmanager
    def watch(planned):
        yield lambda step, metrics: None
        if planned.variant.name == "gru":
            other.close()  # the other process dies, its run untrained, while ours does the rest

    with other:
        assert other.enter_context(taken(RunStore(tmp_path).run("panther", 0).path))
        finished = run(watch=watch)
    assert trained == [("gru", 0), ("both", 0)]
    assert [one.variant for one in finished] == ["panther", "gru"]


def test_run_of_another_configuration_or_other_data_is_trained_anew(run, base, random_sequences, trained):
    run(only="panther")
    warmer = replace(base, loss=base.loss.model_copy(update={"contrastive_temperature": 0.5}))
    run(blocks=warmer, only="panther")
    assert len(trained) == 2
    run(blocks=warmer, data=random_sequences(seed=1), only="panther")
    assert len(trained) == 3
    finer = base.training.model_copy(update={"save_every": 1})
    run(blocks=replace(warmer, training=finer), data=random_sequences(seed=1), only="panther")
    assert len(trained) == 3, "how often checkpoints are written changes no weight"


def test_changed_code_makes_a_run_stale(run, trained, monkeypatch):
    run(only="panther")
    monkeypatch.setattr(runs, "source_digest", lambda places: "another")
    run(only="panther")
    assert len(trained) == 2


def test_damaged_run_is_made_again(run, trained, tmp_path, caplog):
    first = run(only="panther")
    next(tmp_path.glob("panther/seed_0/training/*/curves.parquet")).write_bytes(b"broken")
    again = run(only="panther")
    assert len(trained) == 2
    assert "It is made again" in caplog.text
    assert again[0].ranks.equals(first[0].ranks)


def test_run_whose_model_is_damaged_is_trained_again(run, trained, tmp_path, caplog):
    first = run(only="panther", split="valid")
    next(tmp_path.glob("panther/seed_0/backbone/*/*.safetensors")).write_bytes(b"broken")
    run(only="panther")
    assert len(trained) == 2
    assert "It is made again" in caplog.text
    assert run(only="panther", split="valid")[0].ranks.equals(first[0].ranks)


def test_record_never_stands_beside_the_model_of_another_training(run, base, trained, monkeypatch):
    def pull_the_plug(*args, **kwargs):
        raise KeyboardInterrupt

    other = replace(base, training=base.training.model_copy(update={"peak_lr": 0.5}))
    run(only="panther", split="valid")
    with monkeypatch.context() as patch:
        patch.setattr(store, "publish_folder", pull_the_plug)  # the other's model is saved, its record is not
        with pytest.raises(KeyboardInterrupt):
            run(blocks=other, only="panther")
    run(only="panther")  # not ranked with the other's model
    assert len(trained) == 3


def test_other_split_is_ranked_without_training(run, sequences, trained):
    test, valid = run(only="panther"), run(only="panther", split="valid")
    assert len(trained) == 1
    assert (sequences.split_N[test[0].ranks["row"]] == TEST).all()
    assert (sequences.split_N[valid[0].ranks["row"]] == VALID).all()
    assert len(valid[0].ranks) > 0


def test_interrupted_run_continues_at_its_checkpoint(run, tmp_path):
    whole = run(only="panther")
    shutil.rmtree(tmp_path / "panther")

    @contextmanager
    def pull_the_plug(_):
        def report(step, metrics):
            if step == 6:
                raise KeyboardInterrupt

        yield report

    with pytest.raises(KeyboardInterrupt):
        run(only="panther", watch=pull_the_plug)
    first_steps = []

    @contextmanager
    def follow(_):
        yield lambda step, metrics: first_steps.append(step)

    continued = run(only="panther", watch=follow)
    assert min(first_steps) > 4, "steps before the checkpoint were trained again"
    assert continued[0].ranks.equals(whole[0].ranks)
    assert continued[0].curves.equals(whole[0].curves)
    assert not (tmp_path / "panther/seed_0/checkpoints").exists()


def test_longer_run_continues_from_the_trunk_of_the_shorter(run, base, tmp_path):
    steady = base.training.model_copy(update={"schedule": "wsd", "decay_share": 0.5})
    run(blocks=replace(base, training=steady), only="panther")
    kept = [path.name for path in (tmp_path / "panther/seed_0/checkpoints").iterdir() if path.is_dir()]
    assert kept == ["trunk"]
    steps = []

    @contextmanager
    def follow(_):
        yield lambda step, metrics: steps.append(step)

    longer = steady.model_copy(update={"max_steps": 12})
    finished = run(blocks=replace(base, training=longer), only="panther", watch=follow)
    assert min(steps) > 4
    assert finished[0].record["steps"] == 12


def test_watch_sees_curves_and_metrics_of_new_and_of_finished_runs(run):
    def collect() -> tuple[list, list]:
        seen = []

        @contextmanager
        def watch(planned):
            yield lambda step, metrics: seen.extend(
                (str(planned), step, name, value) for name, value in metrics.items()
            )

        return run(watch=watch), seen

    finished, first = collect()
    _, again = collect()
    assert [x for x in first if x[2] != "tokens_per_s"] == again
    for one in finished:
        name = f"{one.variant}, seed {one.seed}"
        assert (name, 8, "test/hr@10", mean_metrics(one.ranks)["hr@10"]) in first
        assert sum(x[0] == name and x[2] == "valid_nll" for x in first) == 2


def test_failed_run_is_named_after_the_others_are_finished(run, trained, monkeypatch):
    pretrain = runs.pretrain

    def fail(sequences, model, *rest):
        if model.mixer == "both":
            raise TrainingError("the loss of step 3 is not finite")
        return pretrain(sequences, model, *rest)

    monkeypatch.setattr(runs, "pretrain", fail)
    with pytest.raises(TrainingError, match="1 of 2 runs failed") as caught:
        run()
    assert "panther, seed 0: the loss of step 3 is not finite" in str(caught.value)
    assert trained == [("gru", 0)]


def test_records_say_what_was_trained(run):
    record = run(only="panther")[0].record
    assert (record["steps"], record["max_steps"], record["variant"], record["seed"]) == (8, 8, "panther", 0)
    assert record["tokens_per_s"] > 0
    assert record["kept_step"] in (4, 8)
    assert record["num_parameters"] < record["num_weights"]


def test_candidates_are_part_of_the_ranks_identity_and_not_of_the_trainings(run, ranking, sequences, trained):
    everything = run(only="panther")
    new = run(only="panther", ranking=ranking.model_copy(update={"exclude_seen": True}))
    assert len(trained) == 1
    assert new[0].ranks["row"].equals(everything[0].ranks["row"])
    assert new[0].ranks["rank"].null_count() > everything[0].ranks["rank"].null_count()
    assert new[0].ranks["log_prob"].equals(everything[0].ranks["log_prob"])
    assert same(everything, run(only="panther")), "and back"


def test_users_drawn_for_ranking_are_part_of_the_ranks_identity(run, ranking, trained):
    everyone = run(only="panther")
    some = run(only="panther", ranking=ranking.model_copy(update={"max_users": 3}))
    assert some[0].ranks["user_ix"].n_unique() == 3 < everyone[0].ranks["user_ix"].n_unique()
    assert len(trained) == 1
    assert np.isin(some[0].ranks["row"], everyone[0].ranks["row"]).all()
