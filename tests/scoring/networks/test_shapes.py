"""The shapes that are checked without torch are those that torch has."""

import pytest

from panther_pipeline.scoring.networks.build import build_network
from panther_pipeline.scoring.networks.shapes import CALIBRATION_KNOTS, weight_shapes

from .test_inference import NUM_NUMBERS, VARIANTS, WIDTH


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_shapes_are_those_of_the_network(variant):
    arrays = build_network(NUM_NUMBERS, WIDTH, variant).as_arrays()
    shapes = {name: array.shape for name, array in arrays.items() if name not in CALIBRATION_KNOTS}
    assert weight_shapes(NUM_NUMBERS, WIDTH, variant) == shapes
    assert set(CALIBRATION_KNOTS) < set(arrays)
