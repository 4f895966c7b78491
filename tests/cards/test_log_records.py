"""Nothing that is logged holds a card number."""

import importlib
import io
import logging
import sys

import polars as pl
import pytest

from panther_pipeline.cards.log_records import MaskedRecord, mask_process_output
from panther_pipeline.errors import SourceError

CARD = "4111111111111111"


@pytest.fixture
def factory():
    """Whatever makes records after a test made them before it."""
    before, hook = logging.getLogRecordFactory(), sys.excepthook
    yield
    logging.setLogRecordFactory(before)
    sys.excepthook = hook


@pytest.fixture
def written(factory):
    """A logger, and what it wrote."""
    out, logger = io.StringIO(), logging.getLogger("masked")
    handler = logging.StreamHandler(out)
    mask_process_output()
    logger.addHandler(handler)
    yield logger, out
    logger.removeHandler(handler)


def test_message_and_its_arguments_are_masked(written):
    logger, out = written
    logger.error("row %s of %d", {"user": CARD}, int(CARD))
    assert out.getvalue() == "row {'user': '[card number]'} of [card number]\n"


def test_exceptions_of_others_are_masked(written):
    logger, out = written
    try:
        int(f"{CARD} ")
        raise KeyError(CARD)
    except KeyError:
        logger.exception("failed")
    assert "KeyError: '[card number]'" in out.getvalue()
    assert CARD not in out.getvalue()


def test_errors_for_people_are_masked_themselves():
    assert str(SourceError(f"a.csv, line 3: {CARD}")) == "a.csv, line 3: [card number]"
    assert SourceError(CARD, 7).args == ("[card number]", 7)


def test_every_run_masks_its_records_and_last_words(factory, capsys):
    logging.setLogRecordFactory(logging.LogRecord)
    sys.excepthook = sys.__excepthook__
    importlib.reload(importlib.import_module("panther_pipeline.settings"))
    assert logging.getLogRecordFactory() is MaskedRecord
    with pytest.raises(pl.exceptions.PolarsError, match=CARD) as caught:
        pl.Series([CARD]).cast(pl.Int8)
    sys.excepthook(caught.type, caught.value, caught.tb)
    shown = capsys.readouterr().err
    assert "InvalidOperationError" in shown
    assert "[card number]" in shown
    assert CARD not in shown
