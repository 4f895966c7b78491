"""`kedro run` of this project: an error that a user can mend ends as its sentence, not as a stack trace."""

import copy
import functools
import logging
import re
from pathlib import Path
from typing import Any

import click
from kedro.config import MissingConfigException
from kedro.framework.cli.project import run as _stock_run
from kedro.framework.cli.utils import KedroCliError
from kedro.io import DatasetError
from kedro.validation.exceptions import ParameterValidationError
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from panther_pipeline.errors import PantherError
from panther_pipeline.hooks.guidance import PIPELINE_NAMES
from panther_pipeline.ledger_commands import ledger
from panther_pipeline.serve_command import serve

_FOR_PEOPLE = (
    PantherError,
    ParameterValidationError,
    DatasetError,
    MissingConfigException,
    OmegaConfBaseException,
    YAMLError,
    OSError,
)


@click.group(name=__file__)
def cli() -> None:
    """Commands of this project, beside Kedro's own."""


def _say_it_in_a_sentence(run: Any) -> Any:
    @functools.wraps(run)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        _check_pipeline_names(kwargs)
        try:
            return run(*args, **kwargs)
        except KedroCliError:
            raise
        except Exception as error:
            cause = _for_people(error)
            if cause is None:
                raise
            logging.getLogger(__name__).debug("the whole story", exc_info=error)
            raise click.ClickException(_sentence(cause, kwargs)) from error

    return guarded


def _check_pipeline_names(options: dict[str, Any]) -> None:
    # Before Kedro looks: it would call a name that does not exist an error of importing it.
    asked = [*(options.get("pipelines") or []), *filter(None, [options.get("pipeline")])]
    unknown = sorted(set(asked) - {*PIPELINE_NAMES, "__default__"})
    if unknown:
        names = ", ".join(PIPELINE_NAMES)
        raise click.ClickException(
            f"There is no pipeline {', '.join(map(repr, unknown))}. Choose from: {names}; "
            "without --pipelines all but ablation and prequential run."
        )


def _for_people(error: BaseException | None) -> BaseException | None:
    """The error of the chain that says most to a user: our own innermost one, else the innermost that names a place.

    Kedro wraps what a dataset raises; the cause of our own errors is a detail.
    """
    found = None
    while error is not None:
        if isinstance(error, _FOR_PEOPLE) and (found is None or _says_more(error, found)):
            found = error
        error = error.__cause__
    return found


def _says_more(cause: BaseException, than: BaseException) -> bool:
    if isinstance(cause, PantherError) or isinstance(than, PantherError):
        return isinstance(cause, PantherError)
    if isinstance(cause, OSError):
        return bool(cause.filename)  # a full disk is reported without a file
    return not isinstance(cause, YAMLError)  # YAML's own error knows the line, Kedro's also the file


def _sentence(error: BaseException, options: dict[str, Any]) -> str:
    if isinstance(error, MissingConfigException):
        return _missing_environment(options) or str(error)
    if isinstance(error, ParameterValidationError):
        return _wrong_parameters(str(error), options)
    if isinstance(error, OmegaConfBaseException):
        what = str(error).splitlines()[0].rstrip(".")
        key = getattr(error, "full_key", None)
        where = f" (key {key})" if key else ""
        return f"The configuration cannot be resolved: {what}{where}. Correct it in the files under {_conf(options)}/."
    if isinstance(error, YAMLError):
        return f"A configuration file is no valid YAML: {error}. Correct that line, then run the same command again."
    if isinstance(error, OSError) and error.filename and error.strerror:
        return _mend(error.filename, error.strerror)
    if isinstance(error, DatasetError) and isinstance(reason := error.__cause__, OSError) and reason.strerror:
        # The dataset names a temporary file that is gone by now; its folder is the place to look at.
        file = re.search(r"filepath=\w*\(?'([^']+)'", str(error))
        return _mend(Path(file[1]).parent, reason.strerror) if file else str(error)
    return str(error)


def _wrong_parameters(text: str, options: dict[str, Any]) -> str:
    """One line per key, without what pydantic says to programmers; the text itself if it has another shape."""
    lines, parameter, place = [], "", ""
    for line in text.splitlines():
        if start := re.match(r"- Parameter '([^']+)'", line):
            parameter, place = start[1], ""
        elif fault := re.match(r"  (\S.*?) \[type=(\w+), input_value=(.*), input_type=(\w+)\]$", line):
            what = fault[1].removeprefix("Value error, ").removeprefix("Assertion failed, ")
            found = "" if fault[2] == "value_error" else f"; it is {fault[3]} ({fault[4]})"
            lines.append(f"  {parameter}{place}: {what}{found}")
        elif parameter and re.match(r"[\w.\[\]]+$", line):
            # Which of several forms a key was read as (time or order) is no part of its name.
            parts = [part for part in line.split(".") if part not in ("time", "order")]
            place = "." + ".".join(parts)
    if not lines:
        return text
    env = options.get("env") or "base"
    return "\n".join(["Parameters that cannot be used:", *lines, f"Correct them in {_conf(options)}/{env} (or base)."])


def _mend(place: Any, reason: str) -> str:
    return f"{place}: {reason}. Mend that, then run the same command again."


def _missing_environment(options: dict[str, Any]) -> str | None:
    """The sentence for an `--env` without a folder; None when something else is missing."""
    env, conf = options.get("env"), _conf(options)
    if not env or not conf.is_dir() or (conf / env).is_dir():
        return None
    names = sorted(folder.name for folder in conf.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    return f"There is no environment '{env}': the folder {conf / env} does not exist. Choose from: {', '.join(names)}."


def _conf(options: dict[str, Any]) -> Path:
    return Path(options.get("conf_source") or "conf")


run = copy.copy(_stock_run)
run.callback = _say_it_in_a_sentence(_stock_run.callback)
cli.add_command(run)
cli.add_command(ledger)
cli.add_command(serve)
