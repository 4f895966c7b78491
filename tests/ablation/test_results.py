"""Numbers of the table, against means and signs worked out by hand."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from panther_pipeline.ablation.grid import plan_grid
from panther_pipeline.ablation.plots import plot_ablation, plot_ablation_curves
from panther_pipeline.ablation.results import collect_curves, collect_results
from panther_pipeline.ablation.runs import FinishedRun
from panther_pipeline.ablation.statistics import _draw_seed_weights, estimate_means, is_better
from panther_pipeline.ablation.table import is_clear, render_table
from panther_pipeline.ablation.validation import describe_validation
from panther_pipeline.baselines.next_transaction import rank_with_baselines
from panther_pipeline.metrics.config import RankingConfig
from panther_pipeline.metrics.next_transaction import select_targets
from panther_pipeline.metrics.records import find_value
from panther_pipeline.training.config import TrainingConfig

CODE = {"commit": "abc", "changed": "true", "version.torch": "2", "version.python": "3", "machine": "x"}


def curves(*valid_nll: float) -> pl.DataFrame:
    rows = [
        (10 * (i + 1), metric, value)
        for i, loss in enumerate(valid_nll)
        for metric, value in [("valid_nll", loss), ("valid_hr@1", loss / 10), ("valid_hr@10", loss / 5)]
    ]
    return pl.DataFrame(rows, schema={"step": pl.Int64, "metric": pl.Utf8, "value": pl.Float64}, orient="row")


def finished(variant, seed, rows_M, users_M, ranks, nll, looks=(3.0, 2.0)) -> FinishedRun:
    table = pl.DataFrame(
        {
            "row": rows_M,
            "user_ix": users_M,
            "rank": pl.Series(ranks, dtype=pl.Int32),
            "log_prob": -np.asarray(nll, np.float32),
        }
    )
    record = {"variant": variant, "seed": seed, "steps": 20, "max_steps": 20, "tokens_per_s": 9.0, "machine": "m"}
    record |= {"commit": "abc", "version.torch": "2"}
    known = curves(*looks)
    return FinishedRun(
        variant=variant,
        seed=seed,
        record=record | describe_validation(known, TrainingConfig()),
        curves=known,
        ranks=table,
    )


@pytest.fixture
def measured(make_config, base, sequences, ranking, bootstrap):
    """Two seeds: the gru hits every target at once with seed 0 and none with seed 1; panther is always second."""
    grid = plan_grid(make_config(num_seeds=2), base, sequences)
    rows_M = select_targets(sequences, RankingConfig(max_users=None, seed=0, batch_size=1))
    users_M = sequences.user_ix_N()[rows_M].astype(np.int32)
    size = len(rows_M)
    runs = [
        finished("panther", 0, rows_M, users_M, [2] * size, [1.0] * size),
        finished("gru", 0, rows_M, users_M, [1] * size, [0.5] * size, looks=(2.0, 2.5)),
        finished("panther", 1, rows_M, users_M, [2] * size, [3.0] * size),
        finished("gru", 1, rows_M, users_M, [None] * size, [2.5] * size, looks=(2.0, 2.5)),
    ]
    return collect_results(grid, runs, sequences, ranking, bootstrap, "time", CODE), runs


def test_values_are_means_over_seeds_and_targets(measured):
    records = measured[0]["metrics"]
    gru = find_value(records, model="gru", metric="hr@1")
    assert (gru["value"], gru["seed_values"], gru["seeds"]) == (0.5, [1.0, 0.0], 2)
    assert find_value(records, model="gru", metric="mrr")["value"] == 0.5
    assert find_value(records, model="panther", metric="hr@1")["value"] == 0.0
    assert find_value(records, model="panther", metric="mrr")["value"] == 0.5
    assert find_value(records, model="panther", metric="ndcg@10")["value"] == pytest.approx(1 / np.log2(3))
    assert find_value(records, model="panther", metric="nll")["value"] == 2.0
    assert find_value(records, model="gru", metric="nll")["seed_values"] == [0.5, 2.5]
    assert find_value(records, model="markov", metric="nll") is None


def test_difference_is_the_rows_model_minus_the_reference_seed_by_seed(measured):
    records = measured[0]["metrics"]
    hits = find_value(records, model="gru", metric="hr@5_difference_vs_panther")
    assert (hits["value"], hits["seed_values"]) == (-0.5, [0.0, -1.0])
    loss = find_value(records, model="gru", metric="nll_difference_vs_panther")
    assert (loss["value"], loss["low"], loss["high"], loss["seed_values"]) == (-0.5, -0.5, -0.5, [-0.5, -0.5])
    assert is_better(loss["metric"], loss["value"])
    assert not is_better(hits["metric"], hits["value"])
    assert is_clear(loss)
    assert not is_clear(hits), "one seed sees no difference"
    assert find_value(records, model="panther", metric="hr@5_difference_vs_panther") is None


def test_best_simple_model_is_chosen_per_metric_on_the_same_targets(measured):
    records = measured[0]["metrics"]
    simple = ("popularity", "repeat_last", "personal_frequency", "markov")
    for metric in ("hr@1", "hr@10", "mrr"):
        values = {name: find_value(records, model=name, metric=metric)["value"] for name in simple}
        best = max(values, key=values.get)
        difference = find_value(records, model="gru", metric=f"{metric}_difference_vs_{best}")
        own = find_value(records, model="gru", metric=metric)["value"]
        assert difference["value"] == pytest.approx(own - values[best])


def test_interval_of_a_difference_is_paired(bootstrap):
    # Users differ wildly, the two models by exactly 0.1 everywhere: unpaired intervals would be wide.
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(30), 5)
    one = rng.normal(size=30)[users][None]
    estimates = estimate_means({"one": one, "difference": (one + 0.1) - one}, users, bootstrap)
    assert estimates["difference"].low == pytest.approx(0.1)
    assert estimates["difference"].high == pytest.approx(0.1)
    assert estimates["one"].high - estimates["one"].low > 0.3


def test_interval_holds_the_seeds_as_well_as_the_users(bootstrap):
    # No user differs from another, seeds do: what is left is their share alone.
    users, seeds_S = np.repeat(np.arange(30), 5), np.array([0.0, 0.3, 0.6])
    values_SM = np.repeat(seeds_S[:, None], len(users), axis=1)
    estimate = estimate_means({"one": values_SM}, users, bootstrap)["one"]
    assert estimate.value == pytest.approx(0.3)
    assert (estimate.low, estimate.high) == (0.0, 0.6)  # two draws of three: one in nine is the worst seed twice
    alone = estimate_means({"one": values_SM[:1]}, users, bootstrap)["one"]
    assert (alone.low, alone.high) == (0.0, 0.0)


def test_spread_of_resampled_seeds_is_the_standard_error_of_their_mean():
    values_S = np.array([0.1, 0.5, 0.2, 0.9])
    means_R = (_draw_seed_weights((20_000, 4), seed=0) * values_S).sum(axis=1)
    assert means_R.mean() == pytest.approx(values_S.mean(), abs=0.005)
    assert means_R.std() == pytest.approx(values_S.std(ddof=1) / 2, rel=0.02)


def test_results_are_json_and_name_where_they_come_from(measured):
    facts = json.loads(json.dumps(measured[0], allow_nan=False))["facts"]
    assert facts["command"] == "kedro run --pipelines=ablation --params=ablation.num_seeds=2,ablation.split=test"
    assert (facts["commit"], facts["changed"], facts["seeds"], facts["split"]) == ("abc", "true", [0, 1], "test")
    assert len(facts["data_fingerprint"]) == 64


def test_every_model_and_the_page_say_among_what_was_ranked(make_config, base, sequences, ranking, bootstrap, measured):
    new = ranking.model_copy(update={"exclude_seen": True})
    grid = plan_grid(make_config(num_seeds=2), base, sequences)
    results = collect_results(grid, measured[1], sequences, new, bootstrap, "time", CODE)
    for found, config in ((measured[0], ranking), (results, new)):
        said = {(r["metric"].startswith("nll"), r["candidates"]) for r in found["metrics"]}
        assert said == {(True, None), (False, config.candidates)}
        assert found["facts"]["candidates"] == config.candidates
        ranks_M = rank_with_baselines(sequences, select_targets(sequences, config), exclude_seen=config.exclude_seen)[
            "markov"
        ]
        assert find_value(found["metrics"], model="markov", metric="hr@10")["value"] == (ranks_M <= 10).mean()
    assert "ranked among all 20 tokens;" in render_table(measured[0])
    assert "ranked among the tokens new to the user, of 20;" in render_table(results)


def test_command_names_environment_and_subset(make_config, base, sequences, ranking, bootstrap, measured):
    grid = plan_grid(make_config(only="gru", environment="berka", num_seeds=2), base, sequences)
    results = collect_results(grid, measured[1], sequences, ranking, bootstrap, "time", CODE)
    assert results["facts"]["command"] == (
        "kedro run --pipelines=ablation --env=berka --params=ablation.num_seeds=2,ablation.split=test,ablation.only=gru"
    )


def test_command_names_every_stated_parameter(make_config, base, sequences, ranking, bootstrap, measured):
    stated = {"ablation.num_seeds": 2, "ledger_name": "mine", "pretraining.training.device": "cpu", "x.y": True}
    grid = plan_grid(make_config(num_seeds=2, stated_params=stated), base, sequences)
    results = collect_results(grid, measured[1], sequences, ranking, bootstrap, "time", CODE)
    assert results["facts"]["command"] == (
        "kedro run --pipelines=ablation --params=ablation.num_seeds=2,ablation.split=test,ledger_name=mine,"
        "pretraining.training.device=cpu,x.y=true"
    )


def test_page_says_where_older_runs_were_trained(make_config, base, sequences, ranking, bootstrap, measured):
    assert "trained at" not in render_table(measured[0])
    runs = [replace(run, record=run.record | {"commit": "old"}) if run.seed else run for run in measured[1]]
    grid = plan_grid(make_config(num_seeds=2), base, sequences)
    page = render_table(collect_results(grid, runs, sequences, ranking, bootstrap, "time", CODE))
    assert "- trained at commit abc, torch 2; commit old, torch 2\n" in page


def test_table_marks_unfinished_training_and_clear_differences(measured):
    page = render_table(measured[0])
    assert "commit abc with local changes" in page
    values = page[page.index("## Values") : page.index("## Differences")]
    assert "| panther \\* | (reference) |" in values
    assert "| gru | mixer gru, profile none, contrastive_weight 0.0 |" in values
    assert "0.5000<br>[0.0000, 1.0000]<br>0.0000…1.0000" in values
    assert "| markov | no learned weights |" in values
    assert "**-0.5000<br>[-0.5000, -0.5000]<br>-0.5000…-0.5000** ↑" in page
    for table in [block for block in page.split("\n\n") if block.startswith("|")]:
        assert len({line.count("|") for line in table.splitlines()}) == 1


@pytest.mark.parametrize(
    ("low", "high", "seed_values", "clear"),
    [
        (0.1, 0.3, [0.1, 0.2], True), (-0.3, -0.1, [-0.1, -0.2], True), 
        (-0.1, 0.3, [0.1, 0.2], False), (None, None, [0.1, 0.2], False),
        (0.1, 0.3, [0.2], False),
    ],
)  # fmt: skip
def test_difference_is_clear_when_the_interval_of_several_seeds_excludes_0(low, high, seed_values, clear):
    assert is_clear({"low": low, "high": high, "seed_values": seed_values}) is clear


def test_table_of_one_seed_marks_no_difference(make_config, base, sequences, ranking, bootstrap, measured):
    one_seed = [run for run in measured[1] if run.seed == 0]
    grid = plan_grid(make_config(), base, sequences)
    page = render_table(collect_results(grid, one_seed, sequences, ranking, bootstrap, "time", CODE))
    assert "-0.5000<br>[-0.5000, -0.5000]" in page
    assert "**" not in page
    assert "With one seed no difference is marked" in page


def test_unequal_size_and_twins_are_marked(make_config, base, sequences, ranking, bootstrap, measured):
    variants = {"panther": {}, "gru": {"model": {"num_prototypes": 64}}, "twin": {"model": {"num_heads": 2}}}
    grid = plan_grid(make_config(variants, equal_parameters=False, num_seeds=2), base, sequences)
    page = render_table(collect_results(grid, measured[1], sequences, ranking, bootstrap, "time", CODE))
    row = next(line for line in page.splitlines() if line.startswith("| gru | num_prototypes 64"))
    assert "†" in row
    assert "`twin` is the same model as `panther` here." in page


@pytest.mark.parametrize(
    ("looks", "kept_step", "improving"),
    [((3.0, 2.0, 1.9), 30, True), ((3.0, 2.0, 1.999), 30, False), ((3.0, 2.0, 2.5), 20, False), ((3.0,), 10, None)],
)
def test_validation_says_whether_more_steps_would_help(looks, kept_step, improving):
    said = describe_validation(curves(*looks), TrainingConfig())
    assert (said["kept_step"], said["valid_nll"], said["still_improving"]) == (kept_step, min(looks), improving)
    assert said["valid_hr@10"] == min(looks) / 5


def test_validation_tells_of_the_weights_that_are_kept():
    looks = curves(3.0, 2.0, 2.5)
    by_hits = describe_validation(looks, TrainingConfig(best_metric="hr@10"))
    assert (by_hits["kept_step"], by_hits["valid_nll"]) == (10, 3.0)
    last = describe_validation(looks, TrainingConfig(keep="last"))
    assert (last["kept_step"], last["valid_nll"]) == (30, 2.5)


def test_training_without_validation_says_nothing():
    assert set(describe_validation(curves(), TrainingConfig()).values()) == {None}


def test_plot_shows_every_model_seed_and_the_reference(measured):
    figure = plot_ablation(measured[0])
    means = [trace for trace in figure.data if trace.name == "mean"]
    seeds = [trace for trace in figure.data if trace.name == "seed"]
    assert set(means[0].y) == {"popularity", "repeat_last", "personal_frequency", "markov", "panther", "gru"}
    assert dict(zip(means[0].y, means[0].x, strict=True))["gru"] == 0.5
    assert sorted(zip(seeds[0].y, seeds[0].x, strict=True)) == [
        ("gru", 0.0), ("gru", 1.0), ("panther", 0.0), ("panther", 0.0),
    ]  # fmt: skip
    assert [shape.x0 for shape in figure.layout.shapes][1] == 1.0  # hr@10 of the reference


def test_curves_have_a_line_per_run_and_a_name_per_variant(measured):
    table = collect_curves(measured[1])
    figure = plot_ablation_curves(table)
    assert len(figure.data) == 4
    assert sorted(trace.name for trace in figure.data if trace.showlegend) == ["gru", "panther"]
    assert list(figure.data[0].y) == [3.0, 2.0]


def test_without_validation_the_curves_are_those_of_the_training_loss():
    table = pl.DataFrame(
        {"variant": ["a", "a"], "seed": [0, 0], "step": [1, 2], "metric": ["train_loss"] * 2, "value": [3.0, 2.5]}
    )
    figure = plot_ablation_curves(table)
    assert list(figure.data[0].y) == [3.0, 2.5]
    assert "no validation events" in figure.layout.title.text
