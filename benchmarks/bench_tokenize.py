"""From a raw file to token sequences: rows per second and peak memory, beside two yardsticks in the same run.

    python benchmarks/bench_tokenize.py handbook FOLDER     # FOLDER/fraud_handbook/transactions.parquet
    python benchmarks/bench_tokenize.py large FOLDER        # what `large_ledger.py FOLDER --millions 24` wrote

`ours` is the pipelines ingest, validate and tokenize, run by Kedro's SequentialRunner on the catalog and parameters of
the environment; `scan` is a bare polars scan of the same columns, the floor of what any reader can do; `pandas` is
`pandas_yardstick.py`, the same tokens in plain pandas (of the large ledger only with --pandas, since it holds all rows
in memory). Both formats of a ledger are measured; of the Handbook a CSV is made first, in a temporary folder.

Each measurement is a process of its own and imports what it needs before its clock starts; peak memory includes the
imports (`imports_gb`). The three take turns, --repeats times each, and the medians count. Great Expectations takes
seconds to import, once per process: `import_great_expectations_s` stands beside the stages and is in none of them.

    ratio_vs_pandas   rows per second of ours / of pandas: above 1 is faster than pandas
    ratio_vs_scan     seconds of ours / of the scan: how many bare scans our run costs
    validate_share    validate_s / (ingest_s + order_s + tokenize_s): faults, quarantine, expectations and findings,
                      against reading, sorting the accepted events and tokenizing
    validate_share_with_import   the same with the import added to validate_s

Writes benchmarks/results/tokenize_<handbook|large>_<machine>.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from common import ROOT, write_result

MEASURE = Path(__file__).with_name("_measure.py")
HANDBOOK = "fraud_handbook/transactions.parquet"
LARGE = "ledger_24m"


def find_files(ledger: str, folder: Path, temporary: Path, name: str) -> dict[str, Path]:
    """The ledger's files by format."""
    if ledger == "large":
        return {kind: folder / f"{name}.{kind}" for kind in ("parquet", "csv")}
    csv = temporary / "transactions.csv"
    pl.scan_parquet(folder / HANDBOOK).sink_csv(csv, datetime_format="%Y-%m-%d %H:%M:%S")
    return {"parquet": folder / HANDBOOK, "csv": csv}


def measure(what: str, ledger: str, path: Path, folder: Path) -> dict[str, float]:
    """One measurement in a new process, which writes below `folder`."""
    command = [sys.executable, str(MEASURE), what, ledger, str(path.resolve())]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def compare(whats: list[str], ledger: str, path: Path, folder: Path, repeats: int) -> dict[str, Any]:
    """All measurements of one file, taking turns: medians of the seconds, maxima of the memory, and the ratios."""
    runs: dict[str, list[dict[str, float]]] = {what: [] for what in whats}
    for _ in range(repeats):
        for what in whats:
            runs[what].append(measure(what, ledger, path, folder))
            print(path.name, what, json.dumps(runs[what][-1]), flush=True)
    rows = int(runs["scan"][0]["rows"])
    found = {what: _summarise(results, rows) for what, results in runs.items()}
    ours, scan = found["ours"], found["scan"]
    other_s = ours["ingest_s"] + ours["order_s"] + ours["tokenize_s"]
    with_import_s = ours["validate_s"] + ours["import_great_expectations_s"]
    return {
        "rows": rows,
        "bytes": path.stat().st_size,
        "rows_per_s": ours["rows_per_s"],
        "ratio_vs_pandas": round(found["pandas"]["total_s"] / ours["total_s"], 2) if "pandas" in found else None,
        "ratio_vs_scan": round(ours["total_s"] / scan["total_s"], 1),
        "validate_share": round(ours["validate_s"] / other_s, 3),
        "validate_share_with_import": round(with_import_s / other_s, 3),
        "peak_gb": ours["peak_gb"],
        **found,
    }


def _summarise(results: list[dict[str, float]], rows: int) -> dict[str, Any]:
    seconds = {key: [result[key] for result in results] for key in results[0] if key.endswith("_s")}
    memory = {key: max(result[key] for result in results) for key in ("peak_gb", "imports_gb")}
    medians = {key: round(statistics.median(values), 3) for key, values in seconds.items()}
    return {
        **medians,
        **memory,
        "rows_per_s": round(rows / medians["total_s"]),
        "all_total_s": [round(value, 3) for value in seconds["total_s"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ledger", choices=["handbook", "large"])
    parser.add_argument("folder", type=Path, help="where the ledger's files lie")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pandas", action="store_true", help="measure pandas on the large ledger too")
    parser.add_argument("--name", default=LARGE, help="the large ledger's files, without suffix, for a trial on fewer")
    parser.add_argument("--temporary", type=Path, default=ROOT / "data", help="a folder with room for what runs write")
    args = parser.parse_args()
    whats = ["scan", "pandas", "ours"] if args.ledger == "handbook" or args.pandas else ["scan", "ours"]
    with tempfile.TemporaryDirectory(dir=args.temporary, prefix=".bench.") as name:
        folder = Path(name)
        files = find_files(args.ledger, args.folder, folder, args.name)
        formats = {kind: compare(whats, args.ledger, path, folder, args.repeats) for kind, path in files.items()}
    rows = formats["parquet"]["rows"]
    peak = max(found["peak_gb"] for found in formats.values())
    record = {
        "rows": rows, "repeats": args.repeats, "peak_gb": peak,
        **({"peak_gb_24m": peak} if rows == 24_000_000 else {}), **formats,
    }  # fmt: skip
    write_result(f"tokenize_{args.ledger}" if args.name == LARGE else f"tokenize_{args.name}", record)


if __name__ == "__main__":
    main()
