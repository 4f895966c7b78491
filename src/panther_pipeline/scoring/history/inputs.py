"""The recent events of every row of a task, as vectors that are held once and gathered batch by batch.

Rows of a user share most of their history: of R rows with L events each only the M distinct events are held, two bytes
a number, and where each row's history lies among them. B × L × X numbers exist for one batch at a time.

Shape letters: R rows of the task, B rows of a batch, N events of the ledger, M events that some row reads, L recent
events, C width of an event's vector, D width of the backbone, X = C + 2.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import layer_norm
from tqdm import tqdm

from panther_pipeline.cache.embed import EventEmbeddingConfig, as_of_rows
from panther_pipeline.cache.states import iter_state_chunks, token_vectors
from panther_pipeline.cache.tuples import event_vectors
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.scoring.history.config import HistoryConfig
from panther_pipeline.scoring.task import FraudTask
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.units import DAY_US, epoch_us

NUM_TIMES = 2  # beside each vector: since the event before it, and from it to the transaction that is scored
_EVENTS_AT_ONCE = 1 << 16
_YEAR_S = 365.25 * DAY_US / 1e6


@dataclass(frozen=True, kw_only=True)
class Histories:
    """What the cache had seen of each row's user, newest last."""

    vectors_MC: Tensor  # float16, each of mean 0 and variance 1
    time_us_M: Tensor  # int64
    gap_M: Tensor  # float32, log time since the event before, see `log_time`; 0 for the user's first
    first_R: Tensor  # int64, the oldest event that a row reads, among M
    length_R: Tensor  # int64, 0 to L
    now_us_R: Tensor  # int64, time of the row itself
    own_RD: Tensor  # float16, the token's vector of the transaction that is scored
    num_events: int  # L

    @property
    def vector_width(self) -> int:
        """X, the width of what `gather` makes of an event."""
        return self.vectors_MC.shape[1] + NUM_TIMES

    @property
    def own_width(self) -> int:
        """D."""
        return self.own_RD.shape[1]

    def gather(self, rows_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Histories of some rows, aligned at the newest event.

        Returns:
            history_BLX (float32; vector, log gap before, log age; zeros where there is no event), is_event_BL (bool)
            and own_BD (float32).
        """
        length_B = self.length_R[rows_B, None]
        place_BL = torch.arange(self.num_events) - (self.num_events - length_B)
        is_event_BL = place_BL >= 0
        event_BL = torch.where(is_event_BL, self.first_R[rows_B, None] + place_BL, 0)
        vectors_BLC = self.vectors_MC[event_BL].float()
        age_BL = log_time(self.now_us_R[rows_B, None] - self.time_us_M[event_BL])
        history_BLX = torch.cat([vectors_BLC, self.gap_M[event_BL][..., None], age_BL[..., None]], dim=-1)
        return history_BLX * is_event_BL[..., None], is_event_BL, self.own_RD[rows_B].float()


def log_time(time_us: Tensor) -> Tensor:
    """Microseconds → float32: 0 at once (and before, as padding may be), 1 after a year, logarithmic between."""
    return (time_us.clamp(min=0).double() / 1e6).log1p().div(math.log1p(_YEAR_S)).float()


def gather_histories(
    task: FraudTask,
    sequences: TokenSequences,
    backbone: Backbone,
    config: HistoryConfig,
    events: EventEmbeddingConfig,
) -> Histories:
    """The last L events that the cache had seen when each row happened.

    Args:
        task: the rows.
        sequences: all histories, row-aligned with the ledger of the task.
        backbone: frozen; its causal states are a function of an event and those before it.
        config: L and what stands for an event; without models no row is read and nothing computed.
        events: how fresh the cache was; the newest event of a row is its as-of row.

    Raises:
        ConfigurationError: the sequences were made of another version of the ledger.
    """
    is_read = bool(config.models) and task.can_be_fitted
    rows_R = task.events["row"].to_numpy() if is_read else np.empty(0, dtype=np.int64)
    now_us_R = epoch_us(task.events["event_time"]) if is_read else np.empty(0, dtype=np.int64)
    _check_rows(sequences, rows_R, now_us_R)
    as_of_R = as_of_rows(sequences, events.refresh)[rows_R]
    user_first_N = sequences.first_row_N()
    oldest_R = np.maximum(as_of_R - config.num_events + 1, user_first_N[rows_R])
    length_R = np.where(as_of_R >= 0, as_of_R - oldest_R + 1, 0)
    wanted_M = _union(oldest_R[length_R > 0], as_of_R[length_R > 0], sequences.num_events)
    time_us_N = sequences.time_us_N
    before_M = np.maximum(wanted_M - 1, user_first_N[wanted_M])
    return Histories(
        vectors_MC=_vectors(backbone, sequences, wanted_M, config, events.batch_size),
        time_us_M=torch.from_numpy(time_us_N[wanted_M]),
        gap_M=log_time(torch.from_numpy(time_us_N[wanted_M] - time_us_N[before_M])),
        first_R=torch.from_numpy(np.searchsorted(wanted_M, oldest_R)),
        length_R=torch.from_numpy(length_R),
        now_us_R=torch.from_numpy(np.array(now_us_R)),
        own_RD=_token_vectors(backbone, sequences, rows_R),
        num_events=config.num_events,
    )


def _check_rows(sequences: TokenSequences, rows_R: np.ndarray, now_us_R: np.ndarray) -> None:
    inside = rows_R.max(initial=-1) < sequences.num_events
    if not inside or not np.array_equal(sequences.time_us_N[rows_R], now_us_R):
        raise ConfigurationError(
            "token_sequences belong to another version of valid_events than the fraud task. Run the pipelines from "
            "tokenize on again."
        )


def _union(first: np.ndarray, last: np.ndarray, num_events: int) -> np.ndarray:
    """int64 (M,): the events inside at least one interval [first, last], in order."""
    steps = np.zeros(num_events + 1, dtype=np.int64)
    np.add.at(steps, first, 1)
    np.add.at(steps, last + 1, -1)
    return np.flatnonzero(np.cumsum(steps[:-1]) > 0)


def _vectors(
    backbone: Backbone, sequences: TokenSequences, wanted_M: np.ndarray, config: HistoryConfig, batch_size: int
) -> Tensor:
    parts = []
    if config.vectors != "tokens":
        parts.append(_states(backbone, sequences, wanted_M, batch_size))
    if config.vectors != "states":
        parts.append(_token_vectors(backbone, sequences, wanted_M))
    return torch.cat(parts, dim=1)


def _states(backbone: Backbone, sequences: TokenSequences, wanted_M: np.ndarray, batch_size: int) -> Tensor:
    states_MD = torch.zeros(len(wanted_M), backbone.config.dim, dtype=torch.float16)
    with tqdm(total=len(wanted_M), desc="histories", unit="event", unit_scale=True, disable=not len(wanted_M)) as bar:
        for rows_m, h_mD in iter_state_chunks(backbone, sequences, wanted_M, batch_size):
            states_MD[torch.from_numpy(np.searchsorted(wanted_M, rows_m))] = _half(h_mD)
            bar.update(len(rows_m))
    return states_MD


def _token_vectors(backbone: Backbone, sequences: TokenSequences, rows: np.ndarray) -> Tensor:
    """What each event is, without its history: the vector of its token, or of its attributes if there are no tokens."""
    vectors = torch.zeros(len(rows), backbone.config.dim, dtype=torch.float16)
    is_factored = backbone.embedding.token is None
    ids_N = sequences.attribute_ids_NF if is_factored else sequences.token_ids_N
    with torch.inference_mode():
        for start in range(0, len(rows), _EVENTS_AT_ONCE):
            some = slice(start, start + _EVENTS_AT_ONCE)
            ids = torch.from_numpy(ids_N[rows[some]].astype(np.int64)).to(backbone.device)
            vectors[some] = _half(event_vectors(backbone, ids) if is_factored else token_vectors(backbone)[ids])
    return vectors


def _half(vectors: Tensor) -> Tensor:
    # Each vector by its own mean and spread: token vectors are a fiftieth as long as states, and statistics over events
    # would have to leave out those of the test.
    return layer_norm(vectors, vectors.shape[-1:], eps=1e-8).half().cpu()
