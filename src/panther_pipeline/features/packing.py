"""The bytes of a state: fixed little-endian fields, each length written down, a checksum at the end.

    magic "PACT", version, side, number of tables, code of what is kept (`ActivityConfig.retention_code`), entries,
    the sums, rows of each table, the entries, the tables, CRC-32 of all before it

All but the checksum are whole words, so that what is read are views of the bytes and nothing is copied.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import astuple

import numpy as np

from panther_pipeline.errors import ArtifactError
from panther_pipeline.features.config import ActivityConfig
from panther_pipeline.features.entries import ENTRY
from panther_pipeline.features.past import PAST_FIELDS, SEEN, Past

USER, COUNTERPARTY = 1, 2
_SIDES = {USER: "a user", COUNTERPARTY: "a counterparty"}
_MAGIC, _VERSION = b"PACT", 1
_HEAD = struct.Struct("<4sBBHqQ")  # magic, version, side, tables, retention, entries
_PAST = struct.Struct(f"<{len(PAST_FIELDS)}q")
_CHECKSUM = struct.Struct("<I")
_NEXT_STEP = "Run embed to build the online state anew."


def pack_activity(
    side: int, config: ActivityConfig, entries_E: np.ndarray, past: Past, tables: Sequence[np.ndarray]
) -> bytes:
    """Bytes of a state.

    Args:
        side: USER or COUNTERPARTY.
        config: what it keeps.
        entries_E: `entries.ENTRY`.
        past: the sums.
        tables: arrays of `past.SEEN`.
    """
    head = _HEAD.pack(_MAGIC, _VERSION, side, len(tables), config.retention_code, len(entries_E))
    rows = struct.pack(f"<{len(tables)}Q", *(len(table) for table in tables))
    body = b"".join([head, _PAST.pack(*astuple(past)), rows, entries_E.tobytes(), *(t.tobytes() for t in tables)])
    return body + _CHECKSUM.pack(zlib.crc32(body))


def unpack_activity(
    data: bytes, side: int, config: ActivityConfig, num_tables: int
) -> tuple[np.ndarray, Past, list[np.ndarray]]:
    """What was packed: entries, sums, tables; the arrays are views of `data` that cannot be written to.

    Raises:
        ArtifactError: bytes cut short, changed or of another format, a state of the other side, or one kept under
            another configuration.
    """
    num_entries = _check_head(data, side, config, num_tables)
    past = Past(**dict(zip(PAST_FIELDS, _PAST.unpack_from(data, _HEAD.size), strict=True)))
    at = _HEAD.size + _PAST.size
    rows = struct.unpack_from(f"<{num_tables}Q", data, at)
    at += 8 * num_tables
    expected = at + num_entries * ENTRY.itemsize + sum(rows) * SEEN.itemsize + _CHECKSUM.size
    if len(data) != expected:
        raise ArtifactError(f"the stored state has {len(data)} bytes; its own counts ask for {expected}. {_NEXT_STEP}")
    arrays = []
    for dtype, count in [(ENTRY, num_entries), *((SEEN, num) for num in rows)]:
        arrays.append(np.frombuffer(data, dtype=dtype, count=count, offset=at))
        at += count * dtype.itemsize
    return arrays[0], past, arrays[1:]


def _check_head(data: bytes, side: int, config: ActivityConfig, num_tables: int) -> int:
    """Number of entries, once the bytes are known to be whole and ours."""
    shortest = _HEAD.size + _PAST.size + 8 * num_tables + _CHECKSUM.size
    if len(data) < _HEAD.size or data[: len(_MAGIC)] != _MAGIC:
        raise ArtifactError(f"the stored state is no state of a user or counterparty ({len(data)} bytes). {_NEXT_STEP}")
    _, version, found_side, found_tables, retention, num_entries = _HEAD.unpack_from(data)
    if version != _VERSION:
        raise ArtifactError(f"the stored state has version {version}; this code reads {_VERSION}. {_NEXT_STEP}")
    checked = memoryview(data)[: -_CHECKSUM.size]
    if len(data) < shortest or _CHECKSUM.unpack_from(data, len(checked))[0] != zlib.crc32(checked):
        raise ArtifactError(f"the stored state is damaged: {len(data)} bytes that fail their checksum. {_NEXT_STEP}")
    if found_side != side:
        found = _SIDES.get(found_side, "nobody")
        raise ArtifactError(f"the stored state is that of {found}, not of {_SIDES[side]}. {_NEXT_STEP}")
    if retention != config.retention_code or found_tables != num_tables:
        raise ArtifactError(
            f"the stored state was kept for other windows, lateness or attributes (code {retention}) than those "
            f"configured (code {config.retention_code}). {_NEXT_STEP}"
        )
    return num_entries
