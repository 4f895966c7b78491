"""Strange files, drafted once."""

import runpy
import shutil
from pathlib import Path

import pytest

from panther_pipeline.ledger.draft import draft_ledger, save_draft

FIXTURES = Path(__file__).parents[2] / "fixtures"
FILES = runpy.run_path(str(FIXTURES / "strange_files.py"))
WORKBOOK = runpy.run_path(str(FIXTURES / "workbook.py"))


@pytest.fixture(scope="session")
def strange_files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("strange")
    for name, write in FILES["WRITERS"].items():
        write(folder / name)
    rows = FILES["workbook_rows"](WORKBOOK["INSTANT"])
    (folder / "sheet.xlsx").write_bytes(WORKBOOK["make_workbook"](rows))
    return folder


@pytest.fixture(scope="session")
def draft_of(strange_files):
    """The draft of one of the strange files."""
    drafts = {}

    def draft(name: str):
        if name not in drafts:
            drafts[name] = draft_ledger(strange_files / name, name="mine", root=strange_files / "elsewhere")
        return drafts[name]

    return draft


@pytest.fixture(scope="session")
def public_draft(shared_data):
    """The draft of a public ledger."""
    drafts = {}

    def draft(name: str):
        if name not in drafts:
            drafts[name] = draft_ledger(shared_data / name, name="mine", root=Path("/elsewhere"))
        return drafts[name]

    return draft


@pytest.fixture
def load_draft(load_config, project_root, tmp_path):
    """The configuration of a written draft, as a run reads it: (catalog, parameters)."""

    def load(draft):
        shutil.copytree(project_root / "conf" / "base", tmp_path / "conf" / "base", dirs_exist_ok=True)
        save_draft(draft, tmp_path / "conf", overwrite=True)
        config = load_config(draft.name, folder=tmp_path)
        return config["catalog"], config["parameters"]

    return load
