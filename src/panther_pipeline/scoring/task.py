"""The fraud task: which events a head is fitted on, calibrated on and judged on, and what it reads of each.

Time runs fit rows → (label delay) → calibration rows → (label delay) → test rows. A row is fitted on only if its
label was known when the rows after it began, so a 7-day delay leaves gaps of 7 days, as it would in production.

Shape letters: R rows of the task, F features, D embedding width, S = 3 surprise values, N events of the
ledger.
"""

import logging
import math
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from pydantic import Field

from panther_pipeline.config import Config
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.splits import TEST, TRAIN, UNUSED, VALID, Instant, SplitConfig, assign_split, parse_instant
from panther_pipeline.units import DAY_US, epoch_us, to_us

logger = logging.getLogger(__name__)

FIT, CALIBRATION, JUDGED = 0, 1, 2  # parts of a task
SURPRISE_COLUMNS = ["surprise", "surprise_z", "cosine"]
_EVENT_COLUMNS = ["event_id", "row", "user_id", "event_time", "label", "amount_cents", "event_seq", "cold"]


class FraudTaskConfig(Config):
    """Which labelled events belong to the task."""

    fit_start: Instant | None  # ISO instant; older events are not fitted on (null = from the start of the ledger)
    calibration_share: float = Field(gt=0, lt=1)  # newest share of the labelled rows: choices and calibration
    calibration_gap: bool  # fit on labels known before the calibration rows begin, as those before the test are
    negatives_per_fraud: int | None = Field(ge=1)  # fitted non-frauds per fitted fraud, drawn at random; null = all
    seed: int = Field(ge=0)  # of that draw
    # ISO instant; drop test events of users with a fraud since then that was known when the day began (null = none):
    # their cards are blocked, nobody has to score them. Calibration events likewise, since as long before them
    blocked_since: Instant | None


@dataclass(frozen=True, kw_only=True)
class FraudTask:
    """Rows of one task, ordered by (event_time, row); no rows at all when the ledger has no usable labels."""

    # event_id, row (int64 into valid_events), user_id, event_time, label, amount_cents, event_seq and
    # cold (bool: of a user of whom nothing was learnt, see `is_cold_user`)
    events: pl.DataFrame
    part_R: np.ndarray  # int8: FIT, CALIBRATION or JUDGED
    features_RF: np.ndarray  # float32
    embeddings_RD: np.ndarray  # float32; zeros without history
    surprises_RS: np.ndarray  # float32: surprise (nats), surprise_z (standard deviations), cosine
    feature_names: list[str]
    kept_share: float  # of the fitted non-frauds, after sampling; parts other than FIT are never sampled

    @property
    def prior_shift(self) -> float:
        """What to add to the logit of a model of the fit rows, so that it knows how rare frauds really are.

        Leaving out non-frauds multiplies the odds of fraud by 1 / kept_share in every region of the inputs. Platt
        scaling would absorb the same constant; it stands in the logit so that the scaling has nothing to hide.

        Source: Elkan, "The foundations of cost-sensitive learning" (2001), theorem 2.
        """
        return math.log(self.kept_share)

    @property
    def label_R(self) -> np.ndarray:
        return self.events["label"].to_numpy()

    @property
    def can_be_fitted(self) -> bool:
        """Whether the fit rows and the calibration rows hold both classes."""
        return all(len(np.unique(self.label_R[self.part_R == part])) == 2 for part in (FIT, CALIBRATION))

    def rows(self, part: int) -> np.ndarray:
        """int64 positions of one part's rows."""
        return np.flatnonzero(self.part_R == part)

    def without_backbone(self) -> "FraudTask":
        """The same rows, of which the backbone says nothing: its numbers are 0 everywhere."""
        embeddings_RD, surprises_RS = np.zeros_like(self.embeddings_RD), np.zeros_like(self.surprises_RS)
        return replace(self, embeddings_RD=embeddings_RD, surprises_RS=surprises_RS)

    def only(self, part: int) -> "FraudTask":
        """The same task with the rows of one part alone."""
        rows = self.rows(part)
        return replace(
            self,
            events=self.events[rows],
            part_R=self.part_R[rows],
            features_RF=self.features_RF[rows],
            embeddings_RD=self.embeddings_RD[rows],
            surprises_RS=self.surprises_RS[rows],
        )


