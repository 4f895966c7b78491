"""A path of regularisation is what single models would give."""

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.ensemble import HistGradientBoostingClassifier

from panther_pipeline.scoring.calibration import to_logit
from panther_pipeline.tasks.user_label.models import LogisticConfig, LogisticFamily, TreeFamily, TreesConfig

TREES = {"num_rounds": [2, 5, 9], "learning_rate": 0.3, "max_leaves": 3, "min_labels_per_leaf": 5, "l2": 0.5}


def draw(seed: int = 0, num: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(num, 4)).astype(np.float32)
    label = (inputs[:, 0] + rng.normal(size=num) > 0).astype(np.int8)
    inputs[rng.random((num, 4)) < 0.1] = np.nan
    return inputs, label


def test_every_point_of_the_tree_path_is_a_model_of_so_many_trees():
    inputs, label = draw()
    path = TreeFamily(TreesConfig(**TREES)).predict_path(inputs[:60], label[:60], inputs[60:])
    for rounds, logit in zip(TREES["num_rounds"], path, strict=True):
        single = HistGradientBoostingClassifier(
            learning_rate=0.3, max_iter=rounds, max_leaf_nodes=3, min_samples_leaf=5, l2_regularization=0.5,
            early_stopping=False,
        ).fit(inputs[:60], label[:60])  # fmt: skip
        assert np.allclose(logit, to_logit(single.predict_proba(inputs[60:])[:, 1]))


def test_stronger_penalty_draws_the_logits_together():
    inputs, label = draw()
    path = LogisticFamily(LogisticConfig(penalties=[1e4, 10.0, 1.0])).predict_path(inputs[:60], label[:60], inputs[60:])
    assert path.shape == (3, 20)
    assert (np.diff(path.std(axis=1)) > 0).all()


def test_judged_rows_move_neither_scale_nor_median():
    inputs, label = draw()
    family = LogisticFamily(LogisticConfig(penalties=[1.0]))
    judged = np.vstack([inputs[60:], np.full((30, 4), 1e6, dtype=np.float32)])
    alone = family.predict_path(inputs[:60], label[:60], inputs[60:])
    assert np.array_equal(alone, family.predict_path(inputs[:60], label[:60], judged)[:, :20])


def test_input_that_is_never_known_is_no_obstacle():
    inputs, label = draw()
    inputs[:60, 1] = np.nan
    for family in (LogisticFamily(LogisticConfig(penalties=[1.0])), TreeFamily(TreesConfig(**TREES))):
        assert np.isfinite(family.predict_path(inputs[:60], label[:60], inputs[60:])).all()


@pytest.mark.parametrize("penalties", [[], [1.0, 2.0], [1.0, 0.0], [2.0, 2.0]])
def test_penalties_run_from_strong_to_weak(penalties):
    with pytest.raises(ValidationError, match="penalties"):
        LogisticConfig(penalties=penalties)


@pytest.mark.parametrize("num_rounds", [[], [0, 1], [5, 2], [2, 2]])
def test_numbers_of_trees_ascend(num_rounds):
    with pytest.raises(ValidationError, match="num_rounds"):
        TreesConfig(**TREES | {"num_rounds": num_rounds})
