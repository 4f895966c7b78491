"""A user as one value of the store: the history, and the activity that features are made of."""

import struct
from dataclasses import dataclass
from typing import Self

from panther_pipeline.errors import ArtifactError
from panther_pipeline.features.activity import UserActivity
from panther_pipeline.features.config import ActivityConfig
from panther_pipeline.online.history import UserHistory

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, kw_only=True)
class UserRecord:
    """All that is known of one user."""

    history: UserHistory
    activity: UserActivity

    def pack(self) -> bytes:
        history = self.history.pack()
        return b"".join([_LENGTH.pack(len(history)), history, self.activity.pack()])

    @classmethod
    def unpack(cls, packed: bytes, config: ActivityConfig) -> Self:
        """Read what `pack` wrote.

        Args:
            packed: the record.
            config: how the activity was kept.

        Raises:
            ArtifactError: not such bytes, or of another version.
        """
        if len(packed) < _LENGTH.size:
            raise ArtifactError("a user's record is empty. Run `kedro run --pipelines=embed` to build the store again.")
        end = _LENGTH.size + _LENGTH.unpack_from(packed)[0]
        history = UserHistory.unpack(packed[_LENGTH.size : end])
        return cls(history=history, activity=UserActivity.unpack(packed[end:], config))
