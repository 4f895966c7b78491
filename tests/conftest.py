"""What all tests share."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

# Before torch is imported anywhere: two test processes on two cores must not fight over threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

PROJECT_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def project_root() -> Path:
    return PROJECT_ROOT


@pytest.fixture(scope="session")
def load_config():
    """The configuration of an environment as a run reads it; `folder` holds `conf`."""
    from panther_pipeline.settings import CONFIG_LOADER_ARGS, CONFIG_LOADER_CLASS  # slow: brings the hooks

    def load(env: str | None = "base", folder: Path = PROJECT_ROOT, **options: object):
        return CONFIG_LOADER_CLASS(str(folder / "conf"), env=env, **CONFIG_LOADER_ARGS, **options)

    return load


@pytest.fixture(scope="session")
def environments() -> list[str]:
    """Every environment that ships, `base` first; `local` is whatever its owner makes it."""
    names = sorted(path.name for path in (PROJECT_ROOT / "conf").iterdir() if path.is_dir())
    return ["base", *(name for name in names if name not in ("base", "local"))]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the public ledgers: PANTHER_SHARED_DATA, else `shared/data` beside the project."""
    folder = Path(os.environ.get("PANTHER_SHARED_DATA", PROJECT_ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"public ledgers are not at {folder}; set PANTHER_SHARED_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory, worker_id) -> Path:
    """A copy of the project in which `kedro run --env=test` has run: every stage, on a small simulated ledger.

    Test processes beside each other share one.
    """
    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        shared = shared.parent
    folder, finished = shared / "project", shared / "project.finished"
    with FileLock(shared / "project.lock"):
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a run that failed in another process left
            _copy_project(folder)
            run_kedro(folder, "run", "--env=test")
            finished.touch()
    return folder


def _copy_project(folder: Path) -> None:
    shutil.copytree(PROJECT_ROOT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
    (folder / "conf" / "local").mkdir()
    shutil.copy(PROJECT_ROOT / "pyproject.toml", folder)
    shutil.copytree(PROJECT_ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))


def run_kedro(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    """The command line as a user types it, in `folder`."""
    command = [sys.executable, "-m", "kedro", *arguments]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert not check or result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result


@pytest.fixture(scope="session")
def kedro_command():
    return run_kedro
