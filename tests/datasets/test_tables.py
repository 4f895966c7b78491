"""Several tables under one catalog entry."""

import polars as pl
import pytest
from kedro.framework.context import KedroContext
from kedro.io import AbstractDataset, DatasetError

from panther_pipeline.datasets import TablesDataset
from panther_pipeline.ledger.source import SourceAccount

DELIMITED = "panther_pipeline.datasets.DelimitedDataset"


@pytest.fixture
def entry(tmp_path):
    (tmp_path / "cards.csv").write_text("card,user\n007,0\n", encoding="utf-8")
    pl.DataFrame({"name": ["Ann"]}).write_parquet(tmp_path / "users.parquet")
    return {
        "type": "panther_pipeline.datasets.TablesDataset",
        "tables": {
            "cards": {"type": DELIMITED, "filepath": str(tmp_path / "cards.csv")},
            "users": {"type": "panther_pipeline.datasets.ParquetDataset", "filepath": str(tmp_path / "users.parquet")},
        },
        "metadata": {"kedro-viz": {"layer": "01_raw"}},
    }


def read(source):
    return [batch.rows.drop("source_row").rows() for batch in source.batches(source.column_names(), SourceAccount())]


def test_tables_load_by_name_each_as_its_own_class(entry):
    tables = AbstractDataset.from_config("raw_profiles", entry).load()
    assert {name: read(source) for name, source in tables.items()} == {"cards": [[("007", "0")]], "users": [[("Ann",)]]}


def test_description_names_every_file(entry):
    dataset = AbstractDataset.from_config("raw_profiles", entry)
    assert {name: table["filepath"][-4:] for name, table in dataset._describe()["tables"].items()} == {
        "cards": ".csv", "users": "quet",
    }  # fmt: skip
    assert dataset.metadata == entry["metadata"]


def test_exists_when_all_tables_do(entry, tmp_path):
    dataset = AbstractDataset.from_config("raw_profiles", entry)
    assert dataset.exists()
    (tmp_path / "cards.csv").unlink()
    assert not dataset.exists()


def test_nothing_can_be_saved(entry):
    with pytest.raises(DatasetError, match="never written"):
        AbstractDataset.from_config("raw_profiles", entry).save({})


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({}, "tables is empty"),
        ({"cards": {"filepath": "cards.csv"}, "users": "users.csv"}, r"\['cards', 'users'\] have no `type`"),
        ({"cards": {"type": "nowhere.Dataset"}}, "cards"),
        ({"cards": {"type": DELIMITED, "filepath": "cards.csv", "seperator": ";"}}, "seperator"),
    ],
)
def test_entries_that_cannot_be_made_are_named(tables, told):
    with pytest.raises(DatasetError, match=told):
        TablesDataset(tables=tables)


def test_relative_paths_of_tables_are_below_the_project(entry, tmp_path, monkeypatch, load_config):
    project = tmp_path / "project"
    (project / "conf/base").mkdir(parents=True)
    (project / "data").mkdir()
    (tmp_path / "cards.csv").rename(project / "data/cards.csv")
    (project / "conf/base/catalog.yml").write_text(
        f"raw: {{type: {entry['type']}, tables: {{cards: {{type: {DELIMITED}, filepath: data/cards.csv}}}}}}"
    )
    monkeypatch.chdir(tmp_path)  # a run may start anywhere
    context = KedroContext(
        project_path=project, config_loader=load_config("base", project), env=None, package_name="p",
        hook_manager=_NoHooks(), runtime_params=None,
    )  # fmt: skip
    assert read(context.catalog.load("raw")["cards"]) == [[("007", "0")]]


class _NoHooks:
    class hook:
        @staticmethod
        def after_catalog_created(**_): ...
