"""The model that MLflow loads gives the scorer's own decisions, without a pickle and without a trace on disk."""

import pickle
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from panther_pipeline.errors import SourceError
from panther_pipeline.mlflow_model.model import open_scorer, score_frame

LOAD = """
import sys

import mlflow.pyfunc

model = mlflow.pyfunc.load_model(sys.argv[1])
assert len(model.predict(model.input_example)) == 1
loaded = {name.partition(".")[0] for name in sys.modules}
print("LOADS WITHOUT", sorted({"kedro", "kedro_mlflow"} - loaded))
"""


@pytest.fixture
def pickles():
    """Refuses pickles in this thread while the test runs: a hook cannot be taken off again, but it can sleep."""
    state = {"thread": threading.get_ident()}

    def refuse(event, arguments):
        if event == "pickle.find_class" and state["thread"] == threading.get_ident():
            raise RuntimeError(f"pickle looked for {arguments}")

    sys.addaudithook(refuse)
    yield
    state["thread"] = None


@pytest.fixture(scope="module")
def model(saved_model):
    return mlflow.pyfunc.load_model(str(saved_model))


@pytest.fixture(scope="module")
def scorer(finished_run):
    opened = open_scorer(finished_run.artifacts)
    yield opened
    opened.close()


def test_model_scores_as_the_scorer(model, scorer, sent_events, to_frame):
    answered = model.predict(to_frame(sent_events))
    decisions = scorer.score(sent_events)
    assert len(answered) == len(decisions) == 50
    for row, decision in zip(answered.to_dict("records"), decisions, strict=True):
        wanted = {name: value for name, value in asdict(decision).items() if name in row}
        numbers = {name for name, value in wanted.items() if isinstance(value, float)}
        assert numbers == {"probability", "surprise", "surprise_z", "cosine"}
        assert all(abs(row[name] - wanted[name]) <= 1e-12 for name in numbers)
        assert {k: v for k, v in row.items() if k not in numbers} == {
            k: v for k, v in wanted.items() if k not in numbers
        }
    assert answered["probability"].nunique() > 10
    assert answered["is_new_user"].tolist() == [False] * 49 + [True]


def test_model_loads_and_scores_without_a_pickle(pickles, saved_model, scorer, sent_events, to_frame):
    answered = mlflow.pyfunc.load_model(str(saved_model)).predict(to_frame(sent_events))
    wanted = [decision.probability for decision in scorer.score(sent_events)]
    assert answered["probability"].tolist() == pytest.approx(wanted, abs=1e-12)
    with pytest.raises(RuntimeError, match="pickle looked for"):  # the hook is awake
        pickle.loads(pickle.dumps(Path))


@pytest.mark.slow
def test_model_loads_without_kedro(saved_model):
    command = [sys.executable, "-c", LOAD, str(saved_model)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "LOADS WITHOUT ['kedro', 'kedro_mlflow']" in result.stdout


def test_model_writes_nothing_where_it_lies(saved_model, model, sent_events, to_frame):
    before = {path: path.stat().st_mtime_ns for path in (saved_model / "artifacts").rglob("*")}
    model.predict(to_frame(sent_events))
    assert {path: path.stat().st_mtime_ns for path in (saved_model / "artifacts").rglob("*")} == before


def test_model_explains_when_asked(model, scorer, sent_events, to_frame):
    answered = model.predict(to_frame(sent_events), params={"explain": True})
    decisions = scorer.score(sent_events, explain=True)
    assert answered["expected"].tolist() == [[asdict(e) for e in d.expected] for d in decisions]
    assert answered["reasons"].tolist() == [[asdict(r) for r in d.reasons] for d in decisions]
    assert any(answered["expected"])


def test_events_of_a_call_do_not_see_each_other(model, sent_events, to_frame):
    together = model.predict(to_frame(sent_events[:5]))
    alone = pd.concat([model.predict(to_frame([event])) for event in reversed(sent_events[:5])])
    pd.testing.assert_frame_equal(together, alone[::-1].reset_index(drop=True), rtol=0, atol=1e-6)


def test_wrong_row_of_a_frame_is_named(model, sent_events, to_frame):
    frame = to_frame(sent_events[:3])
    frame.loc[2, "amount"] = "12,50"
    with pytest.raises(SourceError, match=r"row 2 .*column amount"):
        model.predict(frame)


def test_float_amounts_and_misspelt_columns_are_refused(model, sent_events, to_frame):
    frame = to_frame(sent_events[:3])
    with pytest.raises(MlflowException, match="Incompatible input types for column amount"):
        model.predict(frame.assign(amount=[1.0, 2.0, 3.0]))
    with pytest.raises(MlflowException, match="missing inputs"):
        model.predict(frame.rename(columns={"channel": "chanel"}))


def test_event_too_old_to_be_judged_is_named(scorer, finished_run, sent_events, to_frame):
    (old,) = finished_run.events_from("2024-01-05", 1)[1]
    with pytest.raises(SourceError, match=r"row 1 .*column event_time: older .*as of 2024-12-31T"):
        score_frame(scorer, to_frame([sent_events[0], old, sent_events[1]]))
