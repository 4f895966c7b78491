"""The command line: what a user can mend ends as one sentence."""

import click
import pytest
from click.testing import CliRunner
from kedro.config import MissingConfigException
from kedro.io import DatasetError
from kedro.validation.exceptions import ParameterValidationError
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml.parser import ParserError

from panther_pipeline import cli
from panther_pipeline.errors import SourceError
from panther_pipeline.hooks.guidance import PIPELINE_NAMES


def sentence_of(error: Exception, cause: Exception | None = None, **options) -> str:
    """What `kedro run` says when the stock command raises `error`."""

    def run(**_):
        raise error from cause

    with pytest.raises(click.ClickException) as caught:
        cli._say_it_in_a_sentence(run)(**options)
    return caught.value.message


def test_unknown_environment_lists_those_that_exist(tmp_path):
    for name in ("base", "berka", ".hidden"):
        (tmp_path / name).mkdir()
    said = sentence_of(MissingConfigException("Given path"), env="typo", conf_source=str(tmp_path))
    assert "no environment 'typo'" in said
    assert said.endswith("Choose from: base, berka.")


def test_missing_file_of_a_known_environment_is_said_as_kedro_does(tmp_path):
    (tmp_path / "base").mkdir()
    assert sentence_of(MissingConfigException("No files"), env="base", conf_source=str(tmp_path)) == "No files"


@pytest.mark.parametrize("option", ["--pipelines=typo,ingest", "--pipeline=typo"])
def test_unknown_pipeline_lists_the_allowed_names(option):
    result = CliRunner().invoke(cli.run, [option])
    assert result.exit_code == 1
    assert "no pipeline 'typo'" in result.output
    assert ", ".join(PIPELINE_NAMES) in result.output


def test_known_pipeline_names_are_handed_on():
    ran = []
    cli._say_it_in_a_sentence(lambda **options: ran.append(options))(pipelines=["__default__", *PIPELINE_NAMES])
    assert len(ran) == 1


def test_configuration_that_cannot_be_resolved_is_a_sentence():
    config = OmegaConf.create({"training": {"seed": "${nowhere}"}})
    with pytest.raises(OmegaConfBaseException) as caught:
        OmegaConf.to_container(config, resolve=True)
    said = sentence_of(caught.value)
    assert "'nowhere' not found (key training.seed). " in said
    assert said.endswith("under conf/.")
    assert "\n" not in said


def test_invalid_yaml_is_a_sentence():
    assert "no valid YAML: conf/base/a.yml, line 3" in sentence_of(ParserError("conf/base/a.yml, line 3"))


def test_invalid_yaml_is_told_with_its_file():
    said = sentence_of(ParserError("Invalid YAML file conf/base/a.yml"), ParserError("expected <block end>"))
    assert "conf/base/a.yml" in said


def test_error_of_ours_is_told_rather_than_its_cause():
    assert sentence_of(SourceError("no such ledger"), FileNotFoundError(2, "No such file", "a")) == "no such ledger"


def test_missing_permission_names_path_and_reason():
    said = sentence_of(DatasetError("Failed while saving"), PermissionError(13, "Permission denied", "data/a.json"))
    assert said.startswith("data/a.json: Permission denied.")


def test_full_disk_names_the_folder_and_the_reason():
    outer = DatasetError("Failed while saving TableDataset(filepath=PurePosixPath('data/x/.a.0.partial.parquet'))")
    assert sentence_of(outer, OSError(28, "No space left")).startswith("data/x: No space left.")
    assert sentence_of(DatasetError("Failed while saving"), OSError(28, "No space left")) == "Failed while saving"


def test_innermost_sentence_is_told():
    assert sentence_of(DatasetError("Failed while loading"), SourceError("row 3: no amount")) == "row 3: no amount"


def test_programming_error_keeps_its_stack_trace():
    def run():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli._say_it_in_a_sentence(run)()


def test_wrong_parameters_are_told_key_by_key():
    said = sentence_of(
        ParameterValidationError(
            "Parameter validation failed:\n"
            "- Parameter 'ledger.schema': Failed to instantiate LedgerSchema: 2 validation errors for LedgerSchema\n"
            "event_time.time\n"
            "  Value error, zone 'Berlin' is none [type=value_error, input_value={'a': 1}, input_type=dict]\n"
            "    For further information visit https://errors.pydantic.dev/2.14/v/value_error\n"
            "label.positive.0\n"
            "  Input should be a valid string [type=string_type, input_value=1, input_type=int]\n"
            "    For further information visit https://errors.pydantic.dev/2.14/v/string_type"
        ),
        env="mine",
    )
    assert said == (
        "Parameters that cannot be used:\n"
        "  ledger.schema.event_time: zone 'Berlin' is none\n"
        "  ledger.schema.label.positive.0: Input should be a valid string; it is 1 (int)\n"
        "Correct them in conf/mine (or base)."
    )
