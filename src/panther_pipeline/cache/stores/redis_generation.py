"""Generations in Redis: written beside the current one, then named current in one step, removed when two are newer."""

import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import redis

from panther_pipeline.cache.stores.record_store import Key
from panther_pipeline.cache.stores.redis_names import Names, check_client
from panther_pipeline.cache.stores.tally import RecordsTally, encoded_batches, expected_tally, facts_without_tally
from panther_pipeline.errors import ArtifactError, StoreError

BATCH_RECORDS = 500  # per command: the server answers nobody else meanwhile
_BATCHES_PER_TRIP = 8
_LEASE_S = 3600  # longer than `records` takes for one trip


def publish_generation(
    client: redis.Redis,
    name: str,
    records: Iterable[tuple[Key, bytes]],
    facts: Mapping[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Write `records` as the new generation of the store `name`; readers of the old one are not disturbed.

    Args:
        client: connected with decode_responses=False.
        name: of the store; letters, digits, `_`, `.` and `-`.
        records: each key once, in any order; they need not fit in memory.
        facts: JSON values that identify the generation.
        progress: called after each round trip with the number of records written so far.

    Returns:
        The facts as published: those given and "records" (format, counts by kind, digest).

    Raises:
        ArtifactError: a key that comes twice.
        ConfigurationError: the client or the server would change or lose records.
        StoreError: a key without an id; or the unfinished generation was removed meanwhile.
        redis.RedisError: the server is away or full. The old generation stays current, whatever is raised.
    """
    return publish_encoded(client, name, encoded_batches(records, BATCH_RECORDS), facts_without_tally(facts), progress)


def publish_encoded(
    client: redis.Redis,
    name: str,
    batches: Iterable[list[tuple[bytes, bytes]]],
    facts: Mapping[str, Any],
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """The same, of records with encoded keys, in lists of `BATCH_RECORDS`; "records" in `facts` is what they must be.

    Raises:
        ArtifactError: a key that comes twice, or other records than `facts` say.
    """
    check_client(client)
    published, names, generation = dict(facts), Names(name), secrets.token_hex(6)
    with client.pipeline() as pipe:
        pipe.sadd(names.generations, generation)
        pipe.set(names.building(generation), b"", ex=_LEASE_S)
        pipe.execute()
    try:
        tally = _write_records(client, names, generation, batches, progress)
        if (written := tally.facts()) != published.setdefault("records", written):
            raise ArtifactError(
                f"These records are {written}, their facts say {published['records']}. Build them again."
            )
        _name_current(client, names, generation, published)
    except BaseException:
        _remove(client, names, generation)
        raise
    remove_stale(client, name)
    return published


def read_manifest(client: redis.Redis, name: str) -> dict[str, Any]:
    """What is current now: "generation", "facts", "previous".

    Raises:
        ArtifactError: nothing has been published.
    """
    return _manifest(name, client.get(Names(name).manifest))


def roll_back(client: redis.Redis, name: str) -> str:
    """Make the previous generation current again; the two change places, so that a second call undoes it.

    Returns:
        The generation that is current now.

    Raises:
        ArtifactError: nothing is published, or the previous generation is not there any more.
    """
    names = Names(name)

    def swap(pipe: redis.client.Pipeline) -> str:
        manifest = _manifest(name, pipe.get(names.manifest))
        previous = manifest["previous"]
        if previous is None or not pipe.exists(names.facts(previous["generation"])):
            raise ArtifactError(f"The store {name!r} keeps no generation before the current one. Run 'embed' again.")
        pipe.multi()
        pipe.set(names.manifest, json.dumps({**previous, "previous": _entry(manifest)}))
        return previous["generation"]

    return client.transaction(swap, names.manifest, value_from_callable=True)


def verify_generation(client: redis.Redis, name: str, generation: str) -> None:
    """Read all records of a generation and compare counts and digest with its facts.

    Raises:
        ArtifactError: it is not there, of another version, or not what was written.
    """
    names, tally = Names(name), RecordsTally()
    facts = client.get(names.facts(generation))
    if facts is None:
        raise ArtifactError(
            f"Generation {generation} of the store {name!r} is not there any more. Open the store again."
        )
    expected = expected_tally(f"Generation {generation} of the store {name!r}", json.loads(facts))
    prefix = names.base(generation)
    seen: set[bytes] = set()  # SCAN may return a key again
    for found in _scanned(client, prefix.decode() + "*"):
        keys = list(set(found) - seen)
        seen.update(keys)
        for key, record in zip(keys, client.mget(keys) if keys else [], strict=True):
            tally.add(key.removeprefix(prefix), b"" if record is None else record)
    if tally.facts() != expected:
        raise ArtifactError(
            f"{_where(name, generation)} is not what was written: {tally.facts()}, its facts say {expected}. "
            "Publish it again."
        )


def remove_stale(client: redis.Redis, name: str) -> None:
    """Remove the generations that are neither current, previous, taking updates, nor being written."""
    names = Names(name)
    known = {generation.decode() for generation in client.smembers(names.generations)}
    # In this order: one that is finished after the look at its lease is current by the look at the manifest.
    unfinished = {generation for generation in known if client.exists(names.building(generation))}
    manifest, live = read_manifest(client, name), client.get(names.live)
    kept = {manifest["generation"], (manifest["previous"] or manifest)["generation"]}
    kept.update((live or b"").decode().split(">"))
    for generation in known - unfinished - kept:
        _remove(client, names, generation)


def _write_records(
    client: redis.Redis,
    names: Names,
    generation: str,
    batches: Iterable[list[tuple[bytes, bytes]]],
    progress: Callable[[int], None] | None,
) -> RecordsTally:
    tally, remaining = RecordsTally(), iter(batches)
    while trip := list(islice(remaining, _BATCHES_PER_TRIP)):
        with client.pipeline(transaction=False) as pipe:
            pipe.set(names.building(generation), b"", ex=_LEASE_S, xx=True)
            for batch in trip:
                named = {names.base(generation, key): record for key, record in batch}
                if len(named) < len(batch):
                    raise ArtifactError("Two records for one key. Give each key once.")
                pipe.msetnx(named)  # writes none of them if one is there
            _, *written = pipe.execute()
        if not all(written):
            raise ArtifactError("Two records for one key. Give each key once.")
        for key, record in (pair for batch in trip for pair in batch):
            tally.add(key, record)
        if progress is not None:
            progress(sum(tally.counts.values()))
    return tally


def _name_current(client: redis.Redis, names: Names, generation: str, facts: dict[str, Any]) -> None:
    def name_it(pipe: redis.client.Pipeline) -> None:
        before, leased = pipe.get(names.manifest), pipe.exists(names.building(generation))
        if not leased:
            raise StoreError(f"Generation {generation} was removed while it was written: no record for {_LEASE_S} s.")
        previous = None if before is None else _entry(json.loads(before))
        manifest = {"generation": generation, "facts": facts, "previous": previous}
        pipe.multi()
        pipe.set(names.facts(generation), json.dumps(facts, allow_nan=False))
        pipe.set(names.manifest, json.dumps(manifest, allow_nan=False))
        pipe.set(names.live, generation, nx=True)  # the first one has nothing to take over
        pipe.delete(names.building(generation))

    client.transaction(name_it, names.manifest, names.building(generation))


def _remove(client: redis.Redis, names: Names, generation: str) -> None:
    client.delete(names.facts(generation))  # first: whoever reads on would take removed records for unknown ids
    for keys in _scanned(client, names.pattern(generation)):
        client.unlink(*keys)
    client.srem(names.generations, generation)


def _scanned(client: redis.Redis, pattern: str) -> Iterator[list[bytes]]:
    """Lists of the keys that match."""
    keys = client.scan_iter(match=pattern, count=1000)
    while found := list(islice(keys, BATCH_RECORDS)):
        yield found


def _where(name: str, generation: str) -> str:
    return f"Generation {generation} of the store {name!r}"


def _manifest(name: str, text: bytes | None) -> dict[str, Any]:
    if text is None:
        raise ArtifactError(f"Nothing is published in the store {name!r} of this Redis. Run pipeline 'embed'.")
    return json.loads(text)


def _entry(manifest: dict[str, Any]) -> dict[str, Any]:
    return {key: manifest[key] for key in ("generation", "facts")}
