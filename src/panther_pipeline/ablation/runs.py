"""Train every run of a grid and rank the same targets with each."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

import panther_pipeline.model
import panther_pipeline.training
from panther_pipeline.ablation.grid import Grid, PlannedRun
from panther_pipeline.ablation.progress import Progress
from panther_pipeline.ablation.statistics import mean_metrics
from panther_pipeline.ablation.store import RunFolder, RunStore, Training, identity_of
from panther_pipeline.ablation.validation import describe_validation
from panther_pipeline.baselines import candidates
from panther_pipeline.baselines import next_transaction as baselines
from panther_pipeline.cache import states
from panther_pipeline.code_version import describe_machine
from panther_pipeline.errors import TrainingError
from panther_pipeline.ledger.splits import SPLIT_NAMES
from panther_pipeline.lock import taken
from panther_pipeline.metrics import next_transaction, ranking
from panther_pipeline.metrics.config import RankingConfig
from panther_pipeline.metrics.next_transaction import rank_column, rank_with_backbone, select_targets
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.report.run_facts import fingerprint_sequences
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.training.device import choose_device, uses_bfloat16
from panther_pipeline.training.identity import source_digest
from panther_pipeline.training.pretraining import pretrain
from panther_pipeline.training.run import Report

logger = logging.getLogger(__name__)
Watch = Callable[[PlannedRun], AbstractContextManager[Report]]
_SPLITS = {name: split for split, name in SPLIT_NAMES.items()}
_TRAINING_CODE = [Path(module.__file__).parent for module in (panther_pipeline.model, panther_pipeline.training)]
_RANKING_CODE = [Path(module.__file__) for module in (next_transaction, ranking, baselines, candidates, states)]


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """What one training gave."""

    variant: str
    seed: int
    record: dict[str, Any]  # JSON values
    curves: pl.DataFrame  # step, metric, value
    ranks: pl.DataFrame  # row, user_ix, rank (null = miss), log_prob (nats); the same rows in every run of the grid


def unwatched(run: PlannedRun) -> AbstractContextManager[Report]:
    """Nobody follows the run."""
    return nullcontext(lambda step, metrics: None)


def run_grid(
    grid: Grid,
    sequences: TokenSequences,
    store: RunStore,
    ranking: RankingConfig,
    code_version: dict[str, str],
    watch: Watch = unwatched,
) -> list[FinishedRun]:
    """Train what is not finished yet, rank the targets with every model.

    Several processes may be given the same grid: each takes the next run that no other has taken, and waits in the end
    for those of the others. A run that cannot be trained does not cost the others: they are finished first, and found
    in the store next time.

    Args:
        grid: from `plan_grid`.
        sequences: all histories.
        store: where finished runs and checkpoints are.
        ranking: which users' targets, among what, and how many windows at once.
        code_version: from `read_code_version`; commit and torch's version are kept with each training.
        watch: gives a context for each run, finished before or not; the curves and in the end the metrics
            `<split>/<name>` are reported to what it enters.

    Raises:
        TrainingError: names every run that failed and why, once all others are done.
        ConfigurationError: the split has no target.
    """
    workshop = Workshop(grid, sequences, store, ranking, code_version)
    finished: dict[str, FinishedRun] = {}
    failed: list[str] = []
    progress = Progress(grid, missing={str(run) for run in grid.runs if not workshop.is_trained(run)})
    for run in workshop.take(grid.runs):
        progress.start(run, workshop.is_trained(run))
        try:
            with watch(run) as report:
                done = finished[str(run)] = workshop.finish(run, report)
        except TrainingError as error:
            failed.append(f"{run}: {error}")
            logger.error("run %s failed, the others go on: %s", run, error)
            progress.end(run, "failed")
        else:
            hit_rate = mean_metrics(done.ranks)["hr@10"]
            progress.end(run, f"hr@10 {hit_rate:.4f}, {done.record['tokens_per_s'] or 0:,.0f} tokens/s")
    if failed:
        raise TrainingError(
            "\n".join([f"{len(failed)} of {len(grid.runs)} runs failed; the others are finished and kept.", *failed])
        )
    return [finished[str(run)] for run in grid.runs]


class Workshop:
    """What all runs of a grid share: data, targets, device, and how a run is known again."""

    def __init__(
        self,
        grid: Grid,
        sequences: TokenSequences,
        store: RunStore,
        ranking: RankingConfig,
        code_version: dict[str, str],
    ) -> None:
        self.code = {key: code_version[key] for key in ("commit", "version.torch")}
        self.sequences = sequences
        self.store = store
        self.ranking = ranking
        self.split = grid.config.split
        self.rows_M = select_targets(sequences, ranking, _SPLITS[self.split])
        self.data = fingerprint_sequences(sequences)
        self.training_code, self.ranking_code = source_digest(_TRAINING_CODE), source_digest(_RANKING_CODE)

    def is_trained(self, run: PlannedRun) -> bool:
        return self._folder(run).load_training(self.training_identity(run)) is not None

    def take(self, runs: list[PlannedRun]) -> Iterator[PlannedRun]:
        """Each run, kept from other processes until the next one is asked for; those that others have come last."""
        others = []
        for run in runs:
            with taken(self._folder(run).path) as is_ours:
                if is_ours:
                    yield run
                else:
                    logger.info("%s: another process trains it", run)
                    others.append(run)
        for run in others:
            with taken(self._folder(run).path, wait=True):
                yield run

    def finish(self, run: PlannedRun, report: Report) -> FinishedRun:
        """Train or load the model, rank or load the ranks, report what there is."""
        folder, identity = self._folder(run), self.training_identity(run)
        training = folder.load_training(identity)
        if training is None:
            training = self._train(run, folder, identity, report)
        else:
            _replay(training.curves, report)
        ranks = self._ranks(run, folder, identity)
        report(training.record["steps"], {f"{self.split}/{name}": x for name, x in mean_metrics(ranks).items()})
        return FinishedRun(
            variant=run.variant.name, seed=run.seed, record=training.record, curves=training.curves, ranks=ranks
        )

    def training_identity(self, run: PlannedRun) -> str:
        """Digest of all that the weights depend on, but for rounding: threads and versions are left out."""
        blocks, device = run.variant.blocks, choose_device(run.training)
        return identity_of(
            {
                "model": blocks.model.model_dump(),
                "loss": blocks.loss.model_dump(),
                "training": run.training.model_dump(exclude={"num_threads", "save_every", "device", "precision"}),
                "data": self.data,
                "code": self.training_code,
                "device": device.type,
                "bfloat16": uses_bfloat16(run.training, device),
            }
        )

    def _train(self, run: PlannedRun, folder: RunFolder, identity: str, report: Report) -> Training:
        blocks, speed = run.variant.blocks, _LastSpeed(report)
        started = time.perf_counter()
        backbone, curves = pretrain(self.sequences, blocks.model, blocks.loss, run.training, folder.checkpoints, speed)
        record = {
            "variant": run.variant.name,
            "seed": run.seed,
            "num_parameters": run.variant.num_parameters,
            "num_weights": sum(p.numel() for p in backbone.parameters()),
            "steps": int(curves["step"].max()),
            "max_steps": run.training.max_steps,
            **describe_validation(curves, run.training),
            "tokens_per_s": speed.tokens_per_s,
            "seconds": round(time.perf_counter() - started, 1),  # of the process that finished it
            "machine": describe_machine(_gpu_name(choose_device(run.training))),
            **self.code,  # of the process that finished it
        }
        training = Training(record=record, curves=curves)
        folder.save_training(identity, backbone, training)
        return training

    def _ranks(self, run: PlannedRun, folder: RunFolder, training_identity: str) -> pl.DataFrame:
        identity = identity_of(
            {
                "training": training_identity,
                "split": self.split,
                "ranking": self.ranking.model_dump(exclude={"batch_size"}),
                "code": self.ranking_code,
            }
        )
        ranks = folder.load_ranks(self.split, identity)
        if ranks is None:
            ranks = self._rank(folder.load_backbone().to(choose_device(run.training)))
            folder.save_ranks(self.split, identity, ranks)
        return ranks

    def _rank(self, backbone: Backbone) -> pl.DataFrame:
        ranks_M, log_prob_M = rank_with_backbone(backbone, self.sequences, self.rows_M, self.ranking)
        return pl.DataFrame(
            {
                "row": self.rows_M,
                "user_ix": self.sequences.user_ix_N()[self.rows_M].astype(np.int32),
                "rank": rank_column(ranks_M),
                "log_prob": log_prob_M,
            }
        )

    def _folder(self, run: PlannedRun) -> RunFolder:
        return self.store.run(run.variant.name, run.seed)


def _gpu_name(device: torch.device) -> str | None:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


class _LastSpeed:
    """Hands reports on and remembers the newest speed, which no curve keeps."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.tokens_per_s: float | None = None  # None: the training was finished by an earlier process

    def __call__(self, step: int, metrics: dict[str, float]) -> None:
        if "tokens_per_s" in metrics:
            self.tokens_per_s = round(metrics["tokens_per_s"], 1)
        self.report(step, metrics)


def _replay(curves: pl.DataFrame, report: Report) -> None:
    for (step,), points in curves.group_by("step", maintain_order=True):
        report(step, dict(points.select("metric", "value").iter_rows()))
