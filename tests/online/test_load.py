"""A scorer answers before torch is there and without tables; a model that has not changed is not read again."""

import subprocess
import sys

import numpy as np
import pytest

from panther_pipeline.errors import ArtifactError, StoreAwayError, StoreError
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.online import load
from panther_pipeline.online.load import ScorerLoader, load_scorer

from ..cache.conftest import VOCAB_SIZE

SCORE = """
import sys
from dataclasses import replace
from pathlib import Path
import panther_pipeline.serving.server, panther_pipeline.serving.store
from panther_pipeline.online.load import ScorerArtifacts, load_scorer
from panther_pipeline.features.event import OnlineEvent

scorer = load_scorer(ScorerArtifacts.of_ledger(Path(sys.argv[1]), "test"))
event = OnlineEvent(user_id=sys.argv[2], event_id="new", time_us=scorer.facts.as_of_us + 1, amount_cents=100,
                    counterparty=None, attributes={name: None for name in scorer._categories})
decision = scorer.score([event])[0]
assert decision.history_length > 0
stranger = replace(event, user_id="stranger")
assert scorer.score([stranger])[0].history_length == 0
assert scorer.ingest([stranger])[0].status == "accepted"
print(*(name for name in ("torch", "polars", "pyarrow", "tqdm") if name in sys.modules))
scorer.warm_up()
print("torch" in sys.modules)
"""


def run(script: str, *arguments: str) -> list[str]:
    result = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout.split()


def test_decision_on_a_cached_forecast_needs_neither_torch_nor_tables(finished_run, tmp_path):
    user_id = finished_run.events["user_id"][-1]
    assert run(SCORE, str(finished_run.copy(tmp_path).data), user_id) == ["True"]


def test_loading_a_backbone_imports_no_compiler(tmp_path):
    config = ModelConfig(dim=16, num_layers=1, num_heads=2, max_events=16, num_prototypes=4)
    Backbone(config, vocab_size=VOCAB_SIZE, attribute_sizes=[4, 4], profile_sizes=[3]).save(tmp_path / "backbone")
    script = """
import sys
from pathlib import Path
from panther_pipeline.model.backbone import Backbone
Backbone.load(Path(sys.argv[1]))
print("torch._dynamo" in sys.modules)
"""
    assert run(script, str(tmp_path / "backbone")) == ["False"]


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """A line for every time that a model is read."""
    found, read = [], load.ModelParts.load

    def note(artifacts):
        found.append("read")
        return read(artifacts)

    monkeypatch.setattr(load.ModelParts, "load", note)
    return found


def test_model_is_read_again_only_if_it_changed(finished_run, tmp_path, reads):
    run = finished_run.copy(tmp_path)
    loader = ScorerLoader(run.artifacts)
    first = loader()
    first.close()
    again = loader()
    assert len(reads) == 1
    event = finished_run.events_from("2024-12-26")[1][-1]
    assert again.score([event]) == load_and_score(run, event)
    again.close()
    head = load.FraudHead.load(run.artifacts.head)
    head.weights = {**head.weights, "log_odds": np.asarray(head.weights["log_odds"] + 1, np.float32)}
    head.save(run.artifacts.head)
    reads.clear()
    changed = loader()
    assert len(reads) == 1
    assert changed.score([event])[0].probability == load_and_score(run, event)[0].probability
    changed.close()


def load_and_score(run, event):
    scorer = load_scorer(run.artifacts)
    try:
        return scorer.score([event])
    finally:
        scorer.close()


def test_head_whose_facts_changed_is_read_again(finished_run, tmp_path, reads):
    run = finished_run.copy(tmp_path)
    loader = ScorerLoader(run.artifacts)
    loader().close()
    head = load.FraudHead.load(run.artifacts.head)
    head.identity = head.identity | {"features_digest": "0" * 64}  # the same weights, of other features
    head.save(run.artifacts.head)
    with pytest.raises(ArtifactError, match="different runs"):
        loader()
    assert len(reads) == 2


def test_missing_tokenizer_is_no_artifact(finished_run, tmp_path):
    run = finished_run.copy(tmp_path)
    run.artifacts.tokenizer.unlink()
    with pytest.raises(ArtifactError, match="tokenizer"):
        ScorerLoader(run.artifacts)()


@pytest.mark.parametrize("error", [StoreError("no room"), StoreAwayError("away")])
def test_users_wait_on_where_they_cannot_be_embedded(finished_run, tmp_path, monkeypatch, error):
    scorer = load_scorer(finished_run.copy(tmp_path).artifacts)
    scorer._touched = dict.fromkeys(["a", "b"])

    def fail(*_):
        raise error

    monkeypatch.setattr(type(scorer._ingestor), "refresh", fail)
    with pytest.raises(StoreError):
        scorer.refresh()
    assert list(scorer._touched) == ["a", "b"]
    scorer.close()