def assemble_fraud_task(
    valid_events: pl.DataFrame,
    event_features: pl.DataFrame,
    event_embeddings: pl.DataFrame,
    config: FraudTaskConfig,
    splits: SplitConfig,
) -> FraudTask:
    """Choose the rows and line up features and embeddings.

    Args:
        valid_events: the ledger.
        event_features: `compute_features` of the same ledger, row-aligned.
        event_embeddings: row, embedding, surprise, surprise_z, cosine of at least the rows of the task, and
            event_id, by which they are checked to belong to this ledger.
        config: the choice of rows.
        splits: instants of train, validation and test.

    Returns:
        The task. A ledger without labels gives a task without rows and one warning, so that a run of all
        pipelines ends well on it; fitting on it gives an untrained head and no scores.

    Raises:
        ConfigurationError: features or embeddings do not belong to this ledger or do not cover the rows of
            the task; or a ledger with labels is split by order, where no instant separates what was known.
    """
    if event_features["event_id"].to_list() != valid_events["event_id"].to_list():
        raise ConfigurationError(
            f"event_features ({event_features.height} rows) do not belong to valid_events "
            f"({valid_events.height} rows): run the finetune pipeline from compute_features."
        )
    _check_embeddings(event_embeddings, valid_events)
    part_N, kept_share = choose_rows(valid_events, config, splits)
    time_N = valid_events["event_time"].to_numpy()
    chosen = np.flatnonzero(part_N >= 0)
    chosen = chosen[np.argsort(time_N[chosen], kind="stable")]
    if not len(chosen):
        logger.warning("No labelled event is known before the test: the fraud task is empty and nothing is fitted.")
    embeddings_RD, surprises_RS = _align_embeddings(event_embeddings, chosen)
    names = [name for name in event_features.columns if name != "event_id"]
    return FraudTask(
        events=valid_events.with_row_index("row")
        .with_columns(pl.col("row").cast(pl.Int64), cold=is_cold_user(valid_events, splits))[chosen]
        .select(_EVENT_COLUMNS),
        part_R=part_N[chosen],
        features_RF=event_features[chosen].select(names).to_numpy().astype(np.float32, copy=False),
        embeddings_RD=embeddings_RD,
        surprises_RS=surprises_RS,
        feature_names=names,
        kept_share=kept_share,
    )


def choose_rows(valid_events: pl.DataFrame, config: FraudTaskConfig, splits: SplitConfig) -> tuple[np.ndarray, float]:
    """Which events the task is made of, before anything else is known about them.

    Returns:
        part_N: int8 (N,), FIT, CALIBRATION, JUDGED, or -1 for events outside the task.
        kept_share: of the non-frauds to fit on, the share that was drawn.
    """
    part_N = _assign_parts(valid_events, config, splits)
    return part_N, _sample_negatives(part_N, valid_events["label"].to_numpy(), config)


def is_cold_user(events: pl.DataFrame, splits: SplitConfig) -> pl.Series:
    """bool (N,): events of users without any in training or validation, whether new or held out.

    Neither the weights of the backbone nor those of a head were fitted to such a user, nor chosen by looking at one.
    What a user did before the test is still known at each event: it is history, read but never learnt from.
    """
    split_N = assign_split(epoch_us(events["event_time"]), events["user_id"], splits)
    learnt = pl.Series("learnt", np.isin(split_N, (TRAIN, VALID)))
    return events.select("user_id", learnt).select(~pl.col("learnt").any().over("user_id")).to_series()


def _sample_negatives(part_N: np.ndarray, label_N: np.ndarray, config: FraudTaskConfig) -> float:
    """Take non-frauds that are not drawn out of the fit rows, in place, and say which share was kept."""
    frauds = int(((part_N == FIT) & (label_N == 1)).sum())
    negatives = np.flatnonzero((part_N == FIT) & (label_N == 0))
    if config.negatives_per_fraud is None or config.negatives_per_fraud * frauds >= len(negatives) or not frauds:
        return 1.0
    num_kept = config.negatives_per_fraud * frauds
    dropped = np.random.default_rng(config.seed).permutation(negatives)[num_kept:]
    part_N[dropped] = -1
    return num_kept / len(negatives)


