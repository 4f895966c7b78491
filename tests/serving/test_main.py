"""From the command line to the parts of a scorer: what is found, and what is said where nothing is."""

import json
import re

import pytest
import yaml

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.serve_command import serving_command
from panther_pipeline.serving.__main__ import find_artifacts
from panther_pipeline.serving.config import ServingConfig, read_settings

NO_PATHS = dict.fromkeys(("backbone", "tokenizer", "head", "store"))


def publish(data, *ledgers) -> None:
    for ledger in ledgers:
        folder = data / "07_model_output" / ledger / "online_store"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")


def test_only_ledger_with_a_store_is_served(tmp_path):
    publish(tmp_path, "mine")
    found = find_artifacts(tmp_path, None, NO_PATHS)
    assert found.store == tmp_path / "07_model_output/mine/online_store"
    assert found.backbone == tmp_path / "06_models/mine/backbone"


def test_one_of_several_ledgers_must_be_named(tmp_path):
    publish(tmp_path, "one", "two")
    with pytest.raises(ConfigurationError, match="one, two have one: choose with --ledger"):
        find_artifacts(tmp_path, None, NO_PATHS)
    assert find_artifacts(tmp_path, "two", NO_PATHS).store.parent.name == "two"


def test_nothing_to_serve_says_what_to_run(tmp_path):
    with pytest.raises(ConfigurationError, match="kedro run"):
        find_artifacts(tmp_path, None, NO_PATHS)


def test_single_part_may_lie_elsewhere(tmp_path):
    publish(tmp_path, "mine")
    found = find_artifacts(tmp_path, None, {**NO_PATHS, "head": tmp_path / "distilled_head"})
    assert found.head == tmp_path / "distilled_head"
    assert found.store == tmp_path / "07_model_output/mine/online_store"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{", "no JSON"),
        ("[]", "no JSON object|cannot be used"),
        ('{"prot": 1}', "did you mean 'port'"),
        ('{"port": "x"}', "port: "),
        ('{"store": {"kind": "redis"}}', "store.redis.name: "),
        ('{"store": {"kind": "memory"}}', "store: .*'lmdb', 'redis'"),
        ('{"store": {"kind": "redis", "name": "a", "url": "redis://:canary@h"}}', "PANTHER_REDIS_PASSWORD"),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings, message):
    with pytest.raises(ConfigurationError, match=message) as refused:
        read_settings(settings, None, None)
    assert "canary" not in str(refused.value)


def test_address_of_the_command_line_counts():
    config = read_settings('{"port": 1, "max_events": 3}', "127.0.0.2", 0)
    assert (config.host, config.port, config.max_events) == ("127.0.0.2", 0, 3)


def test_settings_that_ship_are_the_defaults_and_explained(project_root):
    """Every knob stands in the configuration, with the value that holds without it."""
    file = project_root / "conf/base/parameters/serving.yml"
    shipped = yaml.safe_load(file.read_text())["serving"]
    assert ServingConfig(**shipped) == ServingConfig()
    assert list(shipped) == list(ServingConfig.model_fields)


def test_command_of_kedro_serve_publishes_when_told():
    artifacts, settings = {"store": "s"}, {"port": 0}
    served, published = serving_command(artifacts, settings), serving_command(artifacts, settings, publish=True)
    assert "--publish" not in served
    assert published == [*served, "--publish"]


def test_command_of_kedro_serve_is_what_the_service_reads(tmp_path):
    command = serving_command({"backbone": "b", "tokenizer": "t", "head": "h", "store": "s"}, {"port": 0})
    assert command[1:3] == ["-m", "panther_pipeline.serving"]
    options = dict(zip(command[3::2], command[4::2], strict=True))
    assert {name: options[f"--{name}"] for name in NO_PATHS} == {
        "backbone": "b",
        "tokenizer": "t",
        "head": "h",
        "store": "s",
    }
    assert read_settings(options["--settings"], None, None).port == 0
    assert re.search(r"^\{", json.dumps(json.loads(options["--settings"])))
