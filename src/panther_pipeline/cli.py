"""`kedro run` of this project: an error that a user can mend ends as its sentence, not as a stack trace."""

import copy
import functools
import logging
from typing import Any

import click
from kedro.framework.cli.project import run as _stock_run
from kedro.framework.cli.utils import KedroCliError
from kedro.io import DatasetError
from kedro.validation.exceptions import ParameterValidationError

from panther_pipeline.errors import PantherError

_FOR_PEOPLE = (PantherError, ParameterValidationError, DatasetError)


@click.group(name=__file__)
def cli() -> None:
    """Commands of this project, beside Kedro's own."""


def _say_it_in_a_sentence(run: Any) -> Any:
    @functools.wraps(run)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except KedroCliError:
            raise
        except Exception as error:
            cause = _for_people(error)
            if cause is None:
                raise
            logging.getLogger(__name__).debug("the whole story", exc_info=error)
            raise click.ClickException(str(cause)) from error

    return guarded


def _for_people(error: BaseException | None) -> BaseException | None:
    """The innermost error of the chain that was written for a user: Kedro wraps it when a dataset raises it."""
    found = None
    while error is not None:
        if isinstance(error, _FOR_PEOPLE):
            found = error
        error = error.__cause__
    return found


run = copy.copy(_stock_run)
run.callback = _say_it_in_a_sentence(_stock_run.callback)
cli.add_command(run)
