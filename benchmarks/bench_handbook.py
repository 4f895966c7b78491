"""The Handbook's 1,754,155 transactions through the data stages and pretraining, each as a user runs it.

    python benchmarks/bench_handbook.py FOLDER      # FOLDER/fraud_handbook/transactions.parquet

Times are Kedro's own (from the first node to the last, start-up aside); memory is the largest resident set of a stage's
process. Everything is written to data/*/bench; remove it before a second run, since a finished training is not
repeated. Writes benchmarks/results/handbook_<machine>.json.
"""

import re
import resource
import subprocess
import sys
from pathlib import Path

import mlflow

from common import write_result

ROWS = 1_754_155
STAGES = {"data": "ingest,validate,tokenize", "pretrain": "pretrain"}


def run_stage(pipelines: str, data_root: str) -> float:
    """Run some pipelines in a process of their own; seconds between the first node and the last."""
    command = [
        sys.executable, "-m", "kedro", "run", "--env=handbook", f"--pipelines={pipelines}",
        f"--params=data_root={data_root},ledger_name=bench",
    ]  # fmt: skip
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(re.search(r"completed successfully in ([\d.]+) sec", output)[1])


def last_tokens_per_s() -> float:
    """The median of what pretraining reported to MLflow while it ran."""
    client = mlflow.MlflowClient("sqlite:///mlflow.db")
    experiment = client.get_experiment_by_name("panther_pipeline")
    run = client.search_runs([experiment.experiment_id], max_results=1)[0]
    name = next(name for name in run.data.metrics if name.endswith("tokens_per_s"))
    values = sorted(point.value for point in client.get_metric_history(run.info.run_id, name))
    return values[len(values) // 2]


def main() -> None:
    data_root = str(Path(sys.argv[1]).resolve())
    seconds, peak_gb = {}, {}
    for name, pipelines in STAGES.items():
        seconds[name] = run_stage(pipelines, data_root)
        # The largest child so far: a smaller later stage shows the earlier one's peak.
        peak_gb[name] = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, 2)
    record = {
        "rows": ROWS,
        "data_s": seconds["data"],
        "data_rows_per_s": round(ROWS / seconds["data"]),
        "data_peak_gb": peak_gb["data"],
        "pretrain_s": seconds["pretrain"],
        "pretrain_tokens_per_s": round(last_tokens_per_s()),
        "peak_gb": peak_gb["pretrain"],
    }
    write_result("handbook", record)


if __name__ == "__main__":
    main()
