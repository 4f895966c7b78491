"""How environments are read: named after their folder, and a ledger inherits nothing."""

from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

BASE_SCHEMA = {"user_id": "customer", "forbidden": {"leak": "says who cheated"}, "tie_break": ["id"]}
OWN_SCHEMA = {"user_id": "konto", "forbidden": {}, "tie_break": []}
SPLITS = {"protocol": "time", "train_end": "2024-10-01"}


@pytest.fixture
def project(tmp_path):
    """A configuration folder with a `base` as ours; files of other environments are given as env/file → content."""

    def make(files: dict[str, dict]) -> Path:
        base = {
            "base/globals.yml": {"ledger_name": "${environment:simulated}", "seed": 1},
            "base/catalog/ingest.yml": {"events": {"filepath": "data/${globals:ledger_name}/events"}},
            "base/parameters/ledger.yml": {"ledger": {"schema": BASE_SCHEMA, "splits": SPLITS}},
            "base/parameters/training.yml": {"training": {"steps": 10, "seed": "${globals:seed}", "fields": [1, 2]}},
        }
        for name, content in (base | files).items():
            path = tmp_path / "conf" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump(content))
        for name in ("local", "bank", "one", "two"):
            (tmp_path / "conf" / name).mkdir(exist_ok=True)
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("env", "ledger"), [("base", "simulated"), ("local", "simulated"), (None, "simulated"), ("bank", "bank")]
)
def test_ledger_is_called_like_its_environment(project, load_config, env, ledger):
    loader = load_config(env, project({}))
    assert loader["globals"] == {"ledger_name": ledger, "seed": 1}
    assert loader["catalog"]["events"]["filepath"] == f"data/{ledger}/events"


def test_stated_ledger_name_wins_over_the_folder(project, load_config):
    folder = project({"bank/globals.yml": {"ledger_name": "bank_2024"}})
    assert load_config("bank", folder)["globals"] == {"ledger_name": "bank_2024", "seed": 1}


def test_two_loaders_keep_their_own_names(project, load_config):
    # Resolvers are shared by the process; the catalog of the first must not be named after the second.
    folder = project({})
    first, second = load_config("one", folder), load_config("two", folder)
    assert first["catalog"]["events"]["filepath"] == "data/one/events"
    assert second["catalog"]["events"]["filepath"] == "data/two/events"
    OmegaConf.register_new_resolver("environment", lambda _: "stranger", replace=True)
    assert load_config("one", folder)["catalog"]["events"]["filepath"] == "data/one/events"


def test_ledger_inherits_nothing_of_the_ledger_of_base(project, load_config):
    folder = project({"bank/parameters_ledger.yml": {"ledger": {"schema": OWN_SCHEMA}, "training": {"steps": 20}}})
    parameters = load_config("bank", folder)["parameters"]
    assert parameters["ledger"] == {"schema": OWN_SCHEMA}  # neither a forbidden column nor an instant of another ledger
    assert parameters["training"] == {"steps": 20, "seed": 1, "fields": [1, 2]}  # other blocks are merged key by key


def test_lists_are_replaced(project, load_config):
    folder = project({"bank/parameters_ledger.yml": {"ledger": {"schema": OWN_SCHEMA}, "training": {"fields": [3]}}})
    assert load_config("bank", folder)["parameters"]["training"]["fields"] == [3]


@pytest.mark.parametrize("env", ["test", "local"])
def test_single_keys_override_the_ledger_of_base(project, load_config, env):
    folder = project({f"{env}/parameters.yml": {"ledger": {"schema": {"tie_break": ["time"]}}}})
    ledger = load_config(env, folder)["parameters"]["ledger"]
    assert ledger == {"schema": {**BASE_SCHEMA, "tie_break": ["time"]}, "splits": SPLITS}


def test_ledger_may_be_stated_in_several_files(project, load_config):
    files = {
        "bank/parameters_a.yml": {"ledger": {"schema": OWN_SCHEMA}},
        "bank/parameters_b.yml": {"ledger": {"splits": SPLITS}},
    }
    assert load_config("bank", project(files))["parameters"]["ledger"] == {"schema": OWN_SCHEMA, "splits": SPLITS}


@pytest.mark.parametrize("env", ["bank", "local"])
def test_runtime_parameter_changes_one_key_of_a_ledger(project, load_config, env):
    folder = project({"bank/parameters_ledger.yml": {"ledger": {"schema": OWN_SCHEMA}}})
    loader = load_config(env, folder, runtime_params={"ledger": {"schema": {"user_id": "other"}}})
    stated = OWN_SCHEMA if env == "bank" else BASE_SCHEMA
    assert loader["parameters"]["ledger"]["schema"] == {**stated, "user_id": "other"}


def test_stated_parameters_are_known_but_for_what_names_a_person(project, load_config):
    folder = project({"bank/parameters_a.yml": {"ablation": {"stated": "${stated_params:}"}}})
    stated = {"training": {"steps": 3}, "evaluation": {"timeline": {"user_id": "Jane", "enabled": True}}}
    loader = load_config("bank", folder, runtime_params=stated)
    assert loader["parameters"]["ablation"]["stated"] == {"training.steps": 3, "evaluation.timeline.enabled": True}
    assert load_config("bank", folder)["parameters"]["ablation"]["stated"] == {}


def test_loading_twice_gives_the_same(project, load_config):
    folder = project({"bank/parameters_ledger.yml": {"ledger": {"schema": OWN_SCHEMA}}})
    loader = load_config("bank", folder)
    assert loader["parameters"] == loader["parameters"] == load_config("bank", folder)["parameters"]


def test_every_shipped_ledger_states_all_of_it(environments, load_config, project_root):
    for env in environments:
        stated = project_root / "conf" / env / "parameters_ledger.yml"
        if stated.exists():
            assert load_config(env)["parameters"]["ledger"] == yaml.safe_load(stated.read_text())["ledger"], env
