"""Log records and last words without card numbers, whoever writes them and whatever an exception quotes."""

import logging
import sys
import traceback
from types import TracebackType
from typing import Any

from panther_pipeline.cards.numbers import mask_card_numbers


class MaskedRecord(logging.LogRecord):
    """Masks its message and the text of its exception, before any handler sees either."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.exc_info and self.exc_info[0]:
            self.exc_text = mask_card_numbers("".join(traceback.format_exception(*self.exc_info)).rstrip())

    def getMessage(self) -> str:
        return mask_card_numbers(super().getMessage())


def mask_process_output() -> None:
    """From here on every log record of this process is masked, and so is the exception that ends it."""
    logging.setLogRecordFactory(MaskedRecord)
    sys.excepthook = _show_masked


def _show_masked(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """As Python shows an exception that nobody caught: polars quotes cells in its own."""
    sys.stderr.write(mask_card_numbers("".join(traceback.format_exception(kind, error, trace))))
