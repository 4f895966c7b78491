"""Which events are trained on, in which order.

The order is a function of (seed, step), not a state: a checkpoint needs one integer to continue it.

Shape letters: B windows of the batch, A those of a step in all processes, T positions, W windows of an epoch,
N events, U users.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import numpy as np
import torch
from torch import Tensor

from panther_pipeline.errors import TrainingError
from panther_pipeline.ledger.splits import TRAIN, VALID
from panther_pipeline.model.batch import EventBatch
from panther_pipeline.tokenizer.sequences import TokenSequences

IGNORE = -100  # target of a position that is not trained on
_POOL_BATCHES = 32  # windows are sorted by length within shuffled pools of so many batches


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Stretches of histories: rows `starts:stops` are read, rows `first_targets:stops + 1` are predicted."""

    user_ix_W: np.ndarray  # int64
    starts_W: np.ndarray  # int64 rows of TokenSequences
    stops_W: np.ndarray  # int64; the row `stops` is the last target, never an input
    first_targets_W: np.ndarray  # int64; starts + 1 unless the window begins with context only

    def __len__(self) -> int:
        return len(self.user_ix_W)

    def take(self, index: np.ndarray) -> Self:
        return type(self)(
            user_ix_W=self.user_ix_W[index],
            starts_W=self.starts_W[index],
            stops_W=self.stops_W[index],
            first_targets_W=self.first_targets_W[index],
        )


@dataclass(frozen=True, kw_only=True)
class TrainingBatch:
    """Inputs, what follows each of them, and whose they are."""

    events: EventBatch
    targets_BT: Tensor  # int64 tokens; IGNORE where nothing is to be predicted
    attribute_targets_BTF: Tensor  # int64 attribute ids of the same events; of no meaning where targets is IGNORE
    # When several processes share the batch of a step (A windows), else 1 and the batch's own:
    share: Tensor  # float32 scalar; these targets / all targets of the step x processes
    step_profile_ids_AP: Tensor  # int64
    step_user_ix_A: np.ndarray  # int64, for error messages

    def to(self, device: torch.device) -> Self:
        return type(self)(
            events=self.events.to(device),
            targets_BT=self.targets_BT.to(device, non_blocking=True),
            attribute_targets_BTF=self.attribute_targets_BTF.to(device, non_blocking=True),
            share=self.share.to(device, non_blocking=True),
            step_profile_ids_AP=self.step_profile_ids_AP.to(device, non_blocking=True),
            step_user_ix_A=self.step_user_ix_A,
        )


