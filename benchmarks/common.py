"""Where results go, and what they say about where they come from."""

import json
import os
import platform
import resource
from pathlib import Path
from typing import Any

from panther_pipeline.code_version import describe_machine, read_code_version
from panther_pipeline.publish import publish_json

ROOT = Path(__file__).resolve().parents[1]


def write_result(bench: str, record: dict[str, Any]) -> None:
    """Print the record and publish it as benchmarks/results/<bench>_<machine>_<cores>cores.json."""
    code = read_code_version(ROOT)
    record = {
        "bench": bench,
        **record,
        "machine": describe_machine(record.get("gpu")),
        "commit": code["commit"] + (" with local changes" if code["changed"] == "true" else ""),
        "versions": {name: value for name, value in code.items() if name.startswith("version.")},
    }
    publish_json(ROOT / "benchmarks" / "results" / f"{bench}_{platform.machine()}_{os.cpu_count()}cores.json", record)
    print(json.dumps(record))


def peak_gb() -> float:
    """The largest resident set of this process so far, in GiB.

    From the kernel's own record where there is one: `ru_maxrss` of a child begins with the memory its parent had when
    it was started.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    kib = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
    return round((kib or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 2**20, 2)
