"""A small random ledger as sequences, and what brings its histories up to date."""

import numpy as np
import pytest

from panther_pipeline.cache.embed import EventEmbeddingConfig, measure_surprises
from panther_pipeline.online.history import UserHistory
from panther_pipeline.online.refresh import Refresher
from panther_pipeline.online.served_backbone import ServedBackbone
from panther_pipeline.tokenizer.sequences import TokenSequences

from ..cache.conftest import VOCAB_SIZE, backbone, factored, random_sequences

__all__ = ["backbone", "factored"]
COUNTS = np.arange(VOCAB_SIZE)
KEEP = 24  # more than the 16 events that the backbone reads


@pytest.fixture
def sequences() -> TokenSequences:
    return random_sequences(lengths=(1, 0, 5, 16, 17, 40, 70))


@pytest.fixture
def make_refresher():
    return lambda backbone, refresh="each_event": Refresher(
        backbone=ServedBackbone.of(backbone), counts_V=COUNTS, refresh=refresh, num_next=3
    )


def arrive(history: UserHistory, sequences: TokenSequences, row: int, place: int | None = None) -> UserHistory:
    """The history with one more event of the sequences; its id is its row."""
    time_us = int(sequences.time_us_N[row])
    return history.insert(
        history.place(time_us, str(row)) if place is None else place,
        time_us=time_us,
        token_id=int(sequences.token_ids_N[row]),
        attribute_ids=sequences.attribute_ids_NF[row].tolist(),
        event_id=str(row),
    )


def batch_surprises(backbone, sequences: TokenSequences, refresh: str) -> np.ndarray:
    config = EventEmbeddingConfig(since=None, refresh=refresh, batch_size=4)
    return measure_surprises(backbone, sequences, COUNTS, config)["surprise"].to_numpy()
