"""`kedro serve`: the scorer of an environment's last run behind an address."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.utils import env_option
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from panther_pipeline.online.artifacts import CATALOG_ENTRIES


@click.command()
@env_option
@click.option("--host", help="Address to listen on, in place of serving.host.")
@click.option("--port", type=int, help="Port, in place of serving.port; 0 = any free one.")
@click.option("--publish", is_flag=True, help="Copy the online store into the Redis of serving.store, and end.")
def serve(env: str | None, host: str | None, port: int | None, publish: bool) -> None:
    """Score transactions over HTTP with what the last run of an environment left."""
    root = Path.cwd()
    bootstrap_project(root)
    with KedroSession.create(root, env=env) as session:
        loader = session.load_context().config_loader
        catalog, settings = loader["catalog"], loader["parameters"]["serving"]
    settings |= {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    # A process of its own, in place of this one: what serves knows neither Kedro nor MLflow.
    artifacts = {name: catalog[entry]["filepath"] for name, entry in CATALOG_ENTRIES.items()}
    os.execv(sys.executable, serving_command(artifacts, settings, publish))


def serving_command(artifacts: dict[str, str], settings: dict[str, Any], publish: bool = False) -> list[str]:
    """The command line of the service, or of what publishes its store to a fleet."""
    paths = [part for name, path in artifacts.items() for part in (f"--{name}", path)]
    return [sys.executable, "-m", "panther_pipeline.serving", *paths, "--settings", json.dumps(settings)] + (
        ["--publish"] if publish else []
    )
