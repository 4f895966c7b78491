"""The online store: per user, what a decision needs and nothing it can compute in microseconds.

Shape letters: U users, D width, R recent events kept.
"""

import bisect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors.numpy import load_file, save_file

from panther_pipeline.errors import ArtifactError
from panther_pipeline.publish import open_published, publish_folder, publish_json

_VERSION = 1
_ARRAYS, _USERS = "users.safetensors", "user_ids.json"


@dataclass(frozen=True, kw_only=True)
class UserState:
    """One user as cached."""

    embedding_D: np.ndarray  # float32
    next_behaviour_D: np.ndarray  # float32: expected token vector of the next transaction
    surprise_mean: float  # nats, over the user's past
    surprise_std: float
    recent_token_ids: np.ndarray  # int32, oldest first, at most R
    recent_times_us: np.ndarray  # int64
    num_events: int  # events behind the embedding


@dataclass(frozen=True, kw_only=True)
class OnlineStore:
    """One generation of the cache. `facts` names the backbone and tokenizer it was made with, and as of when."""

    user_ids: list[str]  # sorted
    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]

    def get(self, user_id: str) -> UserState | None:
        """The user's cached state, or None for a user the cache has never seen."""
        ix = bisect.bisect_left(self.user_ids, user_id)
        if ix == len(self.user_ids) or self.user_ids[ix] != user_id:
            return None
        kept = int(min(self.arrays["num_events"][ix], self.arrays["recent_token_ids_UR"].shape[1]))
        recent = slice(self.arrays["recent_token_ids_UR"].shape[1] - kept, None)
        return UserState(
            embedding_D=self.arrays["embedding_UD"][ix],
            next_behaviour_D=self.arrays["next_behaviour_UD"][ix],
            surprise_mean=float(self.arrays["surprise_mean"][ix]),
            surprise_std=float(self.arrays["surprise_std"][ix]),
            recent_token_ids=self.arrays["recent_token_ids_UR"][ix, recent],
            recent_times_us=self.arrays["recent_times_us_UR"][ix, recent],
            num_events=int(self.arrays["num_events"][ix]),
        )

    def save(self, folder: Path) -> None:
        """Publish as a new generation; readers of the old one are not disturbed."""
        publish_folder(folder, self._write, facts={"version": _VERSION, **self.facts})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open the current generation.

        Raises:
            ArtifactError: missing, damaged, or of another version.
        """
        generation, facts = open_published(folder)
        if facts.pop("version", None) != _VERSION:
            raise ArtifactError(
                f"{folder} was written by another version of the online store. Run pipeline 'embed' again."
            )
        user_ids = json.loads((generation / _USERS).read_text(encoding="utf-8"))
        return cls(user_ids=user_ids, arrays=load_file(generation / _ARRAYS), facts=facts)

    def _write(self, folder: Path) -> None:
        save_file({name: np.ascontiguousarray(array) for name, array in self.arrays.items()}, folder / _ARRAYS)
        publish_json(folder / _USERS, self.user_ids)
