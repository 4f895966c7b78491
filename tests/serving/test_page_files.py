"""The files of the page: all that are there are served, in an installed copy as well, and none reaches outside."""

import re
import shutil
import subprocess
import sys
from zipfile import ZipFile

import pytest

from panther_pipeline.serving.page_files import PAGE_PATHS

FOLDER = "src/panther_pipeline/serving/page"


@pytest.fixture(scope="module")
def sources(project_root):
    return {path.name: path.read_text() for path in (project_root / FOLDER).iterdir()}


def test_every_file_is_served(sources):
    assert {path.lstrip("/") or "index.html" for path in PAGE_PATHS} == set(sources)


def test_no_file_reaches_outside(sources):
    allowed = {"http://www.w3.org/2000/svg"}  # a name, never fetched
    for name, text in sources.items():
        assert set(re.findall(r"(?:https?:)?//[\w.-]+\.[a-z]+[^\"' ]*", text)) <= allowed, name


def test_no_file_reads_text_as_markup(sources):
    banned = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|localStorage|sessionStorage"
    for name, text in sources.items():
        assert not re.search(banned, text), name


def test_installed_copy_has_the_page(project_root, tmp_path):
    """A wheel, built from a copy of the sources that a fresh clone has."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(project_root / name, tmp_path)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(project_root / "src", tmp_path / "src", ignore=ignored)
    build = "from setuptools import build_meta; print(build_meta.build_wheel('out'))"
    (tmp_path / "out").mkdir()
    done = subprocess.run([sys.executable, "-c", build], cwd=tmp_path, capture_output=True, text=True, check=False)
    if "No module named 'setuptools'" in done.stderr:
        pytest.skip("setuptools is not installed")
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = (tmp_path / "out").iterdir()
    packed = {name for name in ZipFile(wheel).namelist() if "/serving/page/" in name}
    assert packed == {f"panther_pipeline/serving/page/{path.name}" for path in (project_root / FOLDER).iterdir()}
