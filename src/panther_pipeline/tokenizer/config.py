"""The `tokenizer.vocabulary` block: what makes up a token, and how many tokens to keep."""

import math
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from panther_pipeline.config import Config

TokenizerKind = Literal["structured", "factored"]
SEPARATOR = "|"  # between the labels of a token's name
TEXT_SOURCES = ("category", "counterparty")
_NEEDED = {"categorical": "max_categories", "quantile": "num_bins", "log": "num_bins", "fixed": "edges"}
_WHOLE_EDGES = {"hour": range(1, 24), "weekday": range(1, 7)}


class FieldConfig(Config):
    """One property of an event and how its values become a small number of bins."""

    name: str
    source: Literal["category", "number", "amount", "counterparty", "hour", "weekday", "gap"]
    column: str | None = None  # event column of a category or number; null = `name`
    kind: Literal["categorical", "quantile", "log", "fixed"]
    max_categories: int | None = Field(default=None, ge=1)  # categorical; rarer ones are OTHER
    num_bins: int | None = Field(default=None, ge=2)  # quantile and log
    edges: list[float] | None = None  # fixed; amount in major units, gap in seconds, weekday 0 = Monday
    significant_digits: int | None = Field(default=None, ge=1)  # of fitted edges; null = exact

    @model_validator(mode="after")
    def _check(self) -> "FieldConfig":
        problems = []
        if not self.name or SEPARATOR in self.name:
            problems.append(f"name '{self.name}' must not be empty or contain '{SEPARATOR}'")
        if (self.source in TEXT_SOURCES) != (self.kind == "categorical"):
            problems.append(f"source '{self.source}' cannot be discretised as '{self.kind}'")
        if self.column is not None and self.source not in ("category", "number"):
            problems.append(f"column is only read for a category or a number, not for '{self.source}'")
        needed = _NEEDED[self.kind]
        if getattr(self, needed) is None:
            problems.append(f"kind '{self.kind}' needs {needed}")
        unused = sorted(set(_NEEDED.values()) - {needed})
        problems += [f"kind '{self.kind}' does not read {key}" for key in unused if getattr(self, key) is not None]
        problems += _problems_of_edges(self.source, self.edges) if self.edges is not None else []
        if problems:
            raise ValueError(f"field '{self.name}': " + "; ".join(problems))
        return self


class VocabularyConfig(Config):
    """The fields, in the order of the token's name, and the size of the vocabulary."""

    # structured: the model reads and predicts one token per event; factored: the attributes alone, one after the other
    kind: TokenizerKind = "structured"
    fields: list[FieldConfig] = Field(min_length=1)
    zone: str  # IANA zone in which hour and weekday are told
    max_tokens: int | None = Field(ge=3)  # ids in all, with [PAD] and [UNK]; null = no limit
    coverage_target: float | None = Field(gt=0, le=1)  # share of training events with a whole tuple; null = all
    min_count: int = Field(ge=1)  # a token or category seen less often in training is not kept
    max_dropped: int = Field(ge=0)  # attributes a rare tuple may drop; 0 = none (the paper)
    profile_max_categories: int = Field(ge=1)
    profile_num_bins: int = Field(ge=2)  # for profile attributes that are numbers

    @model_validator(mode="after")
    def _check(self) -> "VocabularyConfig":
        names = [field.name for field in self.fields]
        problems = [f"field '{name}' is declared twice" for name in sorted({n for n in names if names.count(n) > 1})]
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError):
            problems.append(f"zone '{self.zone}' is not an IANA time zone such as Europe/Paris")
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _problems_of_edges(source: str, edges: list[float]) -> list[str]:
    if not edges or not all(map(math.isfinite, edges)) or any(low >= high for low, high in pairwise(edges)):
        return ["edges must be finite, increase strictly and not be empty"]
    if source in _WHOLE_EDGES and not all(edge in _WHOLE_EDGES[source] for edge in edges):
        allowed = _WHOLE_EDGES[source]
        return [f"edges of '{source}' must be whole numbers from {allowed.start} to {allowed.stop - 1}"]
    if source == "gap" and edges[0] <= 0:
        return ["edges of 'gap' must be above 0 seconds"]
    return []
