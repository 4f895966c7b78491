"""The flat metric record."""

import json

import pytest

from panther_pipeline.errors import PantherError
from panther_pipeline.metrics.records import FIELDS, find_value, make_record

RECORD = {"task": "fraud", "model": "panther_head", "metric": "roc_auc", "split": "test", "n": 10}


def test_record_has_the_declared_fields_in_order_and_survives_json():
    record = make_record(**RECORD, value=0.5, low=None, high=0.75)
    assert tuple(record) == FIELDS
    assert json.loads(json.dumps(record, allow_nan=False)) == record


@pytest.mark.parametrize("field", ["value", "low", "high"])
def test_record_refuses_a_number_that_is_not_finite(field):
    numbers = {"value": 0.5, "low": 0.4, "high": 0.6, field: float("nan")}
    with pytest.raises(PantherError, match=rf"fraud/panther_head/roc_auc/test: {field} is not finite"):
        make_record(**RECORD, **numbers)


def test_find_value_returns_the_matching_record_or_none():
    records = [
        make_record(**{**RECORD, "split": split}, value=1, low=None, high=None) for split in ("test", "test_cold")
    ]
    assert find_value(records, split="test_cold", metric="roc_auc") is records[1]
    assert find_value(records, split="valid") is None
