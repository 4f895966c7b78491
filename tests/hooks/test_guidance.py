"""A missing input names the pipeline that makes it."""

import pytest
from kedro.io import DataCatalog
from kedro.pipeline import Node, Pipeline

from panther_pipeline.datasets import SourceArtifactDataset, TableDataset
from panther_pipeline.hooks.guidance import GuidanceHook, MissingInputError


def identity(value):
    return value


def check(dataset_name: str, catalog: DataCatalog, env: str | None = None) -> None:
    pipeline = Pipeline([Node(identity, inputs=dataset_name, outputs="result", name="identity")])
    GuidanceHook().before_pipeline_run({"env": env}, pipeline, catalog)


def catalog_with(name: str, path) -> DataCatalog:
    return DataCatalog({name: TableDataset(filepath=str(path))})


def test_missing_input_names_its_pipeline(tmp_path):
    with pytest.raises(MissingInputError, match=r"'valid_events'.*kedro run --pipelines=validate --env=handbook"):
        check("valid_events", catalog_with("valid_events", tmp_path / "no.parquet"), env="handbook")


def test_missing_source_says_how_to_point_at_data(tmp_path):
    with pytest.raises(MissingInputError, match=r"raw_transactions.*no\.parquet.*data_root"):
        check("raw_transactions", catalog_with("raw_transactions", tmp_path / "no.parquet"))


def test_unknown_dataset_is_not_a_key_error():
    with pytest.raises(MissingInputError, match="no catalog file"):
        check("nowhere", DataCatalog({}))


def test_present_input_passes(tmp_path):
    (tmp_path / "yes.parquet").write_bytes(b"")
    check("valid_events", catalog_with("valid_events", tmp_path / "yes.parquet"))


def test_missing_source_ledger_says_how_to_pretrain_it(tmp_path):
    entry = {"path": str(tmp_path), "name": "backbone", "artifact": "backbone"}
    catalog = DataCatalog({"source_backbone": SourceArtifactDataset(ledger="berka_1993", **entry)})
    with pytest.raises(MissingInputError, match=r"berka_1993/backbone.*'berka_1993'.*tokenize,pretrain.*source_ledger"):
        check("source_backbone", catalog)
    check("source_backbone", DataCatalog({"source_backbone": SourceArtifactDataset(ledger=None, **entry)}))
