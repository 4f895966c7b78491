"""The one way anything is written: a hidden sibling, fsync, rename.

A reader finds the old content or the new content, never a mixture and never half (docs/adr/0002-publish.md).
A single file is renamed over its predecessor. A folder of files cannot be: `rename` refuses a folder that is not
empty. So an artifact of several files is a *generation*, a sub-folder of its own, and one manifest file, renamed
over its predecessor, says which generation is current and what the digest of each of its files is.
"""

import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from panther_pipeline.digest import begin_digests, file_digest
from panther_pipeline.errors import ArtifactError

logger = logging.getLogger(__name__)
MANIFEST = "manifest.json"
_GENERATION = re.compile(r"[0-9a-f]{12}|\.[0-9a-f]{12}\.partial")


def publish_file(path: Path, write: Callable[[Path], None]) -> None:
    """Replace `path` by what `write` puts into a temporary sibling, or leave it untouched.

    Args:
        path: the file to replace; missing parent folders are made.
        write: called once with the temporary path; must create that file.

    Raises:
        OSError: disk full, read-only, no permission; the temporary file is removed, the old content stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last, since writers choose their format by it.
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}")
    try:
        write(temporary)
        _fsync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _fsync(path.parent)


def publish_json(path: Path, value: Any) -> None:
    """Publish `value` as readable JSON; NaN and infinity are refused, since JSON has neither."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    publish_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def publish_folder(path: Path, write: Callable[[Path], None], facts: dict[str, Any] | None = None) -> None:
    """Publish several files as one artifact: all of them become visible in the same instant.

    Layout: `path/<generation>/<files>` and `path/manifest.json`, which names the current generation, the SHA-256
    of each file and `facts` (whatever identifies the artifact). The previous generation is kept, so that a reader
    that opened it a moment ago can go on, and as a way back (`roll_back`); older ones are removed. A damaged manifest
    names no previous generation: it is replaced, with a warning.

    Args:
        path: the artifact's folder.
        write: called once with an empty folder; must put all files directly into it.
        facts: JSON values stored under "facts".

    Raises:
        OSError: the new generation is removed, the current one stays.
    """
    path.mkdir(parents=True, exist_ok=True)
    previous = _current_entry(path)
    generation = secrets.token_hex(6)
    temporary = path / f".{generation}.partial"
    temporary.mkdir()
    try:
        write(temporary)
        files = sorted(file for file in temporary.iterdir())
        digests = {file.name: file_digest(file) for file in files}
        for file in files:
            _fsync(file)
        _fsync(temporary)
        os.replace(temporary, path / generation)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    manifest = {"generation": generation, "files": digests, "facts": facts or {}, "previous": previous}
    publish_json(path / MANIFEST, manifest)
    kept = {generation, previous["generation"] if previous else None}
    for stray in path.iterdir():
        if is_generation(stray) and stray.name not in kept:
            shutil.rmtree(stray, ignore_errors=True)


def open_published(path: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of the current generation and its facts, once every file's digest has been checked.

    Raises:
        ArtifactError: no manifest, a file missing, or a file whose content is not what was written.
    """
    manifest = read_manifest(path)
    return check_files(path, manifest), manifest["facts"]


def roll_back(path: Path) -> str:
    """Make the previous generation the current one again; the two change places, so that a second call undoes it.

    Returns:
        The name of the generation that is current now.

    Raises:
        ArtifactError: no artifact, no previous generation, or one whose files are not what was written.
    """
    manifest = read_manifest(path)
    previous = manifest.get("previous")
    if previous is None:
        raise ArtifactError(f"{path} keeps no generation before the current one. Run its pipeline again instead.")
    check_files(path, _checked_entry(path, previous))
    publish_json(path / MANIFEST, {**_entry(previous), "previous": _entry(manifest)})
    return previous["generation"]


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest as it is now.

    Returns:
        "generation" (name of the current one), "files" (SHA-256 by name), "facts", and "previous": the same three of
        the generation before, or None.

    Raises:
        ArtifactError: there is none, or it is damaged.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(
            f"{path} holds no artifact: {MANIFEST} is missing. Run the pipeline that makes it."
        ) from None
    except ValueError as error:
        raise ArtifactError(f"{path / MANIFEST} is damaged ({error}). Run its pipeline again.") from None
    return _checked_entry(path, manifest)


def check_files(path: Path, manifest: dict[str, Any]) -> Path:
    """The folder of the generation that a manifest describes, once every file's digest has been checked.

    Raises:
        ArtifactError: a file is missing, or its content is not what was written.
    """
    folder = path / manifest["generation"]
    for name, digest in manifest["files"].items():
        file = folder / name
        if not file.is_file():
            raise ArtifactError(f"{file} is missing although {path / MANIFEST} lists it. Run its pipeline again.")
        if file_digest(file, like=digest) != digest:
            raise ArtifactError(
                f"{file} has changed since it was written: its SHA-256 is not the one in {path / MANIFEST}. "
                "Run its pipeline again."
            )
    return folder


def is_published(path: Path) -> bool:
    """Whether `path` holds a complete artifact (its content is checked when it is opened)."""
    return (path / MANIFEST).is_file()


def is_generation(path: Path) -> bool:
    """Whether `publish_folder` made this folder, finished or not; whatever else lies beside it is not its own."""
    return _GENERATION.fullmatch(path.name) is not None and path.is_dir()


def digest_ahead(path: Path) -> None:
    """Begin to compute the digests of the current generation in other threads; whoever opens it next waits for them.

    What cannot be read is left to that reader, who says so.
    """
    with suppress(ArtifactError, OSError):
        manifest = read_manifest(path)
        begin_digests({path / manifest["generation"] / name: digest for name, digest in manifest["files"].items()})


def _current_entry(path: Path) -> dict[str, Any] | None:
    if not is_published(path):
        return None
    try:
        return _entry(read_manifest(path))
    except ArtifactError as error:
        # Whoever saves is already doing what the error asks for.
        logger.warning("%s It is now written anew; what it held before is not kept.", error)
        return None


def _entry(manifest: dict[str, Any]) -> dict[str, Any]:
    """What a manifest says of its own generation."""
    return {key: manifest[key] for key in ("generation", "files", "facts")}


def _checked_entry(path: Path, manifest: Any) -> dict[str, Any]:
    files = manifest.get("files") if isinstance(manifest, dict) else None
    are_digests = isinstance(files, dict) and all(isinstance(digest, str) for digest in files.values())
    if not are_digests or not isinstance(manifest.get("facts"), dict):
        raise ArtifactError(
            f"{path / MANIFEST} is damaged: it has no digests of files, or no facts. Run its pipeline again."
        )
    for name in (manifest.get("generation"), *files):
        if not isinstance(name, str) or Path(name).name != name or name.startswith("."):
            raise ArtifactError(f"{path / MANIFEST} is damaged: it names files outside its folder.")
    return manifest


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
