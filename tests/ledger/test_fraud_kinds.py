"""The kinds of a source's frauds."""

import polars as pl
import pytest

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.fraud_kinds import FRAUD_KINDS_SCHEMA, select_fraud_kinds

TABLE = pl.DataFrame({"payment": [7, 8, 9, 10], "scenario": [0, 2, 1, 3]})
COLUMNS = {"event_id": "payment", "kind": "scenario", "names": {"1": "stolen", "2": "leaked"}}


@pytest.mark.parametrize("table", [TABLE, TABLE.lazy()])
def test_named_kinds_are_kept_as_text_and_nothing_else(table):
    kinds = select_fraud_kinds(table, **COLUMNS)
    assert kinds.schema == FRAUD_KINDS_SCHEMA
    assert kinds.rows() == [("8", "leaked"), ("9", "stolen")]


def test_missing_column_is_named_beside_those_there_are():
    with pytest.raises(ConfigurationError, match=r"no column scenario; the source has payment"):
        select_fraud_kinds(TABLE.drop("scenario"), **COLUMNS)


def test_values_that_never_occur_are_refused_with_those_that_do():
    with pytest.raises(ConfigurationError, match=r"none of the values a, but 0, 1, 2, 3"):
        select_fraud_kinds(TABLE, **{**COLUMNS, "names": {"a": "stolen"}})
