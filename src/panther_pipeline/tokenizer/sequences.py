"""Token sequences: flat arrays of all events plus the offsets of each user.

Shape letters: N events, U users, F token attributes, P profile attributes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from panther_pipeline.errors import ArtifactError
from panther_pipeline.publish import open_published, publish_folder

_EVENTS, _USERS = "events.arrow", "users.arrow"
_FACTS = (
    "vocab_size", "attribute_names", "attribute_sizes", "profile_names", "profile_sizes", "tokenizer_digest",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TokenSequences:
    """All users' histories as the model reads them; row n is row n of `valid_events`.

    Arrays loaded from disk are memory-mapped Arrow buffers: nothing is read until it is touched.
    """

    user_ids: list[str]  # (U,) sorted as in valid_events
    offsets_U1: np.ndarray  # int64 (U+1,): events of user u are rows offsets[u]:offsets[u+1]
    token_ids_N: np.ndarray  # int32; 0 = [PAD] never occurs, 1 = [UNK]
    attribute_ids_NF: np.ndarray  # int32; bin or category of each token attribute, 0 = padding, 1 = unknown
    time_us_N: np.ndarray  # int64, not decreasing within a user
    split_N: np.ndarray  # int8, panther_pipeline.ledger.splits
    profile_ids_UP: np.ndarray  # int32; 0 = padding, 1 = unknown; P may be 0
    vocab_size: int
    attribute_names: list[str]
    attribute_sizes: list[int]
    profile_names: list[str]
    profile_sizes: list[int]
    tokenizer_digest: str

    @property
    def num_events(self) -> int:
        return len(self.token_ids_N)

    @property
    def num_users(self) -> int:
        return len(self.user_ids)

    def user_ix_N(self) -> np.ndarray:
        """int64 (N,): position of each event's user in `user_ids`."""
        return np.repeat(np.arange(self.num_users), np.diff(self.offsets_U1))

    def first_row_N(self) -> np.ndarray:
        """int64 (N,): row of the first event of each event's user."""
        return np.repeat(self.offsets_U1[:-1], np.diff(self.offsets_U1))

    def save(self, folder: Path) -> None:
        """Publish as two Arrow files and a manifest."""
        publish_folder(folder, self._write, facts=self._facts())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Memory-map what `save` wrote.

        Raises:
            ArtifactError: missing or damaged.
        """
        generation, facts = open_published(folder)
        files = [generation / _EVENTS, generation / _USERS]
        if set(facts) != set(_FACTS) or not all(file.is_file() for file in files):
            raise ArtifactError(f"{folder} does not hold token sequences. Run `kedro run --pipelines=tokenize` again.")
        events, users = map(_map_table, files)
        columns = {name: _flat(events[name]).to_numpy() for name in ("token_id", "time_us", "split")}
        num_attributes, num_profiles = len(facts["attribute_names"]), len(facts["profile_names"])
        return cls(
            user_ids=users["user_id"].to_pylist(),
            offsets_U1=np.concatenate([[0], np.cumsum(users["num_events"].to_numpy())]).astype(np.int64),
            token_ids_N=columns["token_id"],
            attribute_ids_NF=_matrix(events["attribute_ids"], num_attributes),
            time_us_N=columns["time_us"],
            split_N=columns["split"],
            profile_ids_UP=_matrix(users["profile_ids"], num_profiles) if num_profiles else _no_ids(users),
            **facts,
        )  # fmt: skip

    def _facts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _FACTS}

    def _write(self, folder: Path) -> None:
        events = {
            "token_id": pa.array(self.token_ids_N.astype(np.int32, copy=False)),
            "time_us": pa.array(self.time_us_N.astype(np.int64, copy=False)),
            "split": pa.array(self.split_N.astype(np.int8, copy=False)),
            "attribute_ids": _fixed_list(self.attribute_ids_NF),
        }
        users = {
            "user_id": pa.array(self.user_ids, pa.large_string()),
            "num_events": pa.array(np.diff(self.offsets_U1)),
        }
        if self.profile_ids_UP.shape[1]:
            users["profile_ids"] = _fixed_list(self.profile_ids_UP)
        _write_table(folder / _EVENTS, pa.table(events))
        _write_table(folder / _USERS, pa.table(users))


def _fixed_list(matrix: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.astype(np.int32, copy=False).ravel()), matrix.shape[1])


def _no_ids(users: pa.Table) -> np.ndarray:
    return np.zeros((len(users), 0), dtype=np.int32)


def _flat(column: pa.ChunkedArray) -> pa.Array:
    """The column's only batch; an empty table is written with none."""
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def _matrix(column: pa.ChunkedArray, width: int) -> np.ndarray:
    return _flat(column).flatten().to_numpy().reshape(-1, width)


def _write_table(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks(), max_chunksize=max(1, table.num_rows))


def _map_table(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
