"""The scorer behind MLflow's interface: a frame of events in, a frame of decisions out, nothing kept in between."""

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from panther_pipeline.cache.stores.published_store import PublishedSource
from panther_pipeline.errors import SourceError, TooLateError
from panther_pipeline.features.event import OnlineEvent
from panther_pipeline.mlflow_model.frames import read_frame, write_frame
from panther_pipeline.online.artifacts import ScorerArtifacts
from panther_pipeline.online.load import load_scorer
from panther_pipeline.online.scorer import OnlineScorer
from panther_pipeline.units import SECOND_US


class ScorerModel(PythonModel):
    """Scores as of the instant of its online store: events of a call change nothing, whatever their order."""

    def __init__(self) -> None:
        self._scorer: OnlineScorer | None = None
        self._alone = threading.Lock()  # MLflow's server calls from several threads, the scorer wants one at a time

    def load_context(self, context: PythonModelContext) -> None:
        """Open the artifacts beside this model.

        Raises:
            ArtifactError: one is missing, damaged, or of another run.
        """
        self._scorer = open_scorer(
            ScorerArtifacts(**{name: Path(path) for name, path in context.artifacts.items()}),
        )

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One row per event, in order; see docs/mlflow_model.md for the columns.

        Args:
            context: what `load_context` was given.
            model_input: one event a row.
            params: explain = also what was expected instead, and why.

        Raises:
            SourceError: a row that cannot be read, or lies before what the store still knows; names the row.
        """
        explain = bool((params or {}).get("explain", False))
        with self._alone:
            return score_frame(self._scorer, model_input, explain)


def open_scorer(artifacts: ScorerArtifacts) -> OnlineScorer:
    """A scorer that writes nothing to where its artifacts lie.

    Raises:
        ArtifactError: one is missing, damaged, or of another run.
        ConfigurationError: the head is untrained.
    """
    return load_scorer(artifacts, PublishedSource(artifacts.store))


def score_frame(scorer: OnlineScorer, frame: pd.DataFrame, explain: bool = False) -> pd.DataFrame:
    """The decisions on the events of a frame, as `OnlineScorer.score` gives them.

    Raises:
        SourceError: see `ScorerModel.predict`.
    """
    events = read_frame(frame, scorer.schema)
    try:
        return write_frame(scorer.score(events, explain=explain), explain)
    except TooLateError:
        row = next(row for row, event in enumerate(events) if _is_too_late(scorer, event))
        facts = scorer.facts
        as_of = datetime.fromtimestamp(facts.as_of_us // SECOND_US, UTC).isoformat()
        raise SourceError(
            f"row {row} (the first is 0), column event_time: older than what the online store, as of {as_of}, can "
            f"answer for (embedding.store: {facts.lateness_days} days back, {facts.num_recent_events} events a user)."
            " No row was scored."
        ) from None


def _is_too_late(scorer: OnlineScorer, event: OnlineEvent) -> bool:
    try:
        scorer.inputs(event)
    except TooLateError:
        return True
    return False
