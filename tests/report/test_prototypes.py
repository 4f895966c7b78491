"""Attention per token and motif equals a plain mean, and the summary says what is in it."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.batch import EventBatch
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.report import motifs as motif_module
from panther_pipeline.report.prototype_summary import summarise_prototypes
from panther_pipeline.report.prototypes import SCHEMA, PrototypeConfig, tabulate_prototype_weights

MAX_EVENTS = 8


@pytest.fixture(scope="module")
def sequences():
    path = Path(__file__).parents[1] / "fixtures" / "histories.py"
    return runpy.run_path(str(path))["random_sequences"](vocab_size=6)


@pytest.fixture(scope="module")
def tokenizer(sequences):
    names = [f"t{i}" for i in range(sequences.vocab_size)]
    return SimpleNamespace(names=names)


def make_backbone(sequences, **changes) -> Backbone:
    torch.set_num_threads(1)
    config = ModelConfig(
        **{"dim": 16, "num_layers": 1, "num_heads": 2, "max_events": MAX_EVENTS, "num_prototypes": 4, **changes}
    )
    return Backbone(
        config, vocab_size=sequences.vocab_size, attribute_sizes=sequences.attribute_sizes,
        profile_sizes=sequences.profile_sizes, tokenizer_digest="tokenizer",
    ).eval()  # fmt: skip


def make_config(**changes) -> PrototypeConfig:
    values = {"num_tokens": 5, "num_nearest": 2, "min_events": 1, "max_windows": 1000, "batch_size": 5, "seed": 0}
    return PrototypeConfig(**{**values, **changes})


def make_motifs(*tokens: list[int]) -> pl.DataFrame:
    columns = {
        "tokens": list(tokens),
        "name": [motif_module.ARROW.join(f"t{t}" for t in motif) for motif in tokens],
        "num_train": [9] * len(tokens),
        "expected": [3.0] * len(tokens),
        "lift": [3.0 + i for i in range(len(tokens))],
    }
    return pl.DataFrame(columns, schema=motif_module.SCHEMA)


def gather_by_hand(backbone, sequences, pattern: list[int]) -> np.ndarray:
    """Weights (n, K) of the events at which the pattern ends, window by window."""
    rows = []
    for user in range(sequences.num_users):
        for stop in range(sequences.offsets_U1[user + 1], sequences.offsets_U1[user], -MAX_EVENTS):
            start = max(sequences.offsets_U1[user], stop - MAX_EVENTS)
            batch = EventBatch.from_windows(sequences, np.array([user]), np.array([start]), np.array([stop]))
            with torch.inference_mode():
                weights_TK = backbone.prototype_weights(batch)[0].numpy()
            tokens = sequences.token_ids_N[start:stop].tolist()
            for t in range(len(pattern) - 1, len(tokens)):
                if tokens[t - len(pattern) + 1 : t + 1] == pattern:
                    rows.append(weights_TK[t])
    return np.array(rows)


@pytest.mark.parametrize("pattern", [[3], [5], [2, 3], [4, 2], [2, 3, 4], [5, 3, 5]])
def test_weights_are_the_mean_over_the_events_that_end_a_pattern(sequences, tokenizer, pattern):
    backbone = make_backbone(sequences)
    motifs = make_motifs([2, 3], [5, 3, 5], [2, 3, 4], [4, 2])
    table = tabulate_prototype_weights(backbone, sequences, tokenizer, motifs, make_config())
    row = table.filter(pattern=motif_module.ARROW.join(f"t{t}" for t in pattern))
    by_hand = gather_by_hand(backbone, sequences, pattern)
    assert row["num_events"].to_list() == [len(by_hand)] * 4
    assert np.allclose(row["weight"], by_hand.mean(axis=0), atol=1e-6)
    assert np.allclose(row["deviation"], by_hand.std(axis=0), atol=1e-6)
    assert row["last_token_id"].to_list() == [pattern[-1]] * 4
    assert set(row["length"]) == {len(pattern)}


def test_every_event_comes_first_then_tokens_by_frequency_then_motifs_as_given(sequences, tokenizer):
    motifs = make_motifs([4, 2], [2, 3])
    table = tabulate_prototype_weights(make_backbone(sequences), sequences, tokenizer, motifs, make_config())
    assert table.schema == SCHEMA
    rows = table.gather_every(4)
    assert rows["length"].to_list() == [0, 1, 1, 1, 1, 1, 2, 2]
    num_tokens = rows["num_events"][1:6]
    assert rows["num_events"][0] == num_tokens.sum() == sequences.num_events
    assert num_tokens.to_list() == sorted(num_tokens, reverse=True)
    assert rows["pattern"][6:].to_list() == ["t4 → t2", "t2 → t3"]
    assert rows["lift"].to_list() == [None] * 6 + [3.0, 4.0]
    sums = table.group_by("pattern").agg(pl.col("weight").sum())["weight"]
    assert np.allclose(sums, 1, atol=1e-5)


def test_batches_of_another_size_give_the_same(sequences, tokenizer):
    motifs = make_motifs([2, 3], [2, 3, 4])
    one, other = (
        tabulate_prototype_weights(make_backbone(sequences), sequences, tokenizer, motifs, make_config(batch_size=size))
        for size in (1, 64)
    )
    assert one.drop("weight", "deviation").equals(other.drop("weight", "deviation"))
    assert np.allclose(one["weight"], other["weight"], atol=1e-6)


def test_a_bounded_number_of_windows_is_drawn_by_the_seed(sequences, tokenizer):
    def read(seed):
        config = make_config(max_windows=3, seed=seed)
        return tabulate_prototype_weights(make_backbone(sequences), sequences, tokenizer, make_motifs(), config)

    first, again, other = (read(seed) for seed in (0, 0, 1))
    assert 3 <= first["num_events"][0] <= 3 * MAX_EVENTS
    assert first.equals(again)
    assert not first.equals(other)


def test_rare_patterns_are_left_out(sequences, tokenizer):
    motifs = make_motifs([2, 3], [2, 3, 4])
    full = tabulate_prototype_weights(make_backbone(sequences), sequences, tokenizer, motifs, make_config())
    num = full.filter(pattern="t2 → t3")["num_events"][0]
    assert full.filter(pattern="t2 → t3 → t4")["num_events"][0] < num
    cut = tabulate_prototype_weights(
        make_backbone(sequences), sequences, tokenizer, motifs, make_config(min_events=num)
    )  # fmt: skip
    assert cut.equals(full.filter((pl.col("num_events") >= num) | (pl.col("length") == 0)))


@pytest.mark.parametrize("mixer", ["attention", "gru", "hstu"])
def test_backbone_without_prototypes_gives_an_empty_table(sequences, tokenizer, mixer):
    backbone = make_backbone(sequences, mixer=mixer)
    table = tabulate_prototype_weights(backbone, sequences, tokenizer, make_motifs([2, 3]), make_config())
    assert table.is_empty()
    assert table.schema == SCHEMA
    assert summarise_prototypes(table, 3) == []


def weights_of(rows: dict[tuple[int, str], list[float]], deviation: list[float]) -> pl.DataFrame:
    num = len(deviation)
    return pl.concat(
        pl.DataFrame(
            {"length": [length] * num, "pattern": [name] * num, "last_token_id": [None if length == 0 else 2] * num,
             "lift": [None] * num, "num_events": [7] * num, "prototype": list(range(num)), "weight": weight,
             "deviation": deviation}, schema=SCHEMA,
        )
        for (length, name), weight in rows.items()
    )  # fmt: skip


def test_summary_ranks_patterns_by_their_lift_over_all_events():
    table = weights_of(
        {(0, "every event"): [0.2, 0.8], (1, "a"): [0.6, 0.4], (1, "b"): [0.3, 0.7], (1, "c"): [0.2, 0.8],
         (2, "a → b"): [0.8, 0.2], (1, "d"): [0.08, 0.92]},
        [0.1, 0.1],
    )  # fmt: skip
    first, second = summarise_prototypes(table, 2)
    assert (first["prototype"], second["prototype"]) == (0, 1)
    assert [(near["name"], round(near["lift"], 3)) for near in first["tokens"]] == [("a", 3.0), ("b", 1.5)]
    assert [(near["name"], round(near["lift"], 3)) for near in first["motifs"]] == [("a → b", 4.0)]
    assert [near["name"] for near in second["tokens"]] == ["d"]
    assert second["motifs"] == []
    assert first["share"] == pytest.approx(0.2)
    assert first["variation"] == pytest.approx(0.5)
    assert {first["state"], second["state"]} == {"used"}


def test_summary_tells_dead_prototypes_from_used_ones():
    share = [0.01, 0.33, 0.33, 0.33]
    table = weights_of({(0, "every event"): share}, [0.1, 0.02, 0.3, 0.05])
    states = {record["prototype"]: record["state"] for record in summarise_prototypes(table, 2)}
    assert states == {0: "hardly used", 1: "same for all events", 2: "used", 3: "used"}


def test_summary_of_a_prototype_that_gets_nothing_is_finite():
    table = weights_of({(0, "every event"): [0.0, 1.0], (1, "a"): [0.0, 1.0]}, [0.0, 0.0])
    record = next(record for record in summarise_prototypes(table, 2) if record["prototype"] == 0)
    assert record["state"] == "hardly used"
    assert record["variation"] == 0
    assert record["tokens"] == []
