"""The `finetune` pipeline on an in-memory catalog, and the parameters that ship."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from pydantic import BaseModel

from panther_pipeline.cache.embed import EventEmbeddingConfig
from panther_pipeline.datasets import ArtifactDataset
from panther_pipeline.errors import ArtifactError
from panther_pipeline.features.config import FeatureConfig, features_digest
from panther_pipeline.ledger.splits import SplitConfig, assign_split
from panther_pipeline.metrics.fraud import FRAUD_MODELS, OPTIONAL_MODELS
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.not_asked import NotAsked
from panther_pipeline.pipelines.finetune import create_pipeline
from panther_pipeline.pipelines.finetune.fraud import create_fraud_pipeline
from panther_pipeline.pipelines.finetune.history import create_history_pipeline
from panther_pipeline.pipelines.finetune.tuning import create_tuning_pipeline
from panther_pipeline.scoring.fit import HeadConfig
from panther_pipeline.scoring.history.config import HistoryConfig
from panther_pipeline.scoring.identity import check_belongs, identify
from panther_pipeline.scoring.task import FraudTaskConfig
from panther_pipeline.scoring.trees import TreeConfig
from panther_pipeline.scoring.tuning.config import TuningConfig
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.units import epoch_us

OUTPUTS = {"event_features", "fraud_head", "distilled_head", "fraud_scores"}
SHARED = {"fraud_task", "histories"}  # the same object for every node
OPT_IN = {
    "tuned_backbone": "backbone", "lora_backbone": "backbone",
    "tuned_head": "fraud_head", "lora_head": "fraud_head", "distilled_head": "fraud_head",
}  # fmt: skip
BLOCKS = {
    "features": FeatureConfig, "task": FraudTaskConfig, "head": HeadConfig, "trees": TreeConfig, 
    "tuning": TuningConfig, "history": HistoryConfig,
}  # fmt: skip
SPLITS = SplitConfig(
    protocol="time", train_end="2024-01-16", valid_end="2024-01-24", test_end=None,
    embargo_days=0.0, test_share=None, valid_share=None, held_out_user_share=0.0
)  # fmt: skip


def read_blocks(load_config, env: str = "base") -> dict:
    parameters = load_config(env)["parameters"]
    return {name: block(**parameters["finetuning"][name]) for name, block in BLOCKS.items()}


class KeptDataset(MemoryDataset):
    """Stays after the last node that reads it, as a file does."""

    def _release(self) -> None:
        pass


class WatchedDataset(KeptDataset):
    """Remembers what it was handed as it was then."""

    def save(self, data: object) -> None:
        self.first = copy_arrays(data)
        super().save(data)


def copy_arrays(value: object) -> dict[str, np.ndarray]:
    """Every column, array and tensor of a dataclass."""
    found = {}
    for name, field in vars(value).items():
        if isinstance(field, pl.DataFrame):
            found |= {f"{name}.{column}": field[column].to_numpy().copy() for column in field.columns}
        elif isinstance(field, np.ndarray | torch.Tensor):
            found[name] = np.array(field)
    return found


def make_sequences(valid_events: pl.DataFrame) -> TokenSequences:
    """Random tokens at the times of the ledger."""
    time_us_N = epoch_us(valid_events["event_time"])
    counts = valid_events.group_by("user_id", maintain_order=True).len()
    return TokenSequences(
        user_ids=counts["user_id"].to_list(),
        offsets_U1=np.concatenate([[0], np.cumsum(counts["len"])]).astype(np.int64),
        token_ids_N=np.random.default_rng(1).integers(2, 8, len(time_us_N)).astype(np.int32),
        attribute_ids_NF=np.zeros((len(time_us_N), 0), dtype=np.int32),
        time_us_N=time_us_N,
        split_N=assign_split(time_us_N, valid_events["user_id"], SPLITS),
        profile_ids_UP=np.zeros((counts.height, 0), dtype=np.int32),
        vocab_size=8, attribute_names=[], attribute_sizes=[], profile_names=[], profile_sizes=[], tokenizer_digest="t",
    )  # fmt: skip


def make_backbone(seed: int = 0) -> Backbone:
    config = ModelConfig(dim=4, num_layers=1, num_heads=1, feed_forward_dim=8, max_events=16, num_prototypes=2)
    return Backbone(config, vocab_size=8, attribute_sizes=[], profile_sizes=[], tokenizer_digest="t", seed=seed).eval()


def run_pipeline(
    load_config,
    valid_events: pl.DataFrame,
    methods: str | None = None,
    history: list[str] | None = None,
    seed: int = 0,
    folder: Path | None = None,
) -> DataCatalog:
    """Run the pipeline; with a folder, what is opt-in is kept there as the catalog would keep it."""
    torch.set_num_threads(1)
    blocks = read_blocks(load_config)
    blocks["history"] = blocks["history"].model_copy(update={"models": history or [], "num_events": 10})
    lora = blocks["tuning"].lora.model_copy(update={"rank": 2})
    blocks["tuning"] = blocks["tuning"].model_copy(update={"methods": methods, "max_epochs": 1, "lora": lora})
    asked = {"seeds": [0], "max_epochs": 2, "also_without_backbone": methods is not None}
    blocks["head"] = blocks["head"].model_copy(update=asked)
    blocks["trees"] = blocks["trees"].model_copy(update={"seeds": [0], "num_rounds": 10})
    count = valid_events.height
    embeddings = pl.DataFrame(
        {
            "row": np.arange(count),
            "embedding": pl.Series(np.zeros((count, 4), dtype=np.float32), dtype=pl.Array(pl.Float32, 4)),
            **dict.fromkeys(("surprise", "surprise_z", "cosine"), np.zeros(count, dtype=np.float32)),
        }
    )
    inputs = {
        "valid_events": valid_events,
        "event_embeddings": embeddings,
        "backbone": make_backbone(seed),
        "token_sequences": make_sequences(valid_events),
        "params:embedding.events": EventEmbeddingConfig(since=None, refresh="each_event", batch_size=64),
        "params:ledger.splits": SPLITS,
        **{f"params:finetuning.{name}": block for name, block in blocks.items()},
    }
    pipeline = create_fraud_pipeline() + create_history_pipeline() + create_tuning_pipeline()
    assert pipeline.inputs() == set(inputs)
    catalog = DataCatalog({name: KeptDataset(value, copy_mode="assign") for name, value in inputs.items()})
    for name in pipeline.all_outputs():
        catalog[name] = (WatchedDataset if name in SHARED else KeptDataset)(copy_mode="assign")
    for name, kind in OPT_IN.items() if folder else ():
        catalog[name] = ArtifactDataset(filepath=str(folder / name), artifact=kind)
    SequentialRunner().run(pipeline, catalog)
    return catalog


def test_finetune_makes_all_its_outputs(load_config, labelled_events):
    assert create_pipeline().all_outputs() >= OUTPUTS
    catalog = run_pipeline(load_config, labelled_events, "full+lora", ["textcnn", "attention", "distilled"])
    scores = catalog.load("fraud_scores")
    assert set(scores["model"]) == {*FRAUD_MODELS, *OPTIONAL_MODELS}
    assert scores["score"].is_between(0, 1).all()
    assert catalog.load("fraud_head").is_trained
    for method in ("tuned", "lora"):
        assert catalog.load(f"{method}_head").is_trained
        assert isinstance(catalog.load(f"{method}_backbone"), Backbone)
    assert catalog.load("distilled_head").is_trained
    check_identities(catalog, read_blocks(load_config)["features"])


def check_identities(catalog: DataCatalog, features: FeatureConfig) -> None:
    names = [name for name in catalog.load("event_features").columns if name != "event_id"]
    pairs = {"fraud": "backbone", "distilled": "backbone", "tuned": "tuned_backbone", "lora": "lora_backbone"}
    for head, backbone in pairs.items():
        assert catalog.load(f"{head}_head").identity == {
            "backbone_digest": catalog.load(backbone).digest,
            "tokenizer_digest": "t",
            "features_digest": features_digest(features, names),
        }, head
    assert catalog.load("tuned_backbone").digest != catalog.load("backbone").digest


def test_models_that_cost_minutes_are_off_unless_asked_for(environments, load_config, labelled_events):
    assert read_blocks(load_config)["tuning"].methods is None
    assert {env for env in environments if read_blocks(load_config, env)["history"].models} == {"test"}
    catalog = run_pipeline(load_config, labelled_events)
    assert set(catalog.load("fraud_scores")["model"]) == set(FRAUD_MODELS)
    options = {"tuned": "finetuning.tuning.methods=full", "lora": "finetuning.tuning.methods=lora"}
    for method, option in options.items():
        for name in (f"{method}_backbone", f"{method}_head"):
            assert catalog.load(name) == NotAsked(option=option), name
    assert catalog.load("distilled_head") == NotAsked(option="finetuning.history.models=distilled")


def test_no_node_changes_what_all_of_them_are_handed(load_config, labelled_events):
    """`copy_mode: assign` gives every node the same object: here as it was before any node but its maker ran."""
    catalog = run_pipeline(load_config, labelled_events, "full+lora", ["textcnn", "attention", "distilled"])
    for name in SHARED:
        before, after = catalog[name].first, copy_arrays(catalog.load(name))
        assert set(after) == set(before)
        assert len(after) > 4
        for field in before:
            np.testing.assert_array_equal(after[field], before[field], err_msg=f"{name}.{field}")


def test_shared_datasets_are_handed_on_without_a_copy(environments, load_config):
    for env in environments:
        catalog = load_config(env)["catalog"]
        assert {name for name, entry in catalog.items() if entry["type"] == "MemoryDataset"} == SHARED | {
            "user_forecasts"
        }
        assert {catalog[name]["copy_mode"] for name in SHARED} == {"assign"}


def test_run_that_asks_for_nothing_leaves_what_an_earlier_one_made(load_config, labelled_events, tmp_path):
    first = run_pipeline(load_config, labelled_events, "full+lora", ["distilled"], folder=tmp_path)
    before = {name: first.load(name) for name in OPT_IN}
    assert all(before[name].is_trained for name in ("tuned_head", "lora_head", "distilled_head"))
    second = run_pipeline(load_config, labelled_events, seed=1, folder=tmp_path)
    for name, kind in OPT_IN.items():
        kept = second.load(name)
        assert kept.digest == before[name].digest if kind == "backbone" else kept.identity == before[name].identity
        assert kind == "backbone" or kept.is_trained
    check_nothing_stale_is_used(second, read_blocks(load_config)["features"])


def check_nothing_stale_is_used(catalog: DataCatalog, features: FeatureConfig) -> None:
    """What is left is of another backbone: no row of the comparison is of it, and its identity says so."""
    assert not {"head_tuned", "head_lora", "head_distilled"} & set(catalog.load("fraud_scores")["model"])
    run = identify(catalog.load("backbone"), features, catalog.load("fraud_head").feature_names)
    check_belongs("fraud_head", catalog.load("fraud_head").identity, run)
    for name in ("tuned_head", "lora_head", "distilled_head"):
        with pytest.raises(ArtifactError, match=f"{name} belongs to another run: it has backbone_digest"):
            check_belongs(name, catalog.load(name).identity, run)


def test_finetune_ends_well_on_a_ledger_without_labels(load_config, labelled_events):
    bare = labelled_events.with_columns(label=pl.lit(None, pl.Int8), label_time=pl.lit(None, pl.Datetime("us", "UTC")))
    catalog = run_pipeline(load_config, bare, "full+lora", ["textcnn", "attention", "distilled"])
    assert catalog.load("fraud_scores").is_empty()
    assert not catalog.load("fraud_head").is_trained


def test_shipped_finetuning_parameters_are_valid(environments, load_config):
    for env in environments:
        assert read_blocks(load_config, env)


def list_defaults(block: type[BaseModel], place: str) -> list[str]:
    """Every field that has a value of its own, of a block and of the blocks in it."""
    found = []
    for name, field in block.model_fields.items():
        found += [] if field.is_required() else [f"{place}.{name}"]
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += list_defaults(field.annotation, f"{place}.{name}")
    return found


@pytest.mark.parametrize("name", BLOCKS)
def test_every_knob_of_finetuning_is_stated_in_conf(name):
    assert list_defaults(BLOCKS[name], name) == []


def test_handbook_blocks_the_cards_that_its_protocol_blocks(load_config):
    task = read_blocks(load_config, "handbook")["task"]
    assert task.fit_start is None
    assert task.blocked_since == "2018-07-25"


def test_trees_are_tuned_as_much_as_the_head(environments, load_config):
    for env in environments:
        blocks = read_blocks(load_config, env)
        assert len(blocks["trees"].search) == len(blocks["head"].search)
