"""What is trained on when speed is measured: a ledger's sequences, or random ones of any size."""

from pathlib import Path

import numpy as np

from panther_pipeline.ledger.splits import TRAIN
from panther_pipeline.tokenizer.sequences import TokenSequences

_YEAR_S = 365 * 86_400
_START_US = 1_700_000_000_000_000
_NUM_ATTRIBUTES, _ATTRIBUTE_SIZE, _NUM_PROFILES, _PROFILE_SIZE = 5, 16, 3, 8


def ledger_sequences(folder: Path, env: str) -> TokenSequences:
    """Those of a ledger, as the pipelines wrote them in its environment.

    Raises:
        FileNotFoundError: they were not made yet.
    """
    if not folder.exists():
        stages = "ingest,validate,tokenize"
        raise FileNotFoundError(f"{folder} is missing. Run `kedro run --env={env} --pipelines={stages}`.")
    return TokenSequences.load(folder)


def random_sequences(vocab_size: int, num_users: int, num_events: int, seed: int = 0) -> TokenSequences:
    """Users with equally many training events over a year; tokens by Zipf's law, the rest uniform.

    Speed depends on sizes, not on what is learnt: with histories of `max_events` + 1 no position is padding.
    """
    rng = np.random.default_rng(seed)
    total = num_users * num_events
    share_V = 1 / np.arange(1, vocab_size)
    seconds_UT = np.sort(rng.integers(0, _YEAR_S, (num_users, num_events)), axis=1)
    return TokenSequences(
        user_ids=[f"u{u:06d}" for u in range(num_users)],
        offsets_U1=np.arange(num_users + 1, dtype=np.int64) * num_events,
        token_ids_N=1 + rng.choice(vocab_size - 1, total, p=share_V / share_V.sum()).astype(np.int32),
        attribute_ids_NF=rng.integers(1, _ATTRIBUTE_SIZE, (total, _NUM_ATTRIBUTES), dtype=np.int32),
        time_us_N=(_START_US + seconds_UT * 1_000_000).astype(np.int64).ravel(),
        split_N=np.full(total, TRAIN, dtype=np.int8),
        profile_ids_UP=rng.integers(1, _PROFILE_SIZE, (num_users, _NUM_PROFILES), dtype=np.int32),
        vocab_size=vocab_size,
        attribute_names=[f"attribute_{f}" for f in range(_NUM_ATTRIBUTES)],
        attribute_sizes=[_ATTRIBUTE_SIZE] * _NUM_ATTRIBUTES,
        profile_names=[f"profile_{p}" for p in range(_NUM_PROFILES)],
        profile_sizes=[_PROFILE_SIZE] * _NUM_PROFILES,
        tokenizer_digest="random",
    )
