"""What identifies the run a card is about."""

import hashlib
from typing import Any

import numpy as np

from panther_pipeline.ledger.splits import SPLIT_NAMES, TEST, TRAIN, UNUSED, VALID
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.tokenizer.sequences import TokenSequences

_SHOWN_DIGITS = 16


def describe_run(
    sequences: TokenSequences,
    backbone: Backbone,
    code_version: dict[str, str],
    seed: int,
    transfer_report: dict[str, Any],
) -> dict[str, str]:
    """Fingerprints, counts and periods, as texts for the head of the card.

    Args:
        sequences: the histories that were read.
        backbone: the model that was measured.
        code_version: commit and changes, from `read_code_version`.
        seed: of training.
        transfer_report: which ledger's backbone training began with; source None = with fresh weights.
    """
    commit = code_version["commit"][:_SHOWN_DIGITS] or "not in a git checkout"
    facts = {
        "commit": commit + (" with local changes" if code_version["changed"] == "true" else ""),
        "seed": str(seed),
        "data fingerprint": fingerprint_sequences(sequences)[:_SHOWN_DIGITS],
        "tokenizer": f"{sequences.tokenizer_digest[:_SHOWN_DIGITS]}, {backbone.tokenizer_kind}",
        "backbone": backbone.digest[:_SHOWN_DIGITS],
        "users": f"{sequences.num_users:,}",
        "transactions": f"{sequences.num_events:,}",
        "token ids": f"{sequences.vocab_size:,}",
        "backbone weights": f"{sum(p.numel() for p in backbone.parameters()):,}",
        "context": f"{backbone.max_events} events",
    }
    if transfer_report["source"] is not None:
        until = transfer_report.get("learnt_until") or transfer_report["train_end"]  # reports of before have the latter
        began = f"the backbone of {transfer_report['source']}, which learnt until {until}"
        facts["training began with"] = began
    for split in (TRAIN, VALID, TEST):
        facts[SPLIT_NAMES[split]] = _period(sequences, sequences.split_N == split)
    unused = int((sequences.split_N == UNUSED).sum())
    return facts | ({"in no split": f"{unused:,} events"} if unused else {})


def fingerprint_sequences(sequences: TokenSequences) -> str:
    """SHA-256 of users, instants, tokens and splits: equal when the same events were read the same way."""
    digest = hashlib.sha256()
    for user_id in sequences.user_ids:
        digest.update(user_id.encode() + b"\0")
    arrays = (
        (sequences.offsets_U1, np.int64), (sequences.time_us_N, np.int64), (sequences.token_ids_N, np.int32),
        (sequences.attribute_ids_NF, np.int32), (sequences.split_N, np.int8),
        (sequences.profile_ids_UP, np.int32),
    )  # fmt: skip
    for array, dtype in arrays:
        digest.update(np.ascontiguousarray(array, dtype=dtype).tobytes())
    return digest.hexdigest()


def _period(sequences: TokenSequences, chosen_N: np.ndarray) -> str:
    if not chosen_N.any():
        return "none"
    days = sequences.time_us_N[chosen_N].astype("datetime64[us]").astype("datetime64[D]")
    return f"{int(chosen_N.sum()):,} events, {days.min()} to {days.max()}"
