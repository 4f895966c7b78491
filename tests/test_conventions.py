"""House rules that a reader relies on: names, layers, one catalog entry for everything that outlives a run."""

import re
from importlib import import_module

import pytest
import yaml

from panther_pipeline.hooks.guidance import PIPELINE_NAMES

LAYERS = {
    "01_raw", "02_intermediate", "03_primary", "04_feature", "05_model_input", "06_models", "07_model_output",
    "08_reporting",
}  # fmt: skip


@pytest.fixture(scope="module")
def pipelines():
    return {name: import_module(f"panther_pipeline.pipelines.{name}").create_pipeline() for name in PIPELINE_NAMES}


@pytest.fixture(scope="module")
def catalog(load_config):
    return load_config()["catalog"]


def test_node_names_are_unique_function_names(pipelines):
    nodes = [node for pipeline in pipelines.values() for node in pipeline.nodes]
    names = [node.name for node in nodes]
    assert len(set(names)) == len(names)
    for node in nodes:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", node.name)
        assert node.func.__name__ == node.name


def test_what_passes_between_pipelines_is_in_the_catalog(pipelines, catalog):
    for name, pipeline in pipelines.items():
        free = {d for d in pipeline.inputs() if not d.startswith("params:")}
        assert free <= set(catalog), f"{name} reads {free - set(catalog)}, which no catalog entry keeps"


def test_no_catalog_entry_is_unused(pipelines, catalog):
    used = set().union(*(p.datasets() for p in pipelines.values()))
    assert set(catalog) <= used


def test_every_entry_has_a_layer_and_lies_in_its_folder(catalog):
    for name, entry in catalog.items():
        layer = entry["metadata"]["kedro-viz"]["layer"]
        assert layer in LAYERS, name
        if "filepath" in entry and layer != "01_raw":
            assert entry["filepath"].startswith(f"data/{layer}/simulated/"), name


def test_layers_follow_the_data_so_that_kedro_viz_can_draw_them(pipelines, catalog):
    # Kedro-Viz hides all layers when a later one feeds an earlier one, directly or through datasets without a layer.
    def layer(name):
        return catalog.get(name, {}).get("metadata", {}).get("kedro-viz", {}).get("layer")

    feeds = {}
    for pipeline in pipelines.values():
        for node in pipeline.nodes:
            for output in node.outputs:
                feeds.setdefault(output, set()).update(i for i in node.inputs if not i.startswith("params:"))

    def sources(name, seen):
        for i in feeds.get(name, ()):
            if i not in seen:
                seen.add(i)
                sources(i, seen)
        return seen

    for name in catalog:
        for source in sources(name, set()):
            assert layer(source) is None or layer(source) <= layer(name), f"{source} feeds {name}"


def test_every_environment_keeps_to_its_own_folder(environments, load_config):
    ledgers = {}
    for env in environments:
        config = load_config(env)
        ledger = config["globals"]["ledger_name"]
        assert ledger not in ledgers, f"{env} and {ledgers.get(ledger)} write over each other"
        ledgers[ledger] = env
        for name, entry in config["catalog"].items():
            for path in filepaths(entry):
                assert path.startswith("data/01_raw/") or f"/{ledger}/" in path or path == ".", name
    assert ledgers["simulated"] == "base"


def filepaths(entry: dict) -> list[str]:
    """Of an entry and of the tables it holds."""
    own = [entry["filepath"]] if "filepath" in entry else []
    return own + [path for table in entry.get("tables", {}).values() for path in filepaths(table)]


def test_a_ledger_is_two_files(environments, project_root):
    ledgers = [env for env in environments if (project_root / "conf" / env / "parameters_ledger.yml").exists()]
    assert set(ledgers) >= {"handbook", "berka", "berka_loans", "tabformer", "online_retail", "movielens"}
    for env in ledgers:
        files = sorted(path.name for path in (project_root / "conf" / env).rglob("*"))
        assert files == ["catalog.yml", "parameters_ledger.yml"], env


def test_every_parameter_has_a_comment(project_root):
    for path in (project_root / "conf/base/parameters").glob("*.yml"):
        assert yaml.safe_load(path.read_text())
        lines = path.read_text().splitlines()
        for i, line in enumerate(lines):
            is_leaf = re.match(r"\s+[a-z_]\w*:\s+\S", line) and not line.strip().startswith(("-", "#"))
            if is_leaf and not re.match(r"\s+(name|column|source|kind|type):", line):
                above = lines[i - 1].strip() if i else ""
                assert "#" in line or above.startswith("#"), f"{path.name}:{i + 1}: {line.strip()} says nothing"


def test_no_parameter_names_an_importable_object(environments, load_config):
    for env in environments:
        text = str(load_config(env)["parameters"])
        assert "panther_pipeline." not in text
        assert "!!python" not in text


@pytest.mark.parametrize("name", ["fraud_kinds", "ledger_oracle", "ledger_truth"])
def test_what_tells_fraud_is_read_by_evaluate_alone(pipelines, name):
    """A feature, token or model that could read it would have read the label."""
    assert {pipeline for pipeline, p in pipelines.items() if name in p.datasets()} == {"evaluate"}
    after = pipelines["evaluate"].from_inputs(name).all_outputs()
    assert after.isdisjoint(set().union(*(p.inputs() for other, p in pipelines.items() if other != "evaluate")))


def test_column_that_tells_the_kind_of_fraud_stays_forbidden(environments, load_config):
    checked = []
    for env in environments:
        config = load_config(env)
        if "kind" in (entry := config["catalog"]["fraud_kinds"]):
            assert entry["kind"] in config["parameters"]["ledger"]["schema"]["forbidden"], env
            checked.append(env)
    assert checked == ["handbook"]


def test_documents_have_no_gaps(project_root):
    pages = [project_root / "README.md", *(project_root / "docs").rglob("*.md")]
    assert len(pages) > 10
    for page in pages:
        assert not re.findall(r"@[A-Z]+@", page.read_text()), f"{page.name} waits for a number"
