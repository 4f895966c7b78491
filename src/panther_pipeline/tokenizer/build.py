"""From the ledger to token sequences: row n of the sequences is row n of `valid_events`.

Shape letters: N events, U users.
"""

import numpy as np
import polars as pl

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.splits import SplitConfig, assign_split
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer


def build_sequences(
    valid_events: pl.DataFrame, profiles: pl.DataFrame, tokenizer: Tokenizer, splits: SplitConfig
) -> TokenSequences:
    """Encode every event and lay the users' histories end to end.

    Args:
        valid_events: sorted by (user_id, event_seq), as the `validate` pipeline hands it on.
        profiles: one row per user, or a frame without columns.
        tokenizer: fitted.
        splits: bounds of the splits.

    Raises:
        ConfigurationError: the events are not sorted; names the first row out of order.
        SourceError: a column that the tokenizer reads is missing.
    """
    time_us_N = valid_events["event_time"].dt.timestamp("us").to_numpy()
    starts = _user_starts(valid_events, time_us_N)
    user_ids = valid_events["user_id"].gather(starts).to_list()
    encoded = tokenizer.encode(valid_events)
    return TokenSequences(
        user_ids=user_ids,
        offsets_U1=np.append(starts, len(valid_events)).astype(np.int64),
        token_ids_N=encoded.token_ids_N,
        attribute_ids_NF=encoded.attribute_ids_NF,
        time_us_N=time_us_N,
        split_N=assign_split(time_us_N, valid_events["user_id"], splits),
        profile_ids_UP=tokenizer.encode_profiles(profiles, user_ids),
        vocab_size=tokenizer.vocab_size,
        attribute_names=tokenizer.attribute_names,
        attribute_sizes=tokenizer.attribute_sizes,
        profile_names=tokenizer.profile_names,
        profile_sizes=tokenizer.profile_sizes,
        tokenizer_digest=tokenizer.digest,
    )


def _user_starts(events: pl.DataFrame, time_us_N: np.ndarray) -> np.ndarray:
    """int64 (U,): the row at which each user's history begins; refuses events out of order."""
    users, positions = events["user_id"], events["event_seq"]
    # Compared as `sort` compares; null at row 0 means "no row before".
    before, same = users.shift(1) < users, users.shift(1) == users
    in_order = (
        same & (positions.shift(1) < positions) & pl.Series(np.append(True, np.diff(time_us_N) >= 0)[: len(events)])
    )
    wrong = (~(before | in_order)).fill_null(False).arg_true()
    if len(wrong):
        raise ConfigurationError(
            f"valid_events row {wrong[0]} is out of order: rows must be sorted by user_id, then event_seq, "
            "and times must not run backwards within a user. Run `kedro run --pipelines=validate`."
        )
    return np.append(0, np.flatnonzero(before.fill_null(False).to_numpy())).astype(np.int64)[: len(events)]
