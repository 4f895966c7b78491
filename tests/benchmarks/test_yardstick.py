"""The pandas yardstick does the same work as the pipelines: otherwise comparing their speed would mean nothing."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer
from panther_pipeline.tokenizer.vocabulary import UNK_ID

NUM_USERS = 80


@pytest.fixture(scope="module")
def ledger_files(benchmarks, tmp_path_factory):
    """A small ledger of twelve columns with broken rows and duplicates, as CSV and as Parquet."""
    from large_ledger import simulate_block

    folder = tmp_path_factory.mktemp("ledger")
    rows = simulate_block(3, num_users=NUM_USERS)
    rows.write_csv(folder / "ledger.csv")
    rows.write_parquet(folder / "ledger.parquet")
    return {"csv": folder / "ledger.csv", "parquet": folder / "ledger.parquet"}


@pytest.fixture(scope="module")
def ours(benchmarks, ledger_files, tmp_path_factory) -> tuple[Tokenizer, TokenSequences]:
    """What the three pipelines make of the CSV, in a process as the benchmark starts it."""
    folder = tmp_path_factory.mktemp("ours")
    command = [sys.executable, str(benchmarks / "_measure.py"), "ours", "large", str(ledger_files["csv"])]
    result = subprocess.run(
        [*command, "--keep", str(folder)], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return (
        Tokenizer.load(folder / "data/04_feature/bench/tokenizer.json"),
        TokenSequences.load(folder / "data/05_model_input/bench/token_sequences"),
    )


@pytest.fixture(scope="module", params=["csv", "parquet"])
def yardstick(request, benchmarks, ledger_files, tmp_path_factory) -> dict[str, pd.DataFrame]:
    """The tables that the yardstick writes."""
    from ledgers import LEDGERS
    from pandas_yardstick import tokenize_with_pandas

    folder = tmp_path_factory.mktemp("yardstick")
    tokenize_with_pandas(ledger_files[request.param], *LEDGERS["large"].blocks(), folder)
    return {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("events", "users", "vocabulary")}


def test_yardstick_accepts_the_same_events(ours, yardstick):
    sequences = ours[1]
    assert list(yardstick["users"]["user_id"]) == sequences.user_ids
    assert list(yardstick["users"]["offset"]) == sequences.offsets_U1[:-1].tolist()
    assert np.array_equal(yardstick["events"]["time"].astype("int64"), sequences.time_us_N)
    assert np.array_equal(yardstick["events"]["split"], sequences.split_N)


def test_yardstick_gives_each_event_the_same_bins(ours, yardstick):
    sequences = ours[1]
    for position, name in enumerate(sequences.attribute_names):
        ids_N, codes_N = sequences.attribute_ids_NF[:, position], yardstick["events"][name].to_numpy()
        pairs = set(zip(ids_N.tolist(), codes_N.tolist(), strict=True))
        assert len(pairs) == len(set(ids_N.tolist())) == len(set(codes_N.tolist())), name
        assert len(pairs) > 1, name


def test_yardstick_gives_the_same_token_where_ours_is_whole(ours, yardstick):
    tokenizer, sequences = ours
    is_whole_N = tokenizer.vocabulary.levels_V[sequences.token_ids_N] == 0
    known = yardstick["vocabulary"].set_index("token_id")["token"]
    theirs_N = yardstick["events"]["token_id"]
    assert np.array_equal(theirs_N != UNK_ID, is_whole_N)
    assert is_whole_N.mean() > 0.1
    ours_N = np.array(tokenizer.names)[sequences.token_ids_N]
    assert list(theirs_N[is_whole_N].map(known)) == ours_N[is_whole_N].tolist()


def test_yardstick_reads_the_handbooks_blocks(benchmarks):
    from ledgers import LEDGERS, source_columns

    schema, vocabulary, splits = LEDGERS["handbook"].blocks()
    columns = source_columns(schema)
    assert "TX_FRAUD" in columns
    assert not set(schema.forbidden) & set(columns)
    assert [field.name for field in vocabulary.fields] == ["amount", "hour", "weekday"]
    assert splits.train_end == "2018-08-01"
