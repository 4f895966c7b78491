"""`mlflow models serve` answers with the scorer's own scores."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from panther_pipeline.mlflow_model.model import open_scorer


@pytest.fixture
def served(saved_model, tmp_path):
    """Port of a server on a copy of the model, on this machine alone."""
    model = shutil.copytree(saved_model, tmp_path / "scorer")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(model), "--env-manager", "local"]
    scripts = os.path.dirname(sys.executable)  # where MLflow looks for uvicorn, also if nobody activated it
    environment = os.environ | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/m.db",
        "PATH": os.pathsep.join([scripts, os.environ["PATH"]]),
    }
    log = tmp_path / "serve.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=tmp_path, env=environment, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(port, process, log)
        yield port
    finally:
        os.killpg(process.pid, 15)  # the command and the server it started: a process group of their own
        process.wait(timeout=30)


def wait_for(port, process, log, seconds=180):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    pytest.fail(log.read_text()[-3000:])


def ask(port, body) -> tuple[int, dict]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.slow
def test_mlflow_serves_the_same_score(served, finished_run, sent_events, to_frame):
    frame = to_frame(sent_events)
    scorer = open_scorer(finished_run.artifacts)
    wanted = scorer.score(sent_events, explain=True)
    scorer.close()
    for form in ("split", "records"):
        status, answer = ask(served, {f"dataframe_{form}": json.loads(frame.to_json(orient=form))})
        assert status == 200, answer
        rows = answer["predictions"]
        assert [row["event_id"] for row in rows] == [d.event_id for d in wanted]
        for name in ("probability", "surprise", "surprise_z", "cosine"):
            assert [row[name] for row in rows] == pytest.approx([getattr(d, name) for d in wanted], abs=1e-12)

    body = {"dataframe_split": json.loads(frame[:1].to_json(orient="split"))}
    status, answer = ask(served, body | {"params": {"explain": True}})
    assert status == 200, answer
    assert [reason["what"] for reason in answer["predictions"][0]["reasons"]] == [r.what for r in wanted[0].reasons]

    status, answer = ask(
        served, {"dataframe_records": [json.loads(frame[:1].to_json(orient="records"))[0] | {"amount": 1.5}]}
    )
    assert status == 400, answer
    assert "column amount" in json.dumps(answer)
