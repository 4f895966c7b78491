"""The draft of an environment: read a sample, propose, write two files."""

import re
from dataclasses import dataclass
from pathlib import Path

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.draft.propose import Proposal, propose
from panther_pipeline.ledger.draft.sample import Sample, read_sample
from panther_pipeline.ledger.draft.write import unsure_points, write_catalog, write_parameters

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TAKEN = ("base", "local", "test")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What is proposed for a ledger, and the text of its two files."""

    name: str
    files: dict[str, str]  # file name → content
    proposal: Proposal
    samples: list[Sample]

    @property
    def unsure(self) -> list[tuple[str, str]]:
        """(key, what is unsure)."""
        return unsure_points(self.proposal, self.samples)

    @property
    def is_complete(self) -> bool:
        """Whether a user and a time were found, so that it can run."""
        return not any(self.proposal.schema[key].is_placeholder for key in ("user_id", "event_time"))


def draft_ledger(file: Path, *, name: str, users_file: Path | None = None, root: Path) -> Draft:
    """Propose an environment for a ledger; writes nothing.

    Args:
        file: the transactions.
        name: what the environment is to be called.
        users_file: a table of users, one row each.
        root: the project's folder; files below it are named relative to it.

    Raises:
        ConfigurationError: the name cannot be used.
        SourceError: a file cannot be read.
    """
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise ConfigurationError(
            f"'{name}' cannot be the name of a ledger: it must be of lower-case letters, digits and _, a letter first, "
            f"and be none of {', '.join(_TAKEN)}."
        )
    events = read_sample(file)
    users = read_sample(users_file) if users_file else None
    proposal = propose(events, users)
    samples = [events] + ([users] if users else [])
    path_of = {sample.path: _relative(sample.path, root) for sample in samples}
    files = {
        "catalog.yml": write_catalog(events, users, path_of, proposal.schema["profiles"]),
        "parameters_ledger.yml": write_parameters(proposal, events, name),
    }
    return Draft(name=name, files=files, proposal=proposal, samples=samples)


def save_draft(draft: Draft, conf: Path, *, overwrite: bool) -> Path:
    """Write the two files to conf/<name>/ and return that folder.

    Raises:
        ConfigurationError: the environment exists and is not to be overwritten.
    """
    folder = conf / draft.name
    there = [file.name for file in folder.iterdir()] if folder.is_dir() else []
    if there and not overwrite:
        raise ConfigurationError(
            f"The environment {folder} exists already ({', '.join(sorted(there))}). Take another --name, or --force to "
            "write over its catalog.yml and parameters_ledger.yml."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in draft.files.items():
        (folder / file).write_text(content, encoding="utf-8")
    return folder


def _relative(path: Path, root: Path) -> str:
    path, root = path.resolve(), root.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