def _assign_parts(events: pl.DataFrame, config: FraudTaskConfig, splits: SplitConfig) -> np.ndarray:
    """int8 (N,): the part of each event, -1 for events outside the task."""
    if events["label"].null_count() == events.height:  # before any instant is asked for: such a ledger may have none
        return np.full(events.height, -1, dtype=np.int8)
    time_us_N = epoch_us(events["event_time"])
    known_us_N = np.maximum(epoch_us(events["label_time"]), time_us_N)
    split_N = assign_split(time_us_N, events["user_id"], splits)
    labelled_N = (events["label"].is_not_null() & events["label_time"].is_not_null()).to_numpy()
    fit_start_us = to_us(parse_instant(config.fit_start)) if config.fit_start else np.iinfo(np.int64).min
    before_N = (split_N != TEST) & (split_N != UNUSED) & (time_us_N >= fit_start_us)
    # Strictly before, like every window of the features: what becomes known now serves the next instant.
    fit_rows = np.flatnonzero(before_N & labelled_N & (known_us_N < splits.valid_end_us))
    part_N = np.full(events.height, -1, dtype=np.int8)
    part_N[fit_rows] = FIT
    if len(fit_rows):
        # A share of time-ordered rows, cut between two instants so that no instant lies on both sides.
        border_us = np.quantile(time_us_N[fit_rows], 1 - config.calibration_share, method="higher")
        if config.calibration_gap:
            part_N[fit_rows[known_us_N[fit_rows] >= border_us]] = -1
        part_N[fit_rows[time_us_N[fit_rows] >= border_us]] = CALIBRATION
    part_N[(split_N == TEST) & events["label"].is_not_null().to_numpy()] = JUDGED
    if config.blocked_since is not None:
        since_us = to_us(parse_instant(config.blocked_since))
        starts = {JUDGED: splits.valid_end_us, CALIBRATION: int(border_us) if len(fit_rows) else splits.valid_end_us}
        for part, start_us in starts.items():
            counts_N = labelled_N & (time_us_N >= since_us - (splits.valid_end_us - start_us))
            part_N[(part_N == part) & _is_blocked(events, time_us_N, known_us_N, counts_N)] = -1
    return part_N


def _is_blocked(
    events: pl.DataFrame, time_us_N: np.ndarray, known_us_N: np.ndarray, counts_N: np.ndarray
) -> np.ndarray:
    """Whether a fraud of the event's user was known before the event's day began (UTC).

    Source: Fraud-Detection-Handbook, chapter 3, `get_train_test_set`, where a compromised card is blocked
    and not scored.
    """
    fraud_N = counts_N & (events["label"].fill_null(0) == 1).to_numpy()
    first_known = (
        pl.DataFrame({"user_id": events["user_id"].filter(pl.Series(fraud_N)), "known_us": known_us_N[fraud_N]})
        .group_by("user_id")
        .agg(pl.col("known_us").min())
    )
    joined = events.select("user_id").join(first_known, on="user_id", how="left", maintain_order="left")
    day_us_N = time_us_N // DAY_US * DAY_US
    return joined["known_us"].fill_null(np.iinfo(np.int64).max).to_numpy() < day_us_N


def _check_embeddings(embeddings: pl.DataFrame, events: pl.DataFrame) -> None:
    """Row numbers mean nothing in another version of the ledger; an embedding without event_id is trusted."""
    if "event_id" not in embeddings.columns or embeddings.is_empty():
        return
    inside = embeddings["row"].is_between(0, events.height - 1).all()
    if not inside or not embeddings["event_id"].equals(events["event_id"].gather(embeddings["row"])):
        raise ConfigurationError(
            "event_embeddings belong to another version of valid_events. Run the embed pipeline again."
        )


def _align_embeddings(embeddings: pl.DataFrame, rows_R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R, D) embeddings and (R, 3) surprise values of the wanted rows, float32."""
    have_M = embeddings["row"].to_numpy()
    order = np.argsort(have_M, kind="stable")
    index_R = np.minimum(np.searchsorted(have_M, rows_R, sorter=order), max(len(have_M) - 1, 0))
    found_R = have_M[order[index_R]] == rows_R if len(have_M) else np.zeros(len(rows_R), dtype=bool)
    if not found_R.all():
        raise ConfigurationError(
            f"event_embeddings lack {int((~found_R).sum())} of the {len(rows_R)} rows of the fraud task. Set "
            "embedding.events.since at or before finetuning.task.fit_start (null = all), then run "
            "the embed pipeline."
        )
    wanted = embeddings[order[index_R]] if len(rows_R) else embeddings[:0]
    width = embeddings.schema["embedding"].shape[0]
    vectors_RD = wanted["embedding"].to_numpy().reshape(len(rows_R), width)
    return vectors_RD.astype(np.float32, copy=False), wanted.select(SURPRISE_COLUMNS).to_numpy().astype(np.float32)
