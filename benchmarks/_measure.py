"""One measurement in a process of its own, so that its peak memory is its own; `bench_tokenize.py` starts it.

    python benchmarks/_measure.py scan|pandas|ours handbook|large FILE

Whatever is measured is imported first and timed by `time.perf_counter` afterwards. The last line printed is the result
as JSON. What a run writes goes to a temporary folder below the current one, or stays in the folder of --keep.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from common import peak_gb
from ledgers import LEDGERS, Ledger, catalog_entries, source_columns

# Stage → pipeline and nodes; what is left of `validate` puts the accepted events in order. The plot of the coverage
# takes the same time for any ledger and is left out.
STAGES = {
    "ingest": ("ingest", ["map_transactions", "map_profiles", "map_user_labels"]),
    "validate": ("validate", ["find_faults", "quarantine_events", "check_expectations"]),
    "order": ("validate", ["accept_events"]),
    "tokenize": ("tokenize", ["fit_tokenizer", "encode_events", "tabulate_vocabulary", "measure_coverage"]),
}
Result = dict[str, float]


def measure_scan(ledger: Ledger, path: Path, folder: Path) -> Result:
    """The floor: polars reads the same columns of the same file and does nothing with them."""
    import polars as pl

    columns = source_columns(ledger.blocks()[0])
    imports_gb, start = peak_gb(), time.perf_counter()
    scan = pl.scan_csv(path, infer_schema=False) if path.suffix == ".csv" else pl.scan_parquet(path)
    rows = scan.select(columns).collect().height
    return {"rows": rows, "total_s": time.perf_counter() - start, "imports_gb": imports_gb}


def measure_pandas(ledger: Ledger, path: Path, folder: Path) -> Result:
    """`pandas_yardstick.py`."""
    from pandas_yardstick import tokenize_with_pandas

    blocks = ledger.blocks()
    imports_gb, start = peak_gb(), time.perf_counter()
    accepted = tokenize_with_pandas(path, *blocks, folder)
    return {"accepted": accepted, "total_s": time.perf_counter() - start, "imports_gb": imports_gb}


def measure_ours(ledger: Ledger, path: Path, folder: Path) -> Result:
    """The three pipelines on the catalog and the parameters of the environment, as `kedro run` has them.

    Hooks stay out: run tracking is not part of what is compared. Everything is written below `folder`.
    """
    from kedro.framework.context import KedroContext
    from kedro.framework.hooks.manager import _create_hook_manager
    from kedro.framework.project import configure_project, pipelines
    from kedro.io import DataCatalog
    from kedro.runner import SequentialRunner

    configure_project("panther_pipeline")
    context = KedroContext(
        project_path=folder, config_loader=ledger.config_loader(), env=ledger.env, package_name="panther_pipeline",
        hook_manager=_create_hook_manager(),
    )  # fmt: skip
    catalog = context.catalog
    for name, dataset in DataCatalog.from_config(catalog_entries(path)).items():
        catalog[name] = dataset
    start = time.perf_counter()
    import great_expectations.expectations  # noqa: F401 - seconds that a process pays once, however many rows it has

    import_s = time.perf_counter() - start
    stages = {name: pipelines[pipeline].filter(node_names=nodes) for name, (pipeline, nodes) in STAGES.items()}
    imports_gb, seconds = peak_gb(), {}
    for name, pipeline in stages.items():
        start = time.perf_counter()
        SequentialRunner().run(pipeline, catalog)
        seconds[f"{name}_s"] = time.perf_counter() - start
    return {
        **seconds, "total_s": sum(seconds.values()), "import_great_expectations_s": import_s, "imports_gb": imports_gb,
    }  # fmt: skip


MEASURES: dict[str, Callable[[Ledger, Path, Path], Result]] = {
    "scan": measure_scan, "pandas": measure_pandas, "ours": measure_ours,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=MEASURES)
    parser.add_argument("ledger", choices=sorted(LEDGERS))
    parser.add_argument("file", type=Path)
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".measure.") as temporary:
        folder = (args.keep or Path(temporary)).resolve()
        result = MEASURES[args.what](LEDGERS[args.ledger], args.file.resolve(), folder)
        result["peak_gb"] = peak_gb()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
