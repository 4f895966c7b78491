"""Wrong windows, quantiles and thresholds are refused, all at once."""

import pytest
from pydantic import ValidationError

from panther_pipeline.tasks.merchant_risk.config import MerchantRiskConfig


def test_all_problems_are_reported_at_once(config):
    wrong = config.model_dump() | {"windows_days": [7, 0], "quantiles_percent": [50, 100], "thresholds": [3.0, 3.0]}
    with pytest.raises(ValidationError) as error:
        MerchantRiskConfig(**wrong)
    for part in ("windows_days must be ascending", "days >= 1", "between 0 and 100", "thresholds must be ascending"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"), [("trim_share", 0.5), ("horizon_days", 0), ("windows_days", []), ("fit_start", "soon")]
)
def test_value_out_of_range_is_refused(config, key, value):
    with pytest.raises(ValidationError, match=key):
        MerchantRiskConfig(**config.model_dump() | {key: value})
