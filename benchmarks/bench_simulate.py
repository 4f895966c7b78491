"""How fast a ledger is simulated, text formatting included: one JSON line.

Run on one core: `OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 python benchmarks/bench_simulate.py`.
Seconds of processor time are printed too, since wall time means little on a busy machine.
"""

import argparse
import os
import resource
import time

from common import write_result
from panther_pipeline.ledger.simulator import SimulationConfig, simulate_ledger


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=6700)  # about a million rows in half a year
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    config = SimulationConfig(num_users=args.users, start="2024-01-01", end="2024-07-01", seed=args.seed)
    wall, cpu = time.perf_counter(), time.process_time()
    rows = simulate_ledger(config).transactions.height
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    record = {
        "rows": rows, "users": args.users, "wall_s": round(wall, 2),
        "cpu_s": round(cpu, 2), "rows_per_s": round(rows / wall), "rows_per_cpu_s": round(rows / cpu),
        "peak_memory_mb": round(peak),
        "polars_threads": os.environ.get("POLARS_MAX_THREADS", "default"), "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip
    write_result("simulate", record)


if __name__ == "__main__":
    main()
