"""The tensors that every sequence model reads.

Shape letters: B windows in the batch, T events, F token attributes, P profile attributes.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from torch import Tensor

from panther_pipeline.tokenizer.sequences import TokenSequences


@dataclass(frozen=True, kw_only=True)
class EventBatch:
    """Histories padded on the right; a causal model never looks at the padding from a real event."""

    token_ids_BT: Tensor  # int64, 0 = padding
    attribute_ids_BTF: Tensor  # int64, 0 = padding
    time_us_BT: Tensor  # int64 microseconds UTC; padding repeats the last event's time
    profile_ids_BP: Tensor  # int64; P may be 0
    lengths_B: Tensor  # int64, at least 1

    def to(self, device: torch.device | str) -> Self:
        """The same batch on another device; copies overlap with computation where memory is pinned."""
        return type(self)(**{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)})

    @classmethod
    def from_windows(
        cls, sequences: TokenSequences, user_ix_B: np.ndarray, starts_B: np.ndarray, stops_B: np.ndarray
    ) -> Self:
        """Gather rows `starts[b]:stops[b]` of the flat arrays, all of user `user_ix[b]`.

        Args:
            user_ix_B: int64 positions in `sequences.user_ids`.
            starts_B: int64 first row of each window.
            stops_B: int64 row after the last; greater than `starts_B`.
        """
        lengths_B = stops_B - starts_B
        rows_BT = starts_B[:, None] + np.arange(lengths_B.max())
        is_event_BT = rows_BT < stops_B[:, None]
        # Padding points at the last event, so that its time differences stay small; its ids become 0.
        rows_BT = np.minimum(rows_BT, stops_B[:, None] - 1)
        return cls(
            token_ids_BT=_int64(sequences.token_ids_N[rows_BT] * is_event_BT),
            attribute_ids_BTF=_int64(sequences.attribute_ids_NF[rows_BT] * is_event_BT[..., None]),
            time_us_BT=_int64(sequences.time_us_N[rows_BT]),
            profile_ids_BP=_int64(sequences.profile_ids_UP[user_ix_B]),
            lengths_B=_int64(lengths_B),
        )

    @classmethod
    def from_arrays(
        cls,
        *,
        token_ids: list[np.ndarray],
        attribute_ids: list[np.ndarray],
        time_us: list[np.ndarray],
        profile_ids: list[np.ndarray],
    ) -> Self:
        """Pad the histories of B users, each given as arrays of its own.

        Args:
            token_ids: B arrays (T,), none of them empty.
            attribute_ids: B arrays (T, F).
            time_us: B arrays (T,).
            profile_ids: B arrays (P,).
        """
        lengths_B = np.array([len(ids) for ids in token_ids])
        token_ids_BT = np.zeros((len(lengths_B), lengths_B.max()), np.int64)
        attribute_ids_BTF = np.zeros((*token_ids_BT.shape, attribute_ids[0].shape[1]), np.int64)
        time_us_BT = np.repeat(np.array([times[-1] for times in time_us], np.int64)[:, None], lengths_B.max(), axis=1)
        for b, length in enumerate(lengths_B):
            token_ids_BT[b, :length], attribute_ids_BTF[b, :length] = token_ids[b], attribute_ids[b]
            time_us_BT[b, :length] = time_us[b]
        return cls(
            token_ids_BT=torch.from_numpy(token_ids_BT),
            attribute_ids_BTF=torch.from_numpy(attribute_ids_BTF),
            time_us_BT=torch.from_numpy(time_us_BT),
            profile_ids_BP=_int64(np.stack(profile_ids)),
            lengths_B=_int64(lengths_B),
        )


def _int64(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64))
