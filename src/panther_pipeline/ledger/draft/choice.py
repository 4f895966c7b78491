"""What is proposed for a key, why, and what has to be looked at."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from panther_pipeline.ledger.draft.profile import ColumnProfile

Profiles = Mapping[str, ColumnProfile]
PLACEHOLDER = "CHOOSE_A_COLUMN"  # no such column exists: a run stops with a sentence that lists those there are


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The value of one key of the configuration."""

    value: Any = None
    seen: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)

    @property
    def is_placeholder(self) -> bool:
        return PLACEHOLDER in str(self.value)


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A column that may have a role, and why."""

    column: str
    score: float
    reason: str


def words_of(name: str) -> str:
    """A column's name as lower-case words: nameOrig → 'name orig', TX_AMOUNT → 'tx amount'."""
    spaced = re.sub(r"(?<=[a-zäöüß0-9])(?=[A-ZÄÖÜ])", " ", name)
    return re.sub(r"[^a-zäöüß0-9]+", " ", spaced.lower()).strip()


def says(name: str, pattern: str) -> bool:
    """Whether a column's name has one of these words."""
    return re.search(rf"\b(?:{pattern})\b", words_of(name)) is not None


def rank(profiles: Profiles, score: Callable[[ColumnProfile], tuple[float, str] | None]) -> list[Scored]:
    """Columns with a score above 0, the best first; of equals the earlier column."""
    found = []
    for name, profile in profiles.items():
        scored = score(profile)
        if scored and scored[0] > 0:
            found.append(Scored(column=name, score=scored[0], reason=scored[1]))
    return sorted(found, key=lambda one: -one.score)


def rivals(ranked: list[Scored], within: float = 1.5) -> list[str]:
    """Columns that were nearly chosen."""
    return [one.column for one in ranked[1:5] if one.score >= ranked[0].score - within]


def listed(names: list[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
