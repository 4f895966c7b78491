"""An artifact that nobody asks for: what an earlier run made stays, and what none made is not missing."""

import json
from types import SimpleNamespace

import pytest
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner

from panther_pipeline.datasets import ArtifactDataset
from panther_pipeline.errors import ArtifactError
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.not_asked import NotAsked

NOT_ASKED = NotAsked(option="finetuning.tuning.methods=full")


def make_backbone(seed: int = 0) -> Backbone:
    config = ModelConfig(dim=8, num_layers=1)
    return Backbone(config, vocab_size=4, attribute_sizes=[3], profile_sizes=[], seed=seed)


@pytest.fixture
def dataset(tmp_path) -> ArtifactDataset:
    return ArtifactDataset(filepath=str(tmp_path / "tuned_backbone"), artifact="backbone")


def files(folder) -> dict:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_artifact_of_an_earlier_run_is_left_when_not_asked_for(dataset, tmp_path):
    dataset.save(make_backbone(seed=3))
    before = files(tmp_path)
    dataset.save(NOT_ASKED)
    assert files(tmp_path) == before
    assert dataset.load().digest == make_backbone(seed=3).digest


def test_artifact_that_no_run_made_is_noted_and_names_the_option(dataset, tmp_path):
    assert not dataset.exists()
    dataset.save(NOT_ASKED)
    assert dataset.exists()
    assert [path.name for path in files(tmp_path)] == ["not_asked.json"]
    with pytest.raises(DatasetError, match=r"--params=finetuning\.tuning\.methods=full"):
        dataset.load()


def test_note_goes_when_the_artifact_is_made(dataset, tmp_path):
    dataset.save(NOT_ASKED)
    dataset.save(make_backbone())
    assert "not_asked.json" not in {path.name for path in files(tmp_path)}
    assert dataset.load().digest == make_backbone().digest


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"option": 3})])
def test_damaged_note_counts_as_nothing(dataset, tmp_path, text):
    dataset.save(NOT_ASKED)
    (tmp_path / "tuned_backbone" / "not_asked.json").write_text(text)
    assert not dataset.exists()
    with pytest.raises((DatasetError, ArtifactError), match="no artifact"):
        dataset.load()


def test_artifact_of_a_single_file_is_saved_as_ever(tmp_path):
    path = tmp_path / "tokenizer.json"
    one_file = ArtifactDataset(filepath=str(path), artifact="tokenizer")
    one_file.save(SimpleNamespace(save=lambda target: target.write_text("{}")))
    assert one_file.exists()
    assert path.read_text() == "{}"


@pytest.mark.parametrize("is_asked", [True, False])
def test_only_missing_outputs_runs_what_is_asked_for_once(dataset, is_asked):
    runs = []

    def tune(seed: int) -> Backbone | NotAsked:
        runs.append(seed)
        return make_backbone(seed) if is_asked else NOT_ASKED

    pipeline = Pipeline([Node(tune, inputs="seed", outputs="tuned_backbone", name="tune")])
    for _ in range(2):
        catalog = DataCatalog({"seed": MemoryDataset(1), "tuned_backbone": dataset})
        SequentialRunner().run(pipeline, catalog, only_missing_outputs=True)
    assert runs == [1]
