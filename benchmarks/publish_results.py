"""Copy the finished table of a ledger to docs/results, to be committed: `python benchmarks/publish_results.py LEDGER`.

Writes docs/results/<ledger>_<split>.md and .json from what `kedro run --pipelines=ablation` left under
data/08_reporting/<ledger>; both name command, commit, seeds, data and machine.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from panther_pipeline.ablation.table import render_table
from panther_pipeline.errors import ArtifactError
from panther_pipeline.publish import publish_file, publish_json

ROOT = Path(__file__).resolve().parents[1]


def publish_results(ledger: str, root: Path = ROOT) -> list[Path]:
    """The files written.

    Raises:
        ArtifactError: the ledger has no results; or the table is not that of the results, which a run that was stopped
            between the two leaves behind.
    """
    source = root / "data" / "08_reporting" / ledger
    results_file, table_file = source / "ablation_results.json", source / "ablation_table.md"
    missing = [file for file in (results_file, table_file) if not file.is_file()]
    if missing:
        raise ArtifactError(f"{missing[0]} does not exist. Run `kedro run --pipelines=ablation` for {ledger} first.")
    results: dict[str, Any] = json.loads(results_file.read_text(encoding="utf-8"))
    table = table_file.read_text(encoding="utf-8")
    if table != render_table(results):
        raise ArtifactError(f"{table_file} is not the table of {results_file.name}. Run the pipeline again.")
    target = root / "docs" / "results" / f"{ledger}_{results['facts']['split']}"
    markdown, records = target.with_suffix(".md"), target.with_suffix(".json")
    publish_file(markdown, lambda path: path.write_text(table, encoding="utf-8"))
    publish_json(records, results)
    return [markdown, records]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ledger", help="its name under data/08_reporting")
    for file in publish_results(parser.parse_args().ledger):
        print(file)
