"""The share of a teacher's lead that its student has."""

import numpy as np
import pytest

from panther_pipeline.metrics.distillation import PLAIN, STUDENT, TEACHER, measure_gap_recovered

METRIC = "average_precision"


def make(plain: float, teacher: float, student: float, spread: float = 0.001):
    """Values, and resamples that vary together and a little apart."""
    values = {(PLAIN, METRIC): plain, (TEACHER, METRIC): teacher, (STUDENT, METRIC): student}
    rng = np.random.default_rng(0)
    common_S = rng.normal(0, 0.05, 400)
    return values, {key: value + common_S + rng.normal(0, spread, 400) for key, value in values.items()}


def test_share_is_the_students_part_of_the_lead():
    share, share_S = measure_gap_recovered(*make(0.5, 0.6, 0.53), "test")
    assert share == pytest.approx(0.3)
    assert np.quantile(share_S, 0.025) < 0.3 < np.quantile(share_S, 0.975)
    assert share_S.std() < 0.1  # what varies together cancels


def test_student_below_the_plain_head_has_a_negative_share():
    assert measure_gap_recovered(*make(0.5, 0.6, 0.45), "test")[0] == pytest.approx(-0.5)


@pytest.mark.parametrize("teacher", [0.5, 0.4])
def test_no_share_of_a_lead_that_is_none(teacher, caplog):
    assert measure_gap_recovered(*make(0.5, teacher, 0.6), "test") is None
    assert "is not better than panther_head" in caplog.text


def test_lead_that_may_be_none_gives_a_share_without_bounds():
    share, share_S = measure_gap_recovered(*make(0.5, 0.51, 0.505, spread=0.02), "test")
    assert share == pytest.approx(0.5)
    assert np.isnan(share_S).all()


def test_nothing_is_measured_unless_all_three_are_there():
    values, resampled = make(0.5, 0.6, 0.55)
    del resampled[TEACHER, METRIC]
    assert measure_gap_recovered(values, resampled, "test") is None
