"""Settings chosen on the calibration rows."""

import numpy as np
import pytest
from pydantic import ValidationError

from panther_pipeline.scoring.fit import fit_fraud_head
from panther_pipeline.scoring.search import fit_seeds
from panther_pipeline.scoring.task import CALIBRATION
from panther_pipeline.scoring.trees import fit_tree_baselines


@pytest.fixture
def searching(tree_config):
    changes = [{"learning_rate": 0.1}, {"learning_rate": 0.2}, {"learning_rate": 0.3}]
    return type(tree_config).model_validate(tree_config.model_dump() | {"search": changes})


def test_search_keeps_the_best_on_the_calibration_rows(task, searching):
    def score(setting):
        # Right about the calibration rows with the second setting; right about all others with the third.
        is_right = np.zeros(len(task.part_R), dtype=bool)
        if setting.learning_rate == 0.2:
            is_right = task.part_R == CALIBRATION
        if setting.learning_rate == 0.3:
            is_right = task.part_R != CALIBRATION
        return np.where(is_right, task.label_R, 1 - task.label_R)

    fits = fit_seeds("trees", searching, task, lambda setting, seed: setting, score)
    assert [setting.learning_rate for setting in fits] == [0.2] * len(searching.seeds)


def test_search_keeps_the_earlier_one_of_equals(task, searching):
    fits = fit_seeds("trees", searching, task, lambda setting, seed: setting, lambda _: np.zeros(len(task.part_R)))
    assert fits[0].learning_rate == 0.1


def test_each_setting_is_fitted_once_and_the_kept_one_with_every_other_seed(task, searching):
    fitted = []
    config = searching.model_copy(update={"seeds": [3, 5, 7]})
    fits = fit_seeds(
        "trees", config, task, lambda setting, seed: fitted.append((setting.learning_rate, seed)) or seed,
        lambda _: np.zeros(len(task.part_R)),
    )  # fmt: skip
    assert fitted == [(0.1, 3), (0.2, 3), (0.3, 3), (0.1, 5), (0.1, 7)]
    assert fits == [3, 5, 7]


def test_setting_alone_is_not_tried(task, tree_config):
    def refuse(fitted):
        raise AssertionError

    assert fit_seeds("trees", tree_config, task, lambda setting, seed: seed, refuse) == tree_config.seeds


def test_nested_changes_leave_the_other_keys(head_config):
    changes = [{"network": {"dropout": 0.5}}]
    config = type(head_config).model_validate(head_config.model_dump() | {"search": changes})
    (candidate,) = config.candidates()
    assert candidate.network == head_config.network.model_copy(update={"dropout": 0.5})


@pytest.mark.parametrize("changes", [{"learning_rat": 0.1}, {"num_rounds": "many"}, {"seeds": [7]}, {"search": [{}]}])
def test_setting_that_is_none_is_refused_before_anything_runs(tree_config, changes):
    with pytest.raises(ValidationError, match=next(iter(changes))):
        type(tree_config).model_validate(tree_config.model_dump() | {"search": [changes]})


def test_trees_and_head_are_fitted_with_what_was_found(task, tree_config, head_config):
    useless = {"num_rounds": 1, "learning_rate": 1e-6}
    trees = type(tree_config).model_validate(tree_config.model_dump() | {"search": [useless, {}]})
    assert fit_tree_baselines(task, trees).equals(fit_tree_baselines(task, tree_config))
    config = head_config.model_copy(update={"seeds": [0]})
    untrained = {"learning_rate": 1e-9, "max_epochs": 1}
    searching = type(config).model_validate(config.model_dump() | {"search": [untrained, {}]})
    assert fit_fraud_head(task, searching)[1].equals(fit_fraud_head(task, config)[1])
