"""A small random ledger and an untrained backbone: what the cache does must not depend on training."""

import numpy as np
import pytest
import torch

from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.tokenizer.sequences import TokenSequences

VOCAB_SIZE = 23


def random_sequences(seed: int = 0, lengths: tuple[int, ...] = (1, 0, 5, 16, 17, 40)) -> TokenSequences:
    rng = np.random.default_rng(seed)
    num = sum(lengths)
    times = [1_700_000_000_000_000 + np.cumsum(rng.integers(1, 5 * 10**10, n)) for n in lengths]
    return TokenSequences(
        user_ids=[f"u{u:02d}" for u in range(len(lengths))],
        offsets_U1=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        token_ids_N=rng.integers(1, VOCAB_SIZE, num).astype(np.int32),
        attribute_ids_NF=rng.integers(1, 4, (num, 2)).astype(np.int32),
        time_us_N=np.concatenate(times).astype(np.int64),
        split_N=np.sort(rng.integers(0, 3, num)).astype(np.int8),
        profile_ids_UP=rng.integers(1, 3, (len(lengths), 1)).astype(np.int32),
        vocab_size=VOCAB_SIZE,
        attribute_names=["a", "b"],
        attribute_sizes=[4, 4],
        profile_names=["p"],
        profile_sizes=[3],
        tokenizer_digest="t",
    )


@pytest.fixture
def sequences() -> TokenSequences:
    return random_sequences()


def make_backbone(tokenizer_kind: str = "structured") -> Backbone:
    torch.set_num_threads(1)
    config = ModelConfig(dim=16, num_layers=2, num_heads=2, max_events=16, num_prototypes=4, dropout=0.0)
    return Backbone(
        config, vocab_size=VOCAB_SIZE, attribute_sizes=[4, 4], profile_sizes=[3], tokenizer_digest="t",
        tokenizer_kind=tokenizer_kind, seed=1,
    ).eval()  # fmt: skip


@pytest.fixture
def backbone() -> Backbone:
    model = make_backbone()
    # Larger token vectors than at the start of training, so that expectations differ between events.
    torch.nn.init.normal_(model.embedding.token.weight, generator=torch.Generator().manual_seed(0))
    return model


@pytest.fixture
def factored() -> Backbone:
    model = make_backbone("factored")
    generator = torch.Generator().manual_seed(0)
    for module in (model.tuple_head, model.embedding.attributes):
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    return model
