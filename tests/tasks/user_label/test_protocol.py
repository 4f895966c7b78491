"""Who is fitted on and who is judged."""

import logging

import numpy as np
import pytest
from pydantic import ValidationError

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.tasks.user_label.protocol import ProtocolConfig, divide_labels, draw_folds

FOLDS = {"kind": "repeated_folds", "num_folds": 4, "num_repeats": 3, "fit_before": None, "known_after_days": None}
TIME = {"kind": "time", "num_folds": None, "num_repeats": None, "fit_before": "2024-01-21", "known_after_days": 5.0}


def protocol(**values) -> ProtocolConfig:
    return ProtocolConfig(**values, seed=0)


def test_every_label_is_judged_once_per_repeat_by_a_model_of_others(drawn_labels):
    divisions = divide_labels(drawn_labels(30, 9), protocol(**FOLDS))
    assert [d.repeat for d in divisions] == [0] * 4 + [1] * 4 + [2] * 4
    for repeat in range(3):
        judged = np.concatenate([d.judged for d in divisions if d.repeat == repeat])
        assert sorted(judged) == list(range(30))
    assert all(sorted([*d.fit, *d.judged]) == list(range(30)) for d in divisions)
    assert not np.array_equal(divisions[0].judged, divisions[4].judged)


def test_positives_are_spread_evenly(drawn_labels):
    labels = drawn_labels(30, 9)
    positives = [labels["label"].gather(d.judged).sum() for d in divide_labels(labels, protocol(**FOLDS))]
    assert set(positives) == {2, 3}


def test_labels_of_one_user_are_never_on_both_sides(label_table):
    labels = label_table([(f"u{u}", day, int(u < 6 and day == 40)) for u in range(20) for day in (10, 40)])
    divisions, users = divide_labels(labels, protocol(**FOLDS | {"num_repeats": 1})), labels["user_id"]
    assert all(not set(users.gather(d.fit)) & set(users.gather(d.judged)) for d in divisions)
    assert sorted(np.concatenate([d.judged for d in divisions])) == list(range(40))


def test_folds_are_those_of_the_seed(drawn_labels):
    labels = drawn_labels(30, 9)
    label_L = labels["label"].to_numpy()
    first, again, other = (draw_folds(labels["user_id"], label_L, 4, seed)[0][1].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_time_judges_later_labels_by_those_known_before(drawn_labels):
    # Label u is as of 2024-01-01 + u days; known five days later; the border is day 20.
    (division,) = divide_labels(drawn_labels(30, 20), protocol(**TIME))
    assert division.fit.tolist() == list(range(15))
    assert division.judged.tolist() == list(range(20, 30))


@pytest.mark.parametrize("border", ["2023-06-01", "2024-01-01", "2024-01-31"])
def test_border_outside_the_labels_says_when_they_are(drawn_labels, border):
    with pytest.raises(ConfigurationError, match=r"2024-01-01 to 2024-01-30\. Set it between"):
        divide_labels(drawn_labels(30, 20), protocol(**TIME | {"fit_before": border}))


def test_fewer_positives_than_folds_make_fewer_folds(drawn_labels, caplog):
    with caplog.at_level(logging.WARNING):
        divisions = divide_labels(drawn_labels(30, 3), protocol(**FOLDS))
    assert len(divisions) == 3 * 3
    assert "3 users: they make 3 folds, not the 4" in caplog.text


@pytest.mark.parametrize("num_positive", [0, 1, 2, 30])
def test_class_too_rare_to_fit_on_is_one_warning(drawn_labels, caplog, num_positive):
    with caplog.at_level(logging.WARNING):
        assert divide_labels(drawn_labels(30, num_positive), protocol(**FOLDS)) == []
    assert len(caplog.records) == 1
    assert "nothing is fitted" in caplog.text


def test_one_class_before_the_border_is_one_warning(label_table, caplog):
    labels = label_table([(f"u{day}", day, int(day > 18)) for day in range(30)])
    with caplog.at_level(logging.WARNING):
        assert divide_labels(labels, protocol(**TIME)) == []
    assert "0 users to fit on (known before 2024-01-21)" in caplog.text


def test_ledger_without_labels_is_one_warning(label_table, caplog):
    with caplog.at_level(logging.WARNING):
        assert divide_labels(label_table([]), protocol(**TIME)) == []
    assert [r.message for r in caplog.records] == [
        "This ledger has no labels of users (ledger.schema.user_labels): nothing is fitted on them."
    ]


def test_keys_of_the_other_kind_are_refused():
    with pytest.raises(ValidationError, match="does not read fit_before and known_after_days: set to null"):
        protocol(**TIME | FOLDS | {"fit_before": "2024-01-01", "known_after_days": 1.0})
    with pytest.raises(ValidationError, match="kind time needs fit_before and known_after_days"):
        protocol(**FOLDS | {"kind": "time"})
    with pytest.raises(ValidationError, match="fit_before"):
        protocol(**TIME | {"fit_before": "next year"})
