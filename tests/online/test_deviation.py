"""One event against a cached forecast: what the bulk computation says of it."""

import numpy as np
import pytest
import torch

from panther_pipeline.cache.deviation import deviate, forecast
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.online.deviation import EventDeviation
from panther_pipeline.online.history import CachedForecast
from panther_pipeline.online.served_backbone import ServedBackbone

from ..cache.conftest import VOCAB_SIZE


@pytest.fixture
def scored_by_product() -> Backbone:
    config = ModelConfig(dim=16, num_layers=1, num_heads=2, max_events=16, num_prototypes=4, score="dot")
    model = Backbone(config, vocab_size=VOCAB_SIZE, attribute_sizes=[4, 4], profile_sizes=[3], tokenizer_digest="t")
    generator = torch.Generator().manual_seed(0)
    torch.nn.init.normal_(model.embedding.token.weight, generator=generator)
    torch.nn.init.normal_(model.token_bias_V, generator=generator)
    return model.eval()


@pytest.mark.parametrize("name", ["backbone", "scored_by_product", "factored"])
def test_deviation_of_one_event_is_that_of_the_bulk(name, request):
    model = request.getfixturevalue(name)
    rng = np.random.default_rng(0)
    h_CD = torch.from_numpy(rng.normal(size=(VOCAB_SIZE, 16)).astype(np.float32))
    tokens_C, ids_CF = torch.arange(VOCAB_SIZE), torch.from_numpy(rng.integers(1, 4, (VOCAB_SIZE, 2)))
    with torch.inference_mode():
        expected = forecast(model, h_CD)
        surprise_C, cosine_C = deviate(model, expected, tokens_C, ids_CF)
    measured = EventDeviation(ServedBackbone.of(model))
    for c in range(VOCAB_SIZE):
        cached = CachedForecast(
            position=0,
            embedding_D=h_CD[c].numpy(),
            expected_D=expected.expected_CD[c].numpy(),
            log_normaliser=float(expected.log_normaliser_C[c]),
            likeliest=np.empty(0, np.int32),
            probs_K=np.empty(0, np.float32),
        )
        got = measured.measure(cached, int(tokens_C[c]), ids_CF[c].numpy())
        np.testing.assert_allclose(got, (surprise_C[c], cosine_C[c]), rtol=0, atol=1e-5)
    assert surprise_C.std() > 0.1
