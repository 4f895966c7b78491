"""P06: every persistent catalog entry is replaced in one step or not at all.

Static part: each entry that writes is of a class proven atomic. Dynamic part: each such class, killed while it
saves, leaves the old content or none.
"""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import pytest

PROVEN = {
    f"panther_pipeline.datasets.{name}"
    for name in (
        "TableDataset", "LongTableDataset", "JSONDataset", "PlotDataset", "TextDataset", "HTMLDataset",
        "ArtifactDataset", "CheckpointDataset",
        "RunStoreDataset",
    )
}  # fmt: skip
READ_ONLY = {
    "panther_pipeline.datasets.CodeVersionDataset",
    "panther_pipeline.datasets.DelimitedDataset",
    "panther_pipeline.datasets.EmptyTableDataset",
    "panther_pipeline.datasets.ExcelDataset",
    "panther_pipeline.datasets.FraudKindsDataset",
    "panther_pipeline.datasets.ParquetDataset",
    "panther_pipeline.datasets.SourceArtifactDataset",
    "panther_pipeline.datasets.TablesDataset",
    "panther_pipeline.datasets.simulated_ledger.SimulatedLedgerDataset",
}
IN_MEMORY = {"MemoryDataset"}  # writes nothing


def not_atomic(catalog: dict) -> list[str]:
    """Entries that write outside 01_raw with a class that is not proven."""
    return [
        name
        for name, entry in catalog.items()
        if entry["type"] not in PROVEN | READ_ONLY | IN_MEMORY and not entry["filepath"].startswith("data/01_raw/")
    ]


def test_every_written_entry_uses_a_proven_class(environments, load_config):
    checked = 0
    for env in environments:
        catalog = load_config(env)["catalog"]
        assert not_atomic(catalog) == [], f"environment {env}"
        checked += len(catalog)
    print(f"\nP06 {checked} of {checked} catalog entries atomic / all")


def test_guard_refuses_a_stock_dataset():
    catalog = {"events": {"type": "pandas.CSVDataset", "filepath": "data/02_intermediate/x/events.csv"}}
    assert not_atomic(catalog) == ["events"]


SAVERS = {
    "table": """
        import polars as pl
        from panther_pipeline.datasets import TableDataset
        d = TableDataset(filepath="x.parquet")
        make = lambda v: pl.DataFrame({"v": [v] * 400_000, "w": range(400_000)})
        value = lambda: (d.load()["v"].n_unique(), d.load().height, d.load()["v"][0])
    """,
    "long_table": """
        import polars as pl
        from panther_pipeline.datasets import LongTableDataset
        from panther_pipeline.ledger.stream import lazy_table
        d = LongTableDataset(filepath="x.parquet")
        batch = lambda v: pl.DataFrame({"v": [v] * 100_000})
        make = lambda v: lazy_table(lambda: (batch(v) for _ in range(4)), batch(v).schema)
        v = pl.col("v")
        value = lambda: d.load().select(a=v.n_unique(), b=pl.len(), c=v.first()).collect().row(0)
    """,
    "json": """
        from panther_pipeline.datasets import JSONDataset
        d = JSONDataset(filepath="x.json")
        make = lambda v: [v] * 200_000
        value = lambda: (len(set(d.load())), len(d.load()), d.load()[0])
    """,
    "folder": """
        from pathlib import Path
        import numpy as np
        from panther_pipeline.datasets import ArtifactDataset
        from panther_pipeline.tokenizer.sequences import TokenSequences
        d = ArtifactDataset(filepath="x", artifact="token_sequences")
        def make(v):
            column = np.full(300_000, v, np.int32)
            return TokenSequences(
                user_ids=[str(v)], offsets_U1=np.array([0, 300_000]), token_ids_N=column, time_us_N=column,
                attribute_ids_NF=column[:, None], split_N=column % 100, profile_ids_UP=np.zeros((1, 0), np.int32),
                vocab_size=v, attribute_names=["a"], attribute_sizes=[1], profile_names=[], profile_sizes=[],
                tokenizer_digest="",
            )
        def value():
            read = d.load()
            values = {int(read.user_ids[0]), read.vocab_size} | set(np.unique(read.token_ids_N).tolist())
            return len(values), read.num_events, read.vocab_size
    """,
}


@pytest.mark.parametrize("kind", SAVERS)
def test_killed_while_saving_leaves_old_content(kind, tmp_path):
    setup = textwrap.dedent(SAVERS[kind])
    loop = (
        setup + "\nd.save(make(0))\nprint('READY', flush=True)\ni = 0\nwhile True:\n    i += 1\n    d.save(make(i))\n"
    )
    rng = random.Random(7)
    in_save = 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", loop], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        next(line for line in process.stdout if line.startswith("READY"))
        time.sleep(rng.uniform(0.02, 0.3))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        in_save += any(p.name.startswith(".") for p in tmp_path.rglob("*"))
        check = setup + "\nn, size, v = value()\nassert n == 1, n\nprint('VALUE', v, size)\n"
        result = subprocess.run(
            [sys.executable, "-c", check], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert "VALUE" in result.stdout, result.stderr[-500:]
    print(f"\nP06 {kind}: 3 of 3 kills leave old content ({in_save} left a partial behind) / 3")
