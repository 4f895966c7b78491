"""P36: nothing that can execute code is ever loaded.

(a) an audit hook that refuses `pickle.find_class` while every artifact of a finished run is loaded and events are
scored; (b) the lint that bans pickle and its relatives, seen refusing; (c) only inert formats on disk; (d) what
serves imports neither MLflow nor Kedro nor joblib (pyarrow imports cloudpickle by itself; the hook shows it unused).
"""

import subprocess
import sys
import textwrap

import pytest

# The online store is an LMDB file (.mdb): pages of keys and values, which nothing executes.
INERT = {".parquet", ".arrow", ".json", ".safetensors", ".html", ".mdb", ".mdb-lock"}

LOAD_EVERYTHING = """
import sys
from pathlib import Path

def refuse(event, arguments):
    if event == "pickle.find_class":
        raise RuntimeError(f"pickle looked for {arguments}")

sys.addaudithook(refuse)

import numpy as np
import polars as pl
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.online.load import ScorerArtifacts, load_scorer
from panther_pipeline.scoring.head import FraudHead
from panther_pipeline.tasks.next_value.head import NextValueHeads
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer

data = Path(sys.argv[1])
tokenizer = Tokenizer.load(data / "04_feature/test/tokenizer.json")
sequences = TokenSequences.load(data / "05_model_input/test/token_sequences")
backbone = Backbone.load(data / "06_models/test/backbone")
load_scorer(ScorerArtifacts.of_ledger(data, "test")).close()
head = FraudHead.load(data / "07_model_output/test/fraud_head")
FraudHead.load(data / "07_model_output/test/distilled_head")
NextValueHeads.load(data / "07_model_output/test/next_value_heads")
for path in data.rglob("*.parquet"):
    pl.read_parquet(path)
rng = np.random.default_rng(0)
features = rng.normal(size=(1000, len(head.feature_names))).astype("float32")
scores = head.score(features, np.zeros((1000, head.embedding_dim), "float32"), np.zeros((1000, 3), "float32"))
assert np.isfinite(scores).all() and len(scores) == 1000
SABOTAGE
loaded = {name.partition(".")[0] for name in sys.modules}
print("SERVES WITHOUT", sorted({"mlflow", "kedro", "joblib", "sklearn"} - loaded))
"""


def load_everything(folder, sabotage=""):
    script = textwrap.dedent(LOAD_EVERYTHING).replace("SABOTAGE", sabotage)
    command = [sys.executable, "-c", script, str(folder / "data")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_artifact_loads_and_scores_without_pickle(finished_project):
    result = load_everything(finished_project)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "SERVES WITHOUT ['joblib', 'kedro', 'mlflow', 'sklearn']" in result.stdout
    print("\nP36 0 pickles while loading all artifacts and scoring 1000 events / 0")


def test_audit_hook_notices_a_pickle(finished_project):
    result = load_everything(finished_project, "import pickle, pathlib; pickle.loads(pickle.dumps(pathlib.PurePath))")
    assert result.returncode != 0
    assert "pickle looked for" in result.stderr


def test_only_inert_formats_are_on_disk(finished_project):
    files = [p for p in (finished_project / "data").rglob("*") if p.is_file() and p.name != ".gitkeep"]
    assert len(files) > 20
    locks = [p for p in files if p.suffix == ".lock"]
    assert {p.stat().st_size for p in locks} <= {0}  # held, never read
    assert {p.suffix for p in set(files) - set(locks)} <= INERT


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "import joblib",
        "from cloudpickle import dumps",
        "import torch\nx = torch.load('f')",
        "import numpy as np\nx = np.load('f', allow_pickle=True)",
        "import yaml\nx = yaml.load('f')",
        "x = eval('1')",
        "exec('1')",
    ],
)
def test_lint_refuses_code_that_loads_code(project_root, line):
    command = [sys.executable, "-m", "ruff", "check", "--stdin-filename", "src/panther_pipeline/x.py", "-"]
    result = subprocess.run(command, cwd=project_root, input=line + "\n", capture_output=True, text=True, check=False)
    assert any(code in result.stdout for code in ("TID251", "S301", "S307", "S102", "S506", "NPY")), result.stdout
