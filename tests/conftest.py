"""What all tests share."""

import os
from pathlib import Path

import pytest

# Before torch is imported anywhere: two test processes on two cores must not fight over threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

PROJECT_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def project_root() -> Path:
    return PROJECT_ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the public ledgers: PANTHER_SHARED_DATA, else `shared/data` beside the project."""
    folder = Path(os.environ.get("PANTHER_SHARED_DATA", PROJECT_ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"public ledgers are not at {folder}; set PANTHER_SHARED_DATA to their folder")
    return folder
