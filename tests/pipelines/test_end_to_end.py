"""The whole of it, as a user types it: from a raw ledger to a model card."""

import json
import re
import shutil
from pathlib import Path

import mlflow
import polars as pl
import pytest

from panther_pipeline.hooks.guidance import PIPELINE_NAMES
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.publish import read_manifest


@pytest.fixture
def metrics(finished_project):
    records = json.loads((finished_project / "data/08_reporting/test/metrics.json").read_text())
    return pl.DataFrame(records, infer_schema_length=None)


def test_every_row_is_accepted_or_quarantined(finished_project):
    rows = {
        name: pl.read_parquet(next(finished_project.glob(f"data/*/test/{name}.parquet"))).height
        for name in ("events", "valid_events", "quarantined_events")
    }
    assert rows["events"] == rows["valid_events"] + rows["quarantined_events"]
    assert rows["quarantined_events"] > 0


def test_metrics_hold_every_row_of_the_comparison(metrics):
    fields = {"task", "model", "metric", "split", "value", "low", "high", "n", "seeds", "candidates"}
    assert set(metrics.columns) == fields
    fraud = set(metrics.filter(task="fraud")["model"])
    forecast = set(metrics.filter(task="next_transaction")["model"])
    merchant = set(metrics.filter(task="merchant_risk")["model"])
    assert {"trees_features", "trees_embeddings", "trees_both", "panther_head"} <= fraud
    assert {"head_textcnn", "head_attention", "head_distilled"} <= fraud
    assert {"known_frauds", "deviation_median", "trees_activity", "trees_deviations", "trees_both"} <= merchant
    assert {"popularity", "repeat_last", "personal_frequency", "markov", "panther", "oracle"} <= forecast


def test_intervals_hold_their_value(metrics):
    bounded = metrics.drop_nulls(["low", "high"])
    assert bounded.height > 20
    # Where every resample gives the same number, as for a constant score, the bounds are off by rounding.
    rounding = 1e-12
    outside = (pl.col("low") > pl.col("value") + rounding) | (pl.col("high") < pl.col("value") - rounding)
    assert bounded.filter(outside).is_empty()


def test_no_forecaster_beats_the_oracle(metrics):
    hr = metrics.filter(task="next_transaction", metric="hr@1", split="test")
    oracle = hr.filter(model="oracle")["high"][0]
    assert hr.filter(pl.col("model") != "oracle")["low"].max() < oracle


def test_model_card_opens_without_network(finished_project):
    page = (finished_project / "data/08_reporting/test/model_card.html").read_text()
    page = re.sub(
        r"(<script[^>]*>).*?</script>", r"\1", page, flags=re.DOTALL
    )  # plotly.js names tile servers it is not asked for
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert "panther_head" in page or "PANTHER" in page


def test_store_was_made_with_this_backbone(finished_project):
    manifest = read_manifest(finished_project / "data/07_model_output/test/online_store")
    backbone = Backbone.load(finished_project / "data/06_models/test/backbone")
    assert manifest["facts"]["backbone_digest"] == backbone.digest
    assert min(manifest["facts"]["records"]["counts"].values()) > 0


def test_run_is_one_tracked_run_with_all_it_needs(finished_project):
    client = mlflow.MlflowClient(f"sqlite:///{finished_project}/mlflow.db")
    experiment = client.get_experiment_by_name("panther_pipeline")
    runs = [r for r in client.search_runs([experiment.experiment_id]) if r.data.tags["mlflow.runName"] == "__default__"]
    assert len(runs) == 1
    run = runs[0]
    assert run.info.status == "FINISHED"
    assert run.data.params["pretraining.model.dim"] == "32"
    assert "version.torch" in run.data.tags
    assert any(name.startswith("fraud/panther_head/average_precision") for name in run.data.metrics)
    assert any(name.startswith("pretrain/") for name in run.data.metrics)
    assert "model_card.html" in {a.path for a in client.list_artifacts(run.info.run_id)}
    assert {i.dataset.name for i in run.inputs.dataset_inputs} >= {"raw_transactions", "raw_profiles"}


def test_run_registers_its_scorer_as_the_first_champion(finished_project, metrics):
    client = mlflow.MlflowClient(f"sqlite:///{finished_project}/mlflow.db")
    model = client.get_registered_model("panther_test")
    version = client.get_model_version("panther_test", str(model.aliases["champion"]))
    wanted = metrics.filter(task="fraud", model="panther_head", metric="average_precision", split="test")
    assert float(version.tags["value"]) == wanted["value"][0]
    assert client.get_run(version.run_id).info.status == "FINISHED"
    assert Path(client.get_model_version_download_uri("panther_test", version.version)).is_relative_to(finished_project)


