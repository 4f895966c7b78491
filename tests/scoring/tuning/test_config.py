"""The `finetuning.tuning` block."""

import pytest
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("methods", "included"), [(None, []), ("full", ["full"]), ("lora", ["lora"]), ("full+lora", ["full", "lora"])]
)
def test_methods_name_what_is_tuned(config, methods, included):
    named = config.model_copy(update={"methods": methods})
    assert [method for method in ("full", "lora") if named.includes(method)] == included


def test_unknown_method_is_refused_with_those_allowed(config):
    with pytest.raises(ValidationError, match="'full', 'lora' or 'full\\+lora'"):
        type(config)(**config.model_dump() | {"methods": "adapters"})
