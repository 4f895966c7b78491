"""Results that are committed are those of one finished run."""

import json

import pytest

from panther_pipeline.ablation.table import render_table
from panther_pipeline.errors import ArtifactError

FACTS = {
    "ledger": "unit", "command": "kedro run", "commit": "abc", "changed": "false", "version.torch": "2",
    "trained_at": [["abc", "2"]],
    "version.python": "3", "data_fingerprint": "d", "tokenizer": "t", "split": "valid", "protocol": "time",
    "num_targets": 1, "num_users": 1, "num_tokens": 3, "candidates": "all tokens", "seeds": [0], "machines": ["m"],
    "reference": "panther",
}  # fmt: skip
RESULTS = {"facts": FACTS, "variants": [], "runs": [], "metrics": []}


@pytest.fixture
def publish_results(benchmarks):
    from publish_results import publish_results

    return publish_results


@pytest.fixture
def finished(tmp_path):
    folder = tmp_path / "data/08_reporting/unit"
    folder.mkdir(parents=True)
    (folder / "ablation_results.json").write_text(json.dumps(RESULTS))
    (folder / "ablation_table.md").write_text(render_table(RESULTS))
    return tmp_path


def test_table_and_records_are_copied_under_ledger_and_split(publish_results, finished):
    table, records = publish_results("unit", finished)
    assert table == finished / "docs/results/unit_valid.md"
    assert table.read_text() == render_table(RESULTS)
    assert json.loads(records.read_text()) == RESULTS


def test_table_of_other_results_is_refused(publish_results, finished):
    (finished / "data/08_reporting/unit/ablation_table.md").write_text("# another")
    with pytest.raises(ArtifactError, match="is not the table of"):
        publish_results("unit", finished)
    assert not (finished / "docs").exists()


def test_missing_results_name_the_command(publish_results, tmp_path):
    with pytest.raises(ArtifactError, match="kedro run --pipelines=ablation"):
        publish_results("nobody", tmp_path)
