"""Transactions that arrived, as lines of the store's journal: JSON, one object each."""

import json
from dataclasses import asdict

from panther_pipeline.errors import ArtifactError
from panther_pipeline.features.event import OnlineEvent


def write_event(event: OnlineEvent) -> bytes:
    """The line of an event, UTF-8 without a line end.

    Raises:
        ValueError: a number that is not finite, or half of a surrogate pair.
    """
    return json.dumps(asdict(event), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def read_event(line: bytes) -> OnlineEvent:
    """The event of `write_event`.

    Raises:
        ArtifactError: not such a line.
    """
    try:
        return OnlineEvent(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"a line of the store's journal cannot be read ({error}).") from None
