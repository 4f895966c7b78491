"""A generation on its way from the folder of a run into Redis, where the services of a fleet find it."""

from collections.abc import Callable
from pathlib import Path

import redis

from panther_pipeline.cache.stores.lmdb_generation import GenerationFile
from panther_pipeline.cache.stores.redis_connection import answering
from panther_pipeline.cache.stores.redis_generation import (
    BATCH_RECORDS,
    publish_encoded,
    read_manifest,
    verify_generation,
)
from panther_pipeline.errors import ArtifactError
from panther_pipeline.publish import read_manifest as read_folder


def copy_generation(
    folder: Path, client: redis.Redis, name: str, progress: Callable[[int], None] | None = None
) -> bool:
    """Publish the current generation of `folder` in the store `name`, unless it is whole and current there already.

    Args:
        folder: what `write_generation` has published; its file is compared with its SHA-256 first.
        client: connected with decode_responses=False.
        name: of the store in Redis.
        progress: called now and then with the number of records written so far.

    Returns:
        Whether it was not there yet.

    Raises:
        ArtifactError: nothing is published in `folder`, or it is damaged; or what was copied is not what it holds.
        ConfigurationError: the client or the server would change or lose records.
        StoreAwayError: the server does not answer. The old generation stays current.
    """
    source = GenerationFile.open(folder, read_folder(folder))
    with answering(client):
        if _is_whole_there(client, name, source.facts):
            return False
        publish_encoded(client, name, source.batches(BATCH_RECORDS), source.facts, progress)
    return True


def _is_whole_there(client: redis.Redis, name: str, facts: dict) -> bool:
    """Whether a generation with these facts is current, and all its records are what they were."""
    try:
        manifest = read_manifest(client, name)
        if manifest["facts"] != facts:
            return False
        verify_generation(client, name, manifest["generation"])
    except ArtifactError:  # nothing is published yet, or somebody removed some of it
        return False
    return True
