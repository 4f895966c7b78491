"""What the batch run says of each event, and how far what is said online is from it."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from .finished_run import FinishedRun

TOLERANCE = 1e-5  # of numbers of the size of 1: rounding of float32


def read_batch(run: FinishedRun) -> dict[int, dict[str, Any]]:
    """Score, deviations and embedding of events by row; the score is None of those that were not scored in bulk."""
    scores = run.table("07_model_output", "fraud_scores").filter(model="panther_head")
    scores = scores.filter(seed=scores["seed"].min()).select("event_id", "score")
    embedded = run.table("07_model_output", "event_embeddings")
    return {row["row"]: row for row in embedded.join(scores, on="event_id", how="left").iter_rows(named=True)}


def differences(decision: Mapping[str, Any], asked: Mapping[str, Any]) -> list[float]:
    """Between a decision and what the batch run says of its event."""
    found = [abs(decision[name] - asked[name]) for name in ("surprise", "cosine", "history_length")]
    return found if asked["score"] is None else [*found, abs(decision["probability"] - asked["score"])]


def inversions(pairs: list[tuple[float, float]]) -> int:
    """Neighbours in the order of batch scores that are the other way round online by more than rounding.

    Args:
        pairs: (batch score, online score).
    """
    return sum(after - before < -TOLERANCE for before, after in pairwise(online for _, online in sorted(pairs)))


def check_scores(scores: Sequence[dict[str, Any]], rows: Sequence[int], batch: Mapping[int, dict[str, Any]]) -> float:
    """Largest difference to the batch run: of rounding alone, with the ranking the same.

    Args:
        scores: as the service answers.
        rows: of their events.
        batch: of `read_batch`.
    """
    asked = [batch[row] for row in rows]
    assert [score["event_id"] for score in scores] == [result["event_id"] for result in asked]
    largest = max(max(differences(score, result)) for score, result in zip(scores, asked, strict=True))
    assert largest <= TOLERANCE, f"{largest:.1e} from the batch run"
    pairs = [(result["score"], score["probability"]) for result, score in zip(asked, scores, strict=True)]
    num_turned = inversions([pair for pair in pairs if pair[0] is not None])
    assert num_turned == 0, f"{num_turned} neighbours are the other way round than in the batch run"
    return largest
