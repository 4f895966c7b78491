"""What the tests of the benchmarks share."""

import pytest


@pytest.fixture(scope="session")
def benchmarks(project_root):
    """Folder of the scripts, which import each other by name."""
    folder = project_root / "benchmarks"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder
