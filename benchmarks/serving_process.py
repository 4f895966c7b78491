"""The service as a process, what it takes of the machine, and loads upon it from another process."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import ROOT
from panther_pipeline.online.load import ScorerArtifacts

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PATIENCE_S = 120.0


@dataclass(frozen=True, kw_only=True)
class RunningService:
    """A service that is ready."""

    process: subprocess.Popen
    port: int
    start_s: float  # from exec to the first 200 of /readyz

    def cpu_s(self) -> float:
        """Processor seconds of all its threads so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def memory_mb(self) -> dict[str, float]:
        """Resident set: all of it, and apart what is its own and what is pages of files that are mapped."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "Rss"))}
        return {name: round(kib[name] / 1024, 1) for name in ("VmRSS", "RssAnon", "RssFile")}

    def wait_until_warm(self) -> None:
        """Until torch is imported, which a service does beside the first requests."""
        until = time.monotonic() + _PATIENCE_S
        while b"panther_warm 1.0" not in _get(self.port, "/metrics")[1]:
            if time.monotonic() > until:
                raise RuntimeError("the service does not build its model")
            time.sleep(0.1)

    def load(self, requests: Path, *options: str) -> dict[str, Any]:
        """A load of `serving_load.py`, and the processor seconds that the service took for it."""
        command = [sys.executable, str(ROOT / "benchmarks" / "serving_load.py"), str(self.port), str(requests)]
        before_s = self.cpu_s()
        result = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"the client failed:\n{result.stderr[-2000:]}")
        return {**json.loads(result.stdout), "service_cpu_s": round(self.cpu_s() - before_s, 2)}


@contextmanager
def serve(artifacts: ScorerArtifacts, settings: dict[str, Any], log: Path) -> Iterator[RunningService]:
    """The service of these artifacts, ended with SIGTERM.

    Raises:
        RuntimeError: it ended, or is not ready within two minutes; with the end of its log.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    parts = [f"--{name}={path}" for name, path in vars(artifacts).items()]
    command = [sys.executable, "-m", "panther_pipeline.serving", *parts, f"--settings={json.dumps(settings)}"]
    environment = {name: value for name, value in os.environ.items() if name != "PANTHER_API_KEY"}
    with log.open("w") as out:
        start = time.perf_counter()
        process = subprocess.Popen([*command, f"--port={port}"], stdout=out, stderr=out, env=environment)
    try:
        _wait_until_ready(process, port, log)
        yield RunningService(process=process, port=port, start_s=time.perf_counter() - start)
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen, port: int, log: Path) -> None:
    until = time.monotonic() + _PATIENCE_S
    while _get(port, "/readyz")[0] != 200:
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"the service is not ready:\n{log.read_text()[-2000:]}")
        time.sleep(0.01)


def _get(port: int, path: str) -> tuple[int | None, bytes]:
    """Status and body; no status where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return None, b""
    finally:
        connection.close()