def training_windows(sequences: TokenSequences, max_events: int) -> Windows:
    """Cut each user's training events into windows that overlap by one event.

    Every training event but the user's first (which nothing precedes) is the target of exactly one window; no
    other event is input or target.

    Raises:
        TrainingError: no user has two training events.
    """
    num_train_U = _count_by_user(sequences, TRAIN)
    first_U = sequences.offsets_U1[:-1]
    num_windows_U = -(-np.maximum(num_train_U - 1, 0) // max_events)
    user_ix_W, ordinal_W = _expand(num_windows_U)
    if len(user_ix_W) == 0:
        raise TrainingError(
            "nothing to train on: no user has two events before train_end. "
            "Move ledger.splits.train_end later or bring a longer ledger."
        )
    starts_W = first_U[user_ix_W] + ordinal_W * max_events
    stops_W = np.minimum(starts_W + max_events, first_U[user_ix_W] + num_train_U[user_ix_W] - 1)
    return Windows(user_ix_W=user_ix_W, starts_W=starts_W, stops_W=stops_W, first_targets_W=starts_W + 1)


def validation_windows(sequences: TokenSequences, max_events: int, num_windows: int, seed: int) -> Windows:
    """A fixed random sample of windows whose targets are validation events.

    A window predicts at most max_events / 2 events, so that each target has at least as many events of
    context (if the user has them). Context may be training events; test events are never read. The sample may
    be empty.
    """
    stride = max(1, max_events // 2)
    user_ix_N = sequences.user_ix_N()
    target_rows = np.flatnonzero(sequences.split_N == VALID)
    target_rows = target_rows[target_rows > sequences.offsets_U1[user_ix_N[target_rows]]]
    # Validation events of a user are consecutive rows: every protocol of ledger.splits cuts a history into stretches.
    user_of_target = user_ix_N[target_rows]
    is_first = np.concatenate([[True], user_of_target[1:] != user_of_target[:-1]])[: len(target_rows)]
    begin_rows = target_rows[is_first]
    counts = np.diff(np.concatenate([np.flatnonzero(is_first), [len(target_rows)]]))
    group_ix, ordinal = _expand(-(-counts // stride))
    first_targets_W = begin_rows[group_ix] + ordinal * stride
    stops_W = np.minimum(first_targets_W + stride, begin_rows[group_ix] + counts[group_ix]) - 1
    user_ix_W = user_ix_N[first_targets_W]
    starts_W = np.maximum(stops_W - max_events, sequences.offsets_U1[user_ix_W])
    windows = Windows(user_ix_W=user_ix_W, starts_W=starts_W, stops_W=stops_W, first_targets_W=first_targets_W)
    if len(windows) <= num_windows:
        return windows
    chosen = np.random.default_rng(seed).choice(len(windows), size=num_windows, replace=False)
    return windows.take(np.sort(chosen))


def make_batch(sequences: TokenSequences, windows: Windows) -> TrainingBatch:
    """Gather the inputs and targets of a few windows."""
    events = EventBatch.from_windows(sequences, windows.user_ix_W, windows.starts_W, windows.stops_W)
    rows_BT = windows.starts_W[:, None] + 1 + np.arange(events.token_ids_BT.shape[1])
    is_target_BT = (rows_BT <= windows.stops_W[:, None]) & (rows_BT >= windows.first_targets_W[:, None])
    rows_BT = np.minimum(rows_BT, windows.stops_W[:, None])
    token_ids_BT = sequences.token_ids_N[rows_BT].astype(np.int64)
    return TrainingBatch(
        events=events,
        targets_BT=torch.from_numpy(np.where(is_target_BT, token_ids_BT, IGNORE)),
        attribute_targets_BTF=torch.from_numpy(sequences.attribute_ids_NF[rows_BT].astype(np.int64)),
        share=torch.ones(()),
        step_profile_ids_AP=events.profile_ids_BP,
        step_user_ix_A=windows.user_ix_W,
    )


def make_share(sequences: TokenSequences, windows: Windows, rank: int, num_processes: int) -> TrainingBatch:
    """The part of a step's batch that one of several processes takes: every num_processes-th window from `rank` on.

    The mean over the processes of `share` x the mean over their own targets is the mean over all targets, whoever has
    the longer windows. With fewer windows than processes, those left over repeat the first window at share 0.
    """
    own = np.arange(rank, len(windows), num_processes)
    batch = make_batch(sequences, windows.take(own if len(own) else np.zeros(1, dtype=np.int64)))
    num_targets_W = windows.stops_W - windows.first_targets_W + 1
    share = num_processes * num_targets_W[own].sum() / num_targets_W.sum()
    return replace(
        batch,
        share=torch.tensor(share, dtype=torch.float32),
        step_profile_ids_AP=torch.from_numpy(sequences.profile_ids_UP[windows.user_ix_W].astype(np.int64)),
        step_user_ix_A=windows.user_ix_W,
    )


class BatchOrder:
    """The batches of training: `batch_at(step)` depends on data, seed and step, and on nothing else."""

    def __init__(self, sequences: TokenSequences, max_events: int, batch_size: int, seed: int) -> None:
        """Raises:
        TrainingError: nothing to train on.
        """
        self.sequences = sequences
        self.windows = training_windows(sequences, max_events)
        self.batch_size = batch_size
        self.seed = seed
        self.steps_per_epoch = -(-len(self.windows) // batch_size)
        # Computed once per epoch, then remembered; nothing but time would change without this.
        self._epoch_batches = lru_cache(maxsize=2)(self._plan_epoch)

    def batch_at(self, step: int, rank: int = 0, num_processes: int = 1) -> TrainingBatch:
        """The batch of a step, counted from 0, or one process's part; epochs follow one another without end."""
        return make_share(self.sequences, self.windows.take(self.window_ix_at(step)), rank, num_processes)

    def window_ix_at(self, step: int) -> np.ndarray:
        """int64 positions in `windows` of the batch of a step."""
        epoch, position = divmod(step, self.steps_per_epoch)
        return self._epoch_batches(epoch)[position]

    def _plan_epoch(self, epoch: int) -> list[np.ndarray]:
        lengths_W = self.windows.stops_W - self.windows.starts_W
        return shuffled_batches(lengths_W, self.batch_size, np.random.default_rng((self.seed, epoch)))


def shuffled_batches(lengths_W: np.ndarray, batch_size: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Shuffle; sort by length within pools, so that a batch has little padding; shuffle the batches.

    Returns:
        int64 positions in `lengths_W`, a batch each; every window once.
    """
    shuffled = generator.permutation(len(lengths_W))
    pool_size = _POOL_BATCHES * batch_size
    pools = [shuffled[start : start + pool_size] for start in range(0, len(shuffled), pool_size)]
    order = np.concatenate([pool[np.argsort(lengths_W[pool], kind="stable")] for pool in pools])
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return [batches[ix] for ix in generator.permutation(len(batches))]


def target_counts(sequences: TokenSequences) -> np.ndarray:
    """int64 (V,): how often each token is a training target."""
    tokens = sequences.token_ids_N[_is_training_target(sequences)]
    return np.bincount(tokens, minlength=sequences.vocab_size).astype(np.int64)


def attribute_target_counts(sequences: TokenSequences) -> list[np.ndarray]:
    """For each attribute int64 (S,): how often each of its ids is a training target."""
    ids_MF = sequences.attribute_ids_NF[_is_training_target(sequences)]
    return [np.bincount(ids_MF[:, f], minlength=size) for f, size in enumerate(sequences.attribute_sizes)]


def _is_training_target(sequences: TokenSequences) -> np.ndarray:
    """bool (N,): training events that have one of their user before them."""
    is_target_N = sequences.split_N == TRAIN
    is_target_N[sequences.offsets_U1[:-1][np.diff(sequences.offsets_U1) > 0]] = False
    return is_target_N


def _count_by_user(sequences: TokenSequences, split: int) -> np.ndarray:
    """int64 (U,): events of a split; for TRAIN these are the first ones of each user."""
    running_N1 = np.concatenate([[0], np.cumsum(sequences.split_N == split)])
    counts_U = running_N1[sequences.offsets_U1[1:]] - running_N1[sequences.offsets_U1[:-1]]
    if split == TRAIN:
        ends_U = sequences.offsets_U1[:-1] + counts_U
        assert (running_N1[ends_U] - running_N1[sequences.offsets_U1[:-1]] == counts_U).all(), "train is not a prefix"
    return counts_U


def _expand(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For counts [2, 1]: owners [0, 0, 1] and ordinals [0, 1, 0]."""
    owners = np.repeat(np.arange(len(counts)), counts)
    return owners, np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
