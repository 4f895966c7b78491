"""Which code is running: the commit, whether it was changed since, the versions of what numbers depend on."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("panther_pipeline", "kedro", "mlflow", "numpy", "polars", "torch", "scikit-learn")


def read_code_version(project_path: Path) -> dict[str, str]:
    """`commit` ("" outside a git checkout), `changed` ("true" if files differ from it), and version.* of packages.

    Args:
        project_path: the project's root.
    """
    commit = _git(project_path, "rev-parse", "HEAD")
    changed = bool(commit) and bool(_git(project_path, "status", "--porcelain"))
    versions = {f"version.{name}": version(name) for name in _PACKAGES}
    return {
        "commit": commit,
        "changed": str(changed).lower(),
        **versions,
        "version.python": platform.python_version(),
        "machine": platform.machine(),
    }


def describe_machine(gpu: str | None) -> str:
    """The kind of processor, how many, and the name of the GPU if one is used."""
    return f"{platform.machine()}, {os.cpu_count()} cores, {gpu or 'no GPU used'}"


def _git(folder: Path, *arguments: str) -> str:
    try:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
