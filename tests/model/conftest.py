"""Small backbones of every variant, and random batches to feed them."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.batch import EventBatch
from panther_pipeline.model.config import ModelConfig

VOCAB_SIZE, NUM_ATTRIBUTES, NUM_PROFILES = 20, 2, 3
VARIANTS = [
    {"mixer": mixer, "profile": profile, "time_encoding": time, "merge": merge}
    for mixer, merge in [("both", "sum"), ("both", "mean"), ("attention", "sum"), ("sprm", "sum")]
    for profile in ["none", "first_token", "positional"]
    for time in ["none", "gap_calendar", "rotary"]
]
# What does not depend on the others is varied one at a time.
VARIANTS += [
    {"mixer": mixer, "profile": profile, "time_encoding": time}
    for mixer in ["gru", "hstu"]
    for profile, time in [("none", "none"), ("first_token", "rotary"), ("positional", "gap_calendar")]
]
VARIANTS += [
    {"mixer": "sprm", "convolution": "dense"},
    {"mixer": "both", "convolution": "dense", "merge": "mean"},
    {"mixer": "attention", "position": "learned", "time_encoding": "rotary", "profile": "first_token"},
    {"mixer": "attention", "position": "learned", "time_encoding": "none", "profile": "none", "activation": "relu"},
    {"mixer": "hstu", "position": "learned"},
    {"mixer": "gru", "position": "learned"},
    {"mixer": "both", "score": "dot"},
]


def pytest_generate_tests(metafunc):
    if "variant" in metafunc.fixturenames:
        metafunc.parametrize("variant", VARIANTS, ids=lambda v: "-".join(v.values()))


@pytest.fixture(scope="session")
def random_sequences():
    return runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "histories.py"))["random_sequences"]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def make_backbone():
    def make(seed=0, profiles=True, tokenizer_kind="structured", **variant) -> Backbone:
        config = {
            "dim": 16,
            "num_heads": 2,
            "num_layers": 2,
            "max_events": 32,
            "num_prototypes": 5,
            "attribute_dim": 4,
        }
        backbone = Backbone(
            ModelConfig(**config | variant),
            vocab_size=VOCAB_SIZE,
            attribute_sizes=[5] * NUM_ATTRIBUTES,
            profile_sizes=[4] * NUM_PROFILES if profiles else [],
            tokenizer_kind=tokenizer_kind,
            seed=seed,
        )
        # Embeddings start small; at full size a leak or a missing term cannot hide in rounding.
        for name, parameter in backbone.named_parameters():
            if "token.weight" in name or "tuple_head" in name or (backbone.tuple_head and "attributes" in name):
                torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(seed))
        return backbone.eval()

    return make


@pytest.fixture
def make_batch():
    def make(num_windows=4, num_events=16, seed=0) -> EventBatch:
        generator = torch.Generator().manual_seed(seed)

        def integers(low, high, *shape):
            return torch.randint(low, high, shape, generator=generator)

        gaps_us = integers(0, 20 * 86_400, num_windows, num_events) * 1_000_000 + 17
        return EventBatch(
            token_ids_BT=integers(1, VOCAB_SIZE, num_windows, num_events),
            attribute_ids_BTF=integers(1, 5, num_windows, num_events, NUM_ATTRIBUTES),
            time_us_BT=1_700_000_000_000_000 + gaps_us.cumsum(1),
            profile_ids_BP=integers(1, 4, num_windows, NUM_PROFILES),
            lengths_B=torch.full((num_windows,), num_events),
        )

    return make


@pytest.fixture
def cut():
    """Events `start:stop` of every window of a batch, or some of its windows."""

    def cut(batch: EventBatch, start=0, stop=None, windows=slice(None)) -> EventBatch:
        tokens = batch.token_ids_BT[windows, start:stop]
        return replace(
            batch,
            token_ids_BT=tokens,
            attribute_ids_BTF=batch.attribute_ids_BTF[windows, start:stop],
            time_us_BT=batch.time_us_BT[windows, start:stop],
            profile_ids_BP=batch.profile_ids_BP[windows],
            lengths_B=torch.full((len(tokens),), tokens.shape[1]),
        )

    return cut
