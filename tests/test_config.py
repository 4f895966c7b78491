"""A parameter block refuses what it does not know, and says what it knows."""

import pytest
from pydantic import ValidationError

from panther_pipeline.config import Config


class Block(Config):
    num_layers: int
    dim: int = 4


def test_misspelt_key_names_the_nearest_and_all_allowed():
    message = r"'layers' \(did you mean 'num_layers'\?\); allowed keys: num_layers, dim"
    with pytest.raises(ValidationError, match=message):
        Block(layers=3)


@pytest.mark.parametrize("value", ["four", "4", 4.5, True, None])
def test_wrong_type_is_not_converted(value):
    with pytest.raises(ValidationError, match="num_layers"):
        Block(num_layers=value)


def test_block_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Block(num_layers=1).dim = 5
