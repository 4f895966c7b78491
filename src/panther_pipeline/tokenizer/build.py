"""From the ledger to token sequences: row n of the sequences is row n of `valid_events`.

Shape letters: N events, U users, F token attributes.
"""

import os
import tempfile

import numpy as np
import polars as pl

from panther_pipeline.cards.columns import key_id_of
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.splits import SplitConfig, assign_split
from panther_pipeline.ledger.stream import counted, user_batches
from panther_pipeline.tokenizer.columns import select_columns
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer


def build_sequences(
    valid_events: pl.DataFrame | pl.LazyFrame, profiles: pl.DataFrame, tokenizer: Tokenizer, splits: SplitConfig
) -> TokenSequences:
    """Encode every event and lay the users' histories end to end.

    Args:
        valid_events: sorted by (user_id, event_seq), as the `validate` pipeline hands it on; of any length, read in
            batches. What is encoded lies in unnamed temporary files (TMPDIR), which the system may keep in memory.
        profiles: one row per user, or a frame without columns.
        tokenizer: fitted.
        splits: bounds of the splits.

    Raises:
        ConfigurationError: the events are not sorted; names the first row out of order.
        SourceError: a column that the tokenizer reads is missing.
        ArtifactError: card numbers of events and profiles were replaced with different keys.
    """
    num_events = valid_events.lazy().select(pl.len()).collect().item()
    arrays = {
        "token_ids_N": _scratch((num_events,), np.int32),
        "attribute_ids_NF": _scratch((num_events, len(tokenizer.fields)), np.int32),
        "time_us_N": _scratch((num_events,), np.int64),
        "split_N": _scratch((num_events,), np.int8),
    }
    batches = user_batches(select_columns(valid_events, [(f.source, f.column) for f in tokenizer.fields]))
    user_ids, lengths, done = [], [], 0
    for batch in counted(batches, "encode", total=num_events):
        time_us_N = batch["event_time"].dt.timestamp("us").to_numpy()
        _check_order(batch, time_us_N, done, user_ids[-1] if user_ids else None)
        encoded = tokenizer.encode(batch)
        columns = {
            "token_ids_N": encoded.token_ids_N,
            "attribute_ids_NF": encoded.attribute_ids_NF,
            "time_us_N": time_us_N,
            "split_N": assign_split(time_us_N, batch["user_id"], splits),
        }
        for name, values in columns.items():
            arrays[name][done : done + batch.height] = values
        users = batch["user_id"].rle().struct.unnest()
        user_ids += users["value"].to_list()
        lengths.append(users["len"].to_numpy().astype(np.int64))
        done += batch.height
    key_id_of([pl.Series(user_ids, dtype=pl.String), *profiles.select(pl.col("^user_id$"))])  # refuses two keys
    return TokenSequences(
        user_ids=user_ids,
        offsets_U1=np.concatenate([[0], np.cumsum(np.concatenate([[], *lengths]))]).astype(np.int64),
        **arrays,
        profile_ids_UP=tokenizer.encode_profiles(profiles, user_ids),
        vocab_size=tokenizer.vocab_size,
        attribute_names=tokenizer.attribute_names,
        attribute_sizes=tokenizer.attribute_sizes,
        profile_names=tokenizer.profile_names,
        profile_sizes=tokenizer.profile_sizes,
        tokenizer_digest=tokenizer.digest,
    )


def _scratch(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """An array in a temporary file that is gone once the array is: memory the system can take back."""
    if not all(shape):
        return np.zeros(shape, dtype=dtype)
    num_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    with tempfile.TemporaryFile(prefix="panther_tokens_") as file:
        try:  # taken now, since a mapped file that finds the disk full later ends the process without a word
            os.posix_fallocate(file.fileno(), 0, num_bytes)
        except OSError as error:
            raise ConfigurationError(
                f"{num_bytes:,} bytes of temporary space are needed in {tempfile.gettempdir()}: {error.strerror}. Free "
                "some, or name another folder in the environment variable TMPDIR."
            ) from error
        return np.memmap(file, dtype=dtype, mode="r+", shape=shape)


def _check_order(batch: pl.DataFrame, time_us_N: np.ndarray, first_row: int, last: str | None) -> None:
    """Refuse events out of order: every history must be in one piece, in order, and follow the one before."""
    users, positions = batch["user_id"], batch["event_seq"]
    # Compared as `sort` compares; null at row 0 means "no row before".
    before, same = users.shift(1) < users, users.shift(1) == users
    forward = pl.Series(np.append(True, np.diff(time_us_N) >= 0))
    in_order = same & (positions.shift(1) < positions) & forward
    wrong = (~(before | in_order)).fill_null(last is not None and last >= users[0]).arg_true()
    if len(wrong):
        raise ConfigurationError(
            f"valid_events row {first_row + wrong[0]} is out of order: rows must be sorted by user_id, then event_seq, "
            "and times must not run backwards within a user. Run `kedro run --pipelines=validate`."
        )
