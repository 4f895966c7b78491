"""P35: artifacts of different runs, of another version or with weights that are no numbers are refused at the start.

Each artifact is replaced by one that loads, has the same shapes and belongs to another run: nothing but its digest
says so. The message names both.
"""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from panther_pipeline.digest import file_digest
from panther_pipeline.errors import ArtifactError, ConfigurationError
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.online import load
from panther_pipeline.online.load import load_scorer
from panther_pipeline.publish import MANIFEST, publish_folder
from panther_pipeline.scoring.head import FraudHead
from panther_pipeline.tokenizer.tokenizer import Tokenizer


def another_backbone(run) -> None:
    backbone = Backbone.load(run.artifacts.backbone)
    with torch.no_grad():
        backbone.norm.weight[0] += 1e-3
    backbone.save(run.artifacts.backbone)


def another_tokenizer(run) -> None:
    content = Tokenizer.load(run.artifacts.tokenizer).content
    first = content.tokens[0].model_copy(update={"count": content.tokens[0].count + 1})
    Tokenizer(content.model_copy(update={"tokens": [first, *content.tokens[1:]]})).save(run.artifacts.tokenizer)


def head_with(run, **identity) -> None:
    head = FraudHead.load(run.artifacts.head)
    head.identity = {**head.identity, **identity}
    head.save(run.artifacts.head)


def head_of_another_backbone(run) -> None:
    head_with(run, backbone_digest="0" * 64)


def head_of_other_features(run) -> None:
    head_with(run, features_digest="0" * 64)


def head_from_before_heads_said_what_they_belong_to(run) -> None:
    head_with(run, backbone_digest="", tokenizer_digest="", features_digest="")


def store_with(run, **facts) -> None:
    manifest = json.loads((run.artifacts.store / MANIFEST).read_text())
    manifest["facts"] |= facts
    (run.artifacts.store / MANIFEST).write_text(json.dumps(manifest))


def store_of_another_backbone(run) -> None:
    store_with(run, backbone_digest="0" * 64)


def store_of_an_earlier_version(run) -> None:
    store_with(run, version=1)


def store_that_was_damaged(run) -> None:
    file = next(run.artifacts.store.glob("*/records.mdb"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def weight_that_is_no_number(folder) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    old = folder / manifest["generation"]
    name = next(iter(old.glob("*.safetensors"))).name
    weights = load_file(old / name)
    spoiled = next(
        key for key, tensor in sorted(weights.items()) if tensor.dtype == torch.float32 and tensor.numel() > 1
    )
    weights[spoiled].view(-1)[0] = np.nan
    others = {file.name: file.read_bytes() for file in old.iterdir() if file.name != name}

    def write(new) -> None:
        save_file(weights, new / name)
        for other, content in others.items():
            (new / other).write_bytes(content)

    publish_folder(folder, write, facts=manifest["facts"])
    assert file_digest(folder / json.loads((folder / MANIFEST).read_text())["generation"] / name)


def backbone_with_a_weight_that_is_no_number(run) -> None:
    weight_that_is_no_number(run.artifacts.backbone)


def head_with_a_weight_that_is_no_number(run) -> None:
    weight_that_is_no_number(run.artifacts.head)


def missing_store(run) -> None:
    (run.artifacts.store / MANIFEST).unlink()


SPOILED = [
    (another_backbone, "are of different runs.*backbone is [0-9a-f]{12}.*[0-9a-f]{12}"),
    (another_tokenizer, "are of different runs.*tokenizer is [0-9a-f]{12}.*[0-9a-f]{12}"),
    (head_of_another_backbone, "head's backbone is 000000000000.*[0-9a-f]{12}"),
    (head_of_other_features, "head's features is 000000000000.*[0-9a-f]{12}"),
    (head_from_before_heads_said_what_they_belong_to, "head's backbone is unknown"),
    (store_of_another_backbone, "store's backbone is 000000000000.*[0-9a-f]{12}"),
    (store_of_an_earlier_version, "another version"),
    (store_that_was_damaged, "SHA-256"),
    (backbone_with_a_weight_that_is_no_number, "not finite"),
    (head_with_a_weight_that_is_no_number, "not finite"),
    (missing_store, "manifest.json is missing"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILED, ids=[spoil.__name__ for spoil, _ in SPOILED])
def test_wrong_artifact_is_refused_at_the_start(spoil, message, finished_run, tmp_path):
    run = finished_run.copy(tmp_path)
    load_scorer(run.artifacts).close()
    spoil(run)
    with pytest.raises(ArtifactError, match=message) as refused:
        load_scorer(run.artifacts)
    assert "kedro run" in str(refused.value) or "pipeline" in str(refused.value) or "again" in str(refused.value)


def test_untrained_head_is_refused(finished_run, tmp_path):
    run = finished_run.copy(tmp_path)
    head = FraudHead.load(run.artifacts.head)
    FraudHead(head.feature_names, head.embedding_dim, head.config, None, head.identity).save(run.artifacts.head)
    with pytest.raises(ConfigurationError, match="untrained"):
        load_scorer(run.artifacts)


def test_without_the_comparison_of_digests_all_of_them_would_score(finished_run, tmp_path, monkeypatch):
    """The twin: what `check_same_run` refuses would answer without it, silently wrong."""
    monkeypatch.setattr(load, "check_same_run", lambda *_: None)
    answered = 0
    for number, (spoil, message) in enumerate(SPOILED):
        if "digest" in message or "runs" in message or "'s " in message:
            run = finished_run.copy(tmp_path / str(number))
            spoil(run)
            load_scorer(run.artifacts).close()
            answered += 1
    assert answered == 6
    print(f"\nP35 {len(SPOILED) + 1} of {len(SPOILED) + 1} wrong artifacts refused at the start / all")
