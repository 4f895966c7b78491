"""From one generation in Redis to the next: no row of the journal is lost, none is applied twice.

The key `live` holds the generation that takes updates, or `OLD>NEW` while the last rows are carried and none does: an
update that meets that helps, so that a process that dies on the way holds nobody up. Several processes may carry at
once; a row is applied by whoever comes first.
"""

import json

import redis

from panther_pipeline.cache.stores.carried_row import FEW_ROWS, apply_row
from panther_pipeline.cache.stores.record_store import Replay
from panther_pipeline.cache.stores.redis_layers import Layers, MovedError, last_seq
from panther_pipeline.cache.stores.redis_names import Names
from panther_pipeline.errors import StoreError

_MOST_TRIES = 100


def read_live(client: redis.Redis, names: Names) -> tuple[str, str]:
    """The generation that takes updates ("" if none ever did), and the one it is being carried to, if so, else ""."""
    source, _, to = (client.get(names.live) or b"").decode().partition(">")
    return source, to


def take_over(client: redis.Redis, names: Names, target: Layers, replay: Replay | None) -> None:
    """Make `target` the generation that takes updates, with all that arrived in its predecessor.

    Raises:
        MovedError: another generation is published by now: the store must not go back.
        StoreError: there are rows to carry and no `replay`.
    """
    done, sealed = last_seq(client, target.journal_name), False
    for _ in range(_MOST_TRIES):
        source, to = read_live(client, names)
        if (source, to) == (target.generation, ""):
            return
        if _published(client.get(names.manifest)) != target.generation:
            raise MovedError
        if to:
            finish_move(client, names, replay, unseal=sealed)
        else:
            done = _catch_up(client, Layers(client, names, source, {}), target, replay, done)
            sealed = _begin_move(client, names, source, target.generation)
    raise StoreError(f"Other processes move the store as it goes to generation {target.generation}. Try again later.")


def finish_move(client: redis.Redis, names: Names, replay: Replay | None, unseal: bool = False) -> None:
    """Carry the last rows of a move that this process or another has begun, if there is one.

    Args:
        unseal: let the source take updates again if there is no `replay`; if that fails, it does so anyway.

    Raises:
        StoreError: there are rows to carry and no `replay`.
    """
    source, to = read_live(client, names)
    facts = client.get(names.facts(to)) if to else None
    if facts is None:
        if to:  # finished meanwhile, or somebody removed its keys
            _set_live(client, names, f"{source}>{to}", source)
        return
    before, target = Layers(client, names, source, {}), Layers(client, names, to, json.loads(facts))
    try:
        done = _carry_rows(before, target, replay, last_seq(client, target.journal_name))
        _finish(client, names, before, target, done)
    except MovedError:  # the target is gone: others have finished this move and made more
        return
    except BaseException:
        if unseal or replay is not None:
            _set_live(client, names, f"{source}>{to}", source)
        raise


def _catch_up(client: redis.Redis, source: Layers, target: Layers, replay: Replay | None, done: int) -> int:
    """Apply rows while updates go on, until few are left or they arrive about as fast; the last number."""
    before = None
    while True:
        end = last_seq(client, source.journal_name)
        left = end - done
        if left <= FEW_ROWS or (before is not None and 2 * left > before):
            return done
        before, done = left, _carry_rows(source, target, replay, done, end)


def _carry_rows(source: Layers, target: Layers, replay: Replay | None, done: int, end: int | None = None) -> int:
    """Apply rows above `done`, up to `end` or as long as there are any; the last number."""
    while end is None or done < end:
        try:
            rows = source.rows(done)
        except MovedError:  # it is gone: another process has moved on, or none ever took updates
            return done
        for seq, row in rows:
            apply_row(replay, target, seq, row)
            done = seq
        if not rows:
            return done
    return done


def _published(manifest: bytes | None) -> str | None:
    return json.loads(manifest)["generation"] if manifest else None


def _begin_move(client: redis.Redis, names: Names, source: str, to: str) -> bool:
    """Stop updates of the source if it takes them and `to` is the published generation; whether this process did."""
    with client.pipeline() as pipe:
        pipe.watch(names.live, names.manifest)
        live, manifest = pipe.mget(names.live, names.manifest)
        if (live or b"").decode() != source or _published(manifest) != to:
            return False
        pipe.multi()
        pipe.set(names.live, f"{source}>{to}")
        return _execute(pipe)


def _set_live(client: redis.Redis, names: Names, old: str, new: str) -> bool:
    """Replace `old` by `new`, unless another process has replaced it; whether this one did."""
    with client.pipeline() as pipe:
        pipe.watch(names.live)
        if (pipe.get(names.live) or b"").decode() != old:
            return False
        pipe.multi()
        pipe.set(names.live, new)
        return _execute(pipe)


def _finish(client: redis.Redis, names: Names, source: Layers, target: Layers, done: int) -> None:
    """Let `target` take the updates, unless another process has; nobody appends to the source any more."""
    with client.pipeline() as pipe:
        pipe.watch(names.live, target.journal_name)
        if (pipe.get(names.live) or b"").decode() != f"{source.generation}>{target.generation}":
            return
        last, reached = max(done, last_seq(pipe, source.journal_name)), last_seq(pipe, target.journal_name)
        pipe.multi()
        pipe.set(names.live, target.generation)
        if last > reached:  # rows were left behind: their numbers must not be given again
            pipe.xadd(target.journal_name, {b"row": b""}, id=f"0-{last}")
            pipe.xdel(target.journal_name, f"0-{last}")
        _execute(pipe)


def _execute(pipe: redis.client.Pipeline) -> bool:
    """Whether no other process came first; if one did, the caller looks again."""
    try:
        pipe.execute()
    except redis.WatchError:
        return False
    return True
