"""What all tests share."""

import http.client
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

# Before torch is imported anywhere: two test processes on two cores must not fight over threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

PROJECT_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def project_root() -> Path:
    return PROJECT_ROOT


@pytest.fixture(scope="session")
def load_config():
    """The configuration of an environment as a run reads it; `folder` holds `conf`."""
    from panther_pipeline.settings import CONFIG_LOADER_ARGS, CONFIG_LOADER_CLASS  # slow: brings the hooks

    def load(env: str | None = "base", folder: Path = PROJECT_ROOT, **options: object):
        return CONFIG_LOADER_CLASS(str(folder / "conf"), env=env, **CONFIG_LOADER_ARGS, **options)

    return load


@pytest.fixture(scope="session")
def environments() -> list[str]:
    """Every environment that ships, `base` first; `local` is whatever its owner makes it."""
    names = sorted(path.name for path in (PROJECT_ROOT / "conf").iterdir() if path.is_dir())
    return ["base", *(name for name in names if name not in ("base", "local"))]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the public ledgers: PANTHER_SHARED_DATA, else `shared/data` beside the project."""
    folder = Path(os.environ.get("PANTHER_SHARED_DATA", PROJECT_ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"public ledgers are not at {folder}; set PANTHER_SHARED_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory, worker_id) -> Path:
    """A copy of the project in which `kedro run --env=test` has run: every stage, on a small simulated ledger.

    Test processes beside each other share one.
    """
    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        shared = shared.parent
    folder, finished = shared / "project", shared / "project.finished"
    with FileLock(shared / "project.lock"):
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a run that failed in another process left
            copy_project(folder)
            run_kedro(folder, "run", "--env=test")
            finished.touch()
    return folder


@pytest.fixture(scope="session")
def finished_run(finished_project, load_config):
    """What that run left, for what is served from it."""
    import torch

    from .finished_run import FinishedRun

    torch.set_num_threads(1)
    return FinishedRun(finished_project / "data", "test", load_config("test", finished_project)["parameters"])


CARD_KEY = "5d1c9e07b84af2366a90d3fe2175c8ab04e6b9f31d827c50a1fe93b64c08d72e"


@pytest.fixture
def card_key(monkeypatch):
    """A key for card numbers is set; the key."""
    from panther_pipeline.cards.keys import KEY_VARIABLE, read_card_key

    monkeypatch.setenv(KEY_VARIABLE, CARD_KEY)
    return read_card_key()


def copy_project(folder: Path) -> None:
    """Configuration and source of the project, to run in a folder of its own."""
    shutil.copytree(PROJECT_ROOT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
    (folder / "conf" / "local").mkdir()
    shutil.copy(PROJECT_ROOT / "pyproject.toml", folder)
    shutil.copytree(PROJECT_ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))


def run_kedro(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    """The command line as a user types it, in `folder`."""
    command = [sys.executable, "-m", "kedro", *arguments]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert not check or result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result


@pytest.fixture(scope="session")
def kedro_command():
    return run_kedro


@pytest.fixture(scope="session")
def benchmarks(project_root) -> Iterator[Path]:
    """Folder of the scripts, which import each other by name."""
    folder = project_root / "benchmarks"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


@pytest.fixture(scope="session")
def fake_serving():
    """The module of a scorer known by heart; as a program it is the whole service around it."""
    return _load_module("fake_scorer")


@pytest.fixture(scope="session")
def open_loop():
    """The module of a client that sends at a constant rate, whatever comes back."""
    return _load_module("open_loop")


def _load_module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, PROJECT_ROOT / "tests" / "serving" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look for their module there
    spec.loader.exec_module(module)
    return module


@dataclass(kw_only=True)
class ServiceProcess:
    """A running service: where it listens, and what it wrote."""

    process: subprocess.Popen
    port: int
    log: Path

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer, over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            if body is not None and not isinstance(body, bytes):
                body = json.dumps(body).encode()
            headers = {"Content-Type": "application/json", **headers} if body is not None else headers
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def status(self, path: str = "/readyz") -> int | None:
        """Status of a GET; None while nobody listens."""
        try:
            return self.ask("GET", path)[0]
        except OSError:
            return None

    def wait_until(self, status: int, path: str = "/readyz", seconds: float = 60) -> None:
        """Wait for a status."""
        until = time.monotonic() + seconds
        while (seen := self.status(path)) != status:
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            assert time.monotonic() < until, f"{path} is {seen}, not {status}"
            time.sleep(0.05)


@pytest.fixture
def start_service(fake_serving, tmp_path):
    """Starts the service around the fake scorer as a process; options as of its command line."""
    started = []

    def start(*options: str, ready: bool = True, key: str | None = None, **config: Any) -> ServiceProcess:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = tmp_path / f"service{len(started)}.log"
        command = [sys.executable, fake_serving.__file__, "--config", json.dumps({"port": port} | config), *options]
        environment = {name: value for name, value in os.environ.items() if name != "PANTHER_API_KEY"}
        environment |= {"PANTHER_API_KEY": key} if key else {}
        with log.open("w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
        started.append(process)
        service = ServiceProcess(process=process, port=port, log=log)
        if ready:
            service.wait_until(200)
        return service

    yield start
    for process in started:
        process.kill()
        process.wait()
