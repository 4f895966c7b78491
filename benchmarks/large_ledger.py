"""Write a ledger of many million rows and twelve columns, the same rows as CSV and as Parquet.

    python benchmarks/large_ledger.py FOLDER --millions 24     # FOLDER/ledger_24m.csv and FOLDER/ledger_24m.parquet

The rows come from the project's simulator, broken rows and duplicates kept, and stand in order of booking as a bank's
export does: the payments of one customer are spread over the whole file. Memory is bounded: customers are simulated a
block at a time (one block makes about a million rows), each block is cut into months on disk, and the months are put
together one after the other. Every block has a seed and ids of its own. All columns are text, since a broken cell
has no other type. Prints rows, bytes, seconds and peak memory as one JSON line.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from common import peak_gb
from panther_pipeline.ledger.simulator import SimulationConfig, simulate_ledger
from panther_pipeline.publish import publish_file

COLUMNS = (
    "transaction_id", "customer_id", "booked_at", "amount", "currency", "category", "channel", "merchant_id",
    "merchant_city", "device", "card_product", "is_fraud",
)  # fmt: skip
START, END = "2024-01-01", "2025-01-01"
MILLION = 1_000_000
USERS_PER_MILLION = 3_380  # makes a little more than a million rows; the file ends after the last whole million
ROW_GROUP_ROWS = 1 << 18

CITIES = (
    "Amsterdam", "Athens", "Barcelona", "Berlin", "Bologna", "Bratislava", "Brussels", "Cologne", "Dublin", "Florence",
    "Ghent", "Graz", "Hamburg", "Helsinki", "Kaunas", "Lille", "Lisbon", "Ljubljana", "Luxembourg", "Lyon", "Madrid",
    "Marseille", "Milan", "Munich", "Naples", "Nicosia", "Paris", "Porto", "Riga", "Rome", "Seville", "Tallinn",
    "Tampere", "Turin", "Utrecht", "Valencia", "Valletta", "Vienna", "Vilnius", "Zagreb",
)  # fmt: skip
DEVICES = ("android phone", "iphone", "tablet", "laptop", "desktop")
PRODUCTS = ("debit", "debit", "debit", "credit", "credit", "gold", "prepaid")  # as common as they stand here
_IN_PERSON = {"chip": "terminal", "contactless": "terminal", "atm": "cash machine", "transfer": "bank portal"}


def simulate_block(block: int, num_users: int = USERS_PER_MILLION) -> pl.DataFrame:
    """The payments of one block of customers, in order of booking; ids begin with the number of the block."""
    config = SimulationConfig(num_users=num_users, start=START, end=END, seed=1000 + block)
    rows = simulate_ledger(config).transactions
    return rows.with_columns(
        _number_ids("transaction_id", "T", block),
        _number_ids("customer_id", "C", block),
        merchant_city=_pick(CITIES, _number_of("merchant_id")),
        device=pl.col("channel").replace_strict(_IN_PERSON, default=_pick(DEVICES, _number_of("customer_id") * 7)),
        card_product=_pick(PRODUCTS, _number_of("customer_id")),
    ).select(COLUMNS)


def _number_ids(column: str, letter: str, block: int) -> pl.Expr:
    ids = pl.col(column)
    # What the export lost stays lost.
    return pl.when(ids != "").then(pl.lit(f"{letter}{block:02d}") + ids.str.slice(1)).otherwise(ids).alias(column)


def _number_of(column: str) -> pl.Expr:
    return pl.col(column).str.slice(1).cast(pl.Int64, strict=False).fill_null(0)


def _pick(names: tuple[str, ...], number: pl.Expr) -> pl.Expr:
    return (number % len(names)).replace_strict(dict(enumerate(names)), return_dtype=pl.String)


def _place_in_time() -> pl.Expr:
    """The time a row is sorted by: its own, or where that is broken the one of the row before it."""
    time_text = pl.col("booked_at")
    is_of_the_year = time_text.is_between(pl.lit(START), pl.lit("2024-12-31 23:59:59"))
    # "2024-13-45 27:61:00" and the year 2199 sort behind any time of the year.
    return pl.when(is_of_the_year).then(time_text).forward_fill().fill_null(START)


def write_parts(folder: Path, num_blocks: int, num_users: int = USERS_PER_MILLION) -> list[str]:
    """Every block as one file for each month; the months in order."""
    months = set()
    for block in range(num_blocks):
        rows = simulate_block(block, num_users).with_columns(place=_place_in_time())
        parts = rows.with_columns(month=pl.col("place").str.head(7)).partition_by("month", as_dict=True)
        for (month,), part in parts.items():
            part.drop("month").write_ipc(folder / f"{month}.{block:03d}.arrow", compression="lz4")
            months.add(month)
    return sorted(months)


def write_months(parts: Path, months: list[str], num_rows: int, csv: Path, parquet: Path) -> None:
    """Merge the blocks of each month and append them to both files, until `num_rows` are written."""
    writer = None
    with csv.open("wb") as file:
        for month in months:
            frames = [pl.read_ipc(part) for part in sorted(parts.glob(f"{month}.*.arrow"))]
            rows = pl.concat(frames).sort("place", maintain_order=True).drop("place").head(num_rows)
            del frames
            num_rows -= rows.height
            rows.write_csv(file, include_header=writer is None)
            table = rows.to_arrow()
            writer = writer or pq.ParquetWriter(parquet, table.schema)
            writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
    if writer is None or num_rows:
        raise AssertionError(f"{num_rows} rows are missing: raise USERS_PER_MILLION")
    writer.close()


def write_large_ledger(folder: Path, millions: int) -> tuple[Path, Path]:
    """Write both files, each in one step; returns their paths."""
    csv, parquet = (folder / f"ledger_{millions}m.{kind}" for kind in ("csv", "parquet"))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".parts.") as name:
        parts = Path(name)
        months = write_parts(parts, num_blocks=millions)

        def write_both(new_csv: Path) -> None:
            publish_file(parquet, lambda new: write_months(parts, months, millions * MILLION, new_csv, new))

        publish_file(csv, write_both)
    return csv, parquet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--millions", type=int, default=24, help="rows, in millions, at most 99")
    args = parser.parse_args()
    start = time.perf_counter()
    csv, parquet = write_large_ledger(args.folder, args.millions)
    record = {
        "rows": args.millions * MILLION, "columns": len(COLUMNS), "csv_bytes": csv.stat().st_size,
        "parquet_bytes": parquet.stat().st_size, "wall_s": round(time.perf_counter() - start, 1), "peak_gb": peak_gb(),
    }  # fmt: skip
    print(json.dumps(record))


if __name__ == "__main__":
    main()
