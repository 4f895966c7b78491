"""The tokenizer's file: versioned JSON that a person can read and another language can use.

`content` holds everything that encoding needs. `digest` is the SHA-256 of `content` as canonical JSON
(sorted keys, no spaces, UTF-8), so that sequences, models and caches can name the tokenizer they belong to.
"""

import hashlib
import json
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError, model_validator

from panther_pipeline.config import Config
from panther_pipeline.errors import ArtifactError
from panther_pipeline.publish import publish_json
from panther_pipeline.tokenizer.config import TokenizerKind
from panther_pipeline.tokenizer.fields import FittedField

VERSION = 1
_MAX_EVENTS = 2**53


class TokenRow(Config):
    """One token: its readable name, its attribute ids (0 = dropped) and how many training events use it."""

    name: str
    pattern: list[int]
    count: int = Field(ge=0, le=_MAX_EVENTS)


class TokenizerContent(Config):
    """What a fitted tokenizer is made of."""

    # How a model represents an event. The first kind is not written: its files and digests are as they always were.
    kind: TokenizerKind = Field(default="structured", exclude_if=lambda kind: kind == "structured")
    fields: list[FittedField] = Field(min_length=1)
    profile_fields: list[FittedField]
    zone: str  # of hour and weekday
    drop_order: list[str]  # names of fields, the least informative first
    information_nats: list[float]  # of each field about the next event, in the order of `fields`
    max_dropped: int = Field(ge=0)
    train_end: str  # nothing at or after this instant was looked at
    num_train_tuples: int = Field(ge=0)  # distinct tuples in training, before any was dropped
    num_unknown: int = Field(ge=0, le=_MAX_EVENTS)  # training events that are [UNK]
    tokens: list[TokenRow]  # id 2, 3, ... by falling frequency

    @model_validator(mode="after")
    def _check(self) -> "TokenizerContent":
        names = [field.name for field in self.fields]
        if len(set(names)) < len(names) or sorted(self.drop_order) != sorted(names):
            raise ValueError("drop_order must name every field once")
        if self.max_dropped >= len(names) or len(self.information_nats) != len(names):
            raise ValueError("max_dropped or information_nats does not belong to these fields")
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError):
            raise ValueError("zone is not an IANA time zone") from None
        droppable = [set()]
        for name in self.drop_order[: self.max_dropped]:
            droppable.append(droppable[-1] | {names.index(name)})
        for token in self.tokens:
            self._check_token(token, droppable)
        if len({tuple(token.pattern) for token in self.tokens}) < len(self.tokens):
            raise ValueError("a token stands twice")
        if any(high.count < low.count for high, low in zip(self.tokens[:-1], self.tokens[1:], strict=True)):
            raise ValueError("tokens are not ordered by falling count")
        return self

    def _check_token(self, token: TokenRow, droppable: list[set[int]]) -> None:
        sizes = [field.size for field in self.fields]
        if len(token.pattern) != len(sizes) or not all(0 <= i < n for i, n in zip(token.pattern, sizes, strict=True)):
            raise ValueError(f"token '{token.name}' has attribute ids that the fields do not have")
        if {f for f, i in enumerate(token.pattern) if i == 0} not in droppable:
            raise ValueError(f"token '{token.name}' drops attributes out of order")


def content_digest(content: TokenizerContent) -> str:
    """SHA-256 of the canonical JSON, hexadecimal."""
    return _digest(content.model_dump(mode="json"))


def save_content(content: TokenizerContent, path: Path) -> None:
    """Publish the file in one step."""
    value = content.model_dump(mode="json")
    publish_json(path, {"artifact": "tokenizer", "version": VERSION, "digest": _digest(value), "content": value})


def load_content(path: Path) -> TokenizerContent:
    """Read and check the file.

    Raises:
        ArtifactError: missing, not a tokenizer, another version, or content that is not what was written.
    """
    try:
        value = json.loads(path.read_bytes().decode("utf-8"))
        file = _TokenizerFile.model_validate(value)
        if _digest(value["content"]) != file.digest:
            raise ArtifactError(f"{path} has changed since it was written: its digest does not match. {_AGAIN}")
        return TokenizerContent.model_validate_json(json.dumps(value["content"], allow_nan=False))
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist. Run `kedro run --pipelines=tokenize` first.") from None
    except ArtifactError:
        raise
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ArtifactError(
            f"{path} is not a tokenizer of version {VERSION}: {where}: {first['msg']}. {_AGAIN}"
        ) from None
    except (ValueError, RecursionError, OSError) as error:
        raise ArtifactError(
            f"{path} cannot be read as a tokenizer ({type(error).__name__}: {error}). {_AGAIN}"
        ) from None


_AGAIN = "Run `kedro run --pipelines=tokenize` to make it again."


class _TokenizerFile(Config):
    artifact: Literal["tokenizer"]
    version: Literal[1]
    digest: str
    content: dict


def _digest(value: dict) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