@pytest.fixture(scope="module")
def own_project(finished_project, tmp_path_factory):
    """A copy to write into: other test processes read the shared one."""
    return shutil.copytree(finished_project, tmp_path_factory.mktemp("own") / "project", symlinks=True)


def test_one_pipeline_runs_alone_from_what_is_there(own_project, kedro_command):
    card = own_project / "data/08_reporting/test/vocabulary.parquet"
    before = pl.read_parquet(card)
    kedro_command(own_project, "run", "--env=test", "--pipelines=tokenize")
    assert pl.read_parquet(card).equals(before)


def test_named_run_writes_beside_the_ledger_and_not_over_it(own_project, kedro_command):
    before = (own_project / "data/02_intermediate/test/events.parquet").stat().st_mtime_ns
    kedro_command(own_project, "run", "--env=test", "--pipelines=ingest", "--params=ledger_name=variant")
    assert (own_project / "data/02_intermediate/variant/events.parquet").is_file()
    assert (own_project / "data/02_intermediate/test/events.parquet").stat().st_mtime_ns == before


def test_missing_input_is_one_sentence_naming_the_pipeline(finished_project, kedro_command, tmp_path):
    for name in ("conf", "src"):
        shutil.copytree(finished_project / name, tmp_path / name)
    shutil.copy(finished_project / "pyproject.toml", tmp_path)
    result = kedro_command(tmp_path, "run", "--env=test", "--pipelines=pretrain", check=False)
    assert result.returncode != 0
    assert "kedro run --pipelines=tokenize --env=test" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "data").exists()


def test_wrong_parameter_is_refused_before_anything_runs(finished_project, kedro_command):
    arguments = ("run", "--env=test", "--params=pretraining.model.num_layers=four")
    result = kedro_command(finished_project, *arguments, check=False)
    assert result.returncode != 0
    assert "num_layers" in result.stderr
    assert "Running node" not in result.stdout
    assert "Traceback" not in result.stderr


def test_every_pipeline_is_a_folder_of_its_name(project_root):
    folders = {p.name for p in (project_root / "src/panther_pipeline/pipelines").iterdir() if p.is_dir()}
    assert folders - {"__pycache__"} == set(PIPELINE_NAMES)


def test_broken_source_leaves_earlier_results_untouched(finished_project, kedro_command, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(finished_project, project, symlinks=True)
    (project / "conf/test/catalog.yml").write_text(
        "raw_transactions:\n  type: polars.EagerPolarsDataset\n  file_format: csv\n"
        "  filepath: data/01_raw/payments.csv\n  load_args: {infer_schema: false}\n"
    )
    (project / "data/01_raw").mkdir(parents=True)
    (project / "data/01_raw/payments.csv").write_text("transaction_id,customer,booked_at\n1,7,2024-01-01 10:00:00\n")
    before = (project / "data/02_intermediate/test/events.parquet").read_bytes()
    result = kedro_command(project, "run", "--env=test", "--pipelines=ingest", check=False)
    assert result.returncode != 0
    assert "customer_id" in result.stderr
    assert "customer" in result.stderr
    assert "Traceback" not in result.stderr
    assert (project / "data/02_intermediate/test/events.parquet").read_bytes() == before


def test_factored_tokenizer_runs_end_to_end_beside_the_structured_one(own_project, kedro_command, metrics):
    params = "--params=tokenizer.vocabulary.kind=factored,ledger_name=test_factored"
    kedro_command(own_project, "run", "--env=test", params)
    records = json.loads((own_project / "data/08_reporting/test_factored/metrics.json").read_text())
    factored = pl.DataFrame(records, infer_schema_length=None)

    def measured(table, model):
        return table.filter(model=model, split="test").select("metric", "n").sort("metric").rows()

    assert measured(factored, "panther_factored") == measured(metrics, "panther_structured")
    assert measured(factored, "panther_factored") != []
    # What needs no model is the same number: same fields, same tuples, same targets.
    for model in ("popularity", "markov", "oracle"):
        same = [table.filter(model=model, task="next_transaction") for table in (factored, metrics)]
        assert same[0].equals(same[1])
    likeliest = pl.read_parquet(own_project / "data/07_model_output/test_factored/next_transactions.parquet")
    assert likeliest["token"].str.count_matches("|", literal=True).min() >= 2
    assert set(factored.filter(task="fraud")["model"]) >= {"trees_both", "panther_head"}
