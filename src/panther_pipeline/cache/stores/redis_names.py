"""Names of the keys of one store in Redis, and what the pieces hold.

    panther:{NAME}:manifest           JSON: "generation", "facts", "previous": the same of the one before, or null
    panther:{NAME}:live               the generation that takes updates, or OLD>NEW while its last rows are carried
    panther:{NAME}:generations        set: all whose keys may exist
    panther:{NAME}:GENERATION:facts   JSON; written last and removed first, so that it says all records are there
    panther:{NAME}:GENERATION:building        lease of the process that is writing it
    panther:{NAME}:GENERATION:base:KEY        a record as published, never changed
    panther:{NAME}:GENERATION:live:KEY        the same, once an event has changed it
    panther:{NAME}:GENERATION:journal         stream, entry 0-SEQ: "row", "token" (of the update that wrote it)

The braces are meant: Redis Cluster keeps keys with the same text in braces in one slot, as atomic steps need.
"""

import re

import redis

from panther_pipeline.errors import ConfigurationError

_OLDEST = 7  # that numbers rows of a stream as the journal needs
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # none of the letters that SCAN takes for a pattern


class Names:
    """Key names of the store `name`."""

    def __init__(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} cannot name a store: 1 to 64 of A-Z a-z 0-9 _ . - are allowed.")
        self.store = f"panther:{{{name}}}"
        self.manifest = f"{self.store}:manifest"
        self.live = f"{self.store}:live"
        self.generations = f"{self.store}:generations"

    def facts(self, generation: str) -> str:
        return f"{self.store}:{generation}:facts"

    def building(self, generation: str) -> str:
        return f"{self.store}:{generation}:building"

    def journal(self, generation: str) -> str:
        return f"{self.store}:{generation}:journal"

    def base(self, generation: str, key: bytes = b"") -> bytes:
        return f"{self.store}:{generation}:base:".encode() + key

    def changed(self, generation: str, key: bytes) -> bytes:
        return f"{self.store}:{generation}:live:".encode() + key

    def pattern(self, generation: str) -> str:
        return f"{self.store}:{generation}:*"


def check_client(client: redis.Redis) -> None:
    """Refuse a connection or server that would change or lose records in silence.

    Raises:
        ConfigurationError: the client decodes answers, the server is older than version 7, or it evicts keys when its
            memory is full.
    """
    if client.get_encoder().decode_responses:
        raise ConfigurationError("Records are bytes: connect to Redis with decode_responses=False.")
    version = str(client.info("server").get("redis_version", "0"))
    if int(version.partition(".")[0]) < _OLDEST:
        raise ConfigurationError(f"Redis is of version {version}; records need version {_OLDEST} or newer.")
    memory = client.info("memory")
    policy = memory.get("maxmemory_policy", "noeviction")
    if memory.get("maxmemory") and policy.startswith("allkeys"):
        raise ConfigurationError(
            f"Redis drops records when its memory is full (maxmemory-policy {policy}), and users would look new. "
            "Set maxmemory-policy to noeviction."
        )
