"""What a run offers to the registry of models: how good the served head is, and on which events that was measured."""

import hashlib
import logging
from typing import Any, Literal

import numpy as np
import polars as pl
from pydantic import Field, field_validator

from panther_pipeline.config import Config
from panther_pipeline.metrics.fraud import SPLIT, TASK
from panther_pipeline.metrics.records import find_value
from panther_pipeline.units import epoch_us

logger = logging.getLogger(__name__)
SERVED_MODEL = "panther_head"  # of the comparison: `fraud_head`
_LESS_IS_BETTER = {"brier", "expected_calibration_error"}


class RegistryConfig(Config):
    """Which model the alias of the registry names."""

    enabled: bool
    name: str = Field(pattern=r"^[^/:%\"']+$")  # of the registered model; the characters are MLflow's
    metric: str  # of the served head; more is better
    split: Literal["test", "test_short_history", "test_cold"]  # on which it is measured
    alias: str = Field(pattern=r"^[A-Za-z_][\w\-]*$")
    min_gain: float = Field(ge=0)  # by more than this a candidate must be better
    incomparable: Literal["keep", "replace"]  # the alias, when the champion was judged on other events
    versions: Literal["every_run", "better"]  # which runs leave a version

    @field_validator("metric")
    @classmethod
    def _more_is_better(cls, metric: str) -> str:
        if metric in _LESS_IS_BETTER:
            raise ValueError(f"of '{metric}' less is better; choose a metric of which more is, as average_precision")
        return metric


def describe_candidate(
    metrics: list[dict[str, Any]], fraud_scores: pl.DataFrame, facts: dict[str, str], config: RegistryConfig
) -> dict[str, Any]:
    """What the registry is told of this run's model.

    Args:
        metrics: all records of the run.
        fraud_scores: of all models; what the digest of the judged events is taken of.
        facts: from `report.run_facts.describe_run`.
        config: which metric counts.

    Returns:
        "registry" (the configuration) and "tags" (texts): metric, split, value, its interval, the number of judged
        events, their digest and first and last instant, and the facts. Empty where there is nothing to register: it
        is not asked for, or the served head was not measured.
    """
    wanted = {"task": TASK, "model": SERVED_MODEL, "metric": config.metric, "split": config.split}
    record = find_value(metrics, **wanted) if config.enabled else None
    if record is None:
        if config.enabled and not fraud_scores.is_empty():
            logger.warning(
                "No %s of %s on %s was measured: no model goes to the registry. Set evaluation.registry.metric and "
                "split to what metrics.json has.", config.metric, SERVED_MODEL, config.split,
            )  # fmt: skip
        return {}
    judged = fraud_scores.filter(pl.col("split") == SPLIT, pl.col("model") == SERVED_MODEL)
    judged = judged.filter(pl.col("label").is_not_null(), pl.col("seed") == pl.col("seed").min()).sort("event_id")
    tags = {
        "metric": config.metric,
        "split": config.split,
        **{name: repr(record[name]) for name in ("value", "low", "high") if record[name] is not None},
        "judged_events": str(record["n"]),
        "judged_digest": digest_events(judged),
        "judged_from": judged["event_time"].min().isoformat(),
        "judged_until": judged["event_time"].max().isoformat(),
        **{name.replace(" ", "_"): value for name, value in facts.items()},
    }
    return {"registry": config.model_dump(), "tags": tags}


def digest_events(events: pl.DataFrame) -> str:
    """SHA-256 of ids, instants, labels and the parts events are in: equal when the same events were judged.

    Neither tokens nor scores are in it, so that two tokenizers, or two models, can be compared.
    """
    digest = hashlib.sha256()
    for event_id in events["event_id"]:
        digest.update(event_id.encode("utf-8", "surrogatepass") + b"\0")
    digest.update(epoch_us(events["event_time"]).astype(np.int64).tobytes())
    for name in ("label", "cold", "event_seq"):
        digest.update(events[name].cast(pl.Int64).to_numpy().astype(np.int64).tobytes())
    return digest.hexdigest()
