"""A version in MLflow's registry, and the alias that names the best; of a champion only its tags are read."""

import logging
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.tracking import MlflowClient

from panther_pipeline.mlflow_model.champion import Verdict, judge
from panther_pipeline.mlflow_model.save import log_scorer
from panther_pipeline.online.artifacts import ScorerArtifacts
from panther_pipeline.report.candidate import RegistryConfig

logger = logging.getLogger(__name__)


def register_scorer(candidate: dict[str, Any], artifacts: ScorerArtifacts, run_id: str) -> Verdict:
    """Log the scorer to the active run, make it a version, and move the alias to it if it beats the champion.

    Args:
        candidate: from `report.candidate.describe_candidate`.
        artifacts: of the run.
        run_id: of MLflow, that of the active run.

    Raises:
        MlflowException: MLflow does not answer; the alias is where it was.
        PantherError: the artifacts make no scorer; nothing was registered.
    """
    config, tags = RegistryConfig(**candidate["registry"]), candidate["tags"]
    client = MlflowClient()
    _make_registered_model(client, config.name)
    if config.versions == "better" and not (verdict := judge(tags, _read_champion(client, config), config)).moves:
        logger.info("Model %s: no new version, since %s.", config.name, verdict.why)
        return verdict
    made = log_scorer(artifacts)
    version = client.create_model_version(
        config.name, source=made.model_uri, run_id=run_id, tags=tags, model_id=made.model_id
    ).version
    # Read now, not before: saving takes a while, and another run may have finished meanwhile.
    verdict = judge(tags, _read_champion(client, config), config)
    client.set_model_version_tag(config.name, version, "verdict", verdict.why)
    if verdict.moves:
        client.set_registered_model_alias(config.name, config.alias, version)
    now = f"is now {config.alias}" if verdict.moves else f"is not {config.alias}"
    logger.info("Model %s version %s %s: %s.", config.name, version, now, verdict.why)
    return verdict


def _make_registered_model(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise


def _read_champion(client: MlflowClient, config: RegistryConfig) -> dict[str, str] | None:
    """Tags of the version that the alias names; None where it names none.

    The aliases of the model are asked for, not the alias: MLflow's answer to an unknown alias is an error like others.
    """
    version = client.get_registered_model(config.name).aliases.get(config.alias)
    return None if version is None else client.get_model_version(config.name, str(version)).tags
