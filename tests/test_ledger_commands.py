"""`kedro ledger draft` on the command line."""

from click.testing import CliRunner

from panther_pipeline.cli import cli

TABLE = "customer,day,amount\n" + "".join(f"c{i % 30},2024-0{i % 9 + 1}-11,{i % 13}.50\n" for i in range(900))


def draft(*arguments: str):
    return CliRunner().invoke(cli, ["ledger", "draft", *arguments])


def test_draft_writes_two_files_and_says_what_to_do_next(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pay.csv").write_text(TABLE)
    result = draft("pay.csv", "--name", "mine")
    assert result.exit_code == 0, result.output
    assert sorted(file.name for file in (tmp_path / "conf" / "mine").iterdir()) == [
        "catalog.yml",
        "parameters_ledger.yml",
    ]
    assert "filepath: pay.csv" in (tmp_path / "conf" / "mine" / "catalog.yml").read_text()
    assert "user_id       customer" in result.output
    assert "kedro run --env=mine --pipelines=ingest,validate" in result.output
    assert "Not sure, please look:" in result.output


def test_second_draft_needs_force(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pay.csv").write_text(TABLE)
    draft("pay.csv", "--name", "mine")
    result = draft("pay.csv", "--name", "mine")
    assert result.exit_code == 1
    assert "exists already" in result.output
    assert draft("pay.csv", "--name", "mine", "--force").exit_code == 0


def test_unreadable_file_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = draft("nothing.csv", "--name", "mine")
    assert result.exit_code == 1
    assert result.output.strip() == "Error: There is no file nothing.csv. Check the path."
