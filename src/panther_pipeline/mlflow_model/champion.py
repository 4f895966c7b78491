"""Whether a model takes the place of the champion: decided by what was measured on the same events, or not at all."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from panther_pipeline.report.candidate import RegistryConfig

_SAME = ("metric", "split", "judged_digest", "judged_events")  # what makes two values comparable


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether the alias moves, and why."""

    moves: bool
    why: str


def judge(candidate: Mapping[str, str], champion: Mapping[str, str] | None, config: RegistryConfig) -> Verdict:
    """Compare a candidate with the champion; a tie leaves the champion where it is.

    Args:
        candidate: tags, from `report.candidate.describe_candidate`.
        champion: those of the version that the alias names; None = it names none.
        config: by how much a candidate must be better, and what becomes of one that cannot be compared.
    """
    if champion is None:
        return Verdict(moves=True, why="there was no champion")
    different = [name for name in _SAME if champion.get(name) != candidate[name]]
    old, new = _value_of(champion), float(candidate["value"])
    if different or old is None:
        told = ", ".join(different) or "value"
        moves = config.incomparable == "replace"
        kept = "replaces it" if moves else "leaves it"
        return Verdict(
            moves=moves,
            why=f"the champion cannot be compared with it (another {told}); evaluation.registry.incomparable {kept}",
        )
    compared = f"{candidate['metric']} on {candidate['split']}: {new:.6g}, of the champion {old:.6g}"
    if new - old > config.min_gain:
        return Verdict(moves=True, why=f"it is better ({compared})")
    least = f", a gain above {config.min_gain:g} is asked for" if config.min_gain else ""
    return Verdict(moves=False, why=f"it is not better ({compared}{least})")


def _value_of(tags: Mapping[str, str]) -> float | None:
    """The value of a version; None for one that somebody registered by hand."""
    try:
        value = float(tags["value"])
    except (KeyError, ValueError):
        return None
    return value if math.isfinite(value) else None
