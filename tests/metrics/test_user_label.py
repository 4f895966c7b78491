"""User label records of a table of scores."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.metrics.config import BootstrapConfig
from panther_pipeline.metrics.records import FIELDS, find_value
from panther_pipeline.metrics.user_label import CONSTANT, USER_LABEL_MODELS, measure_user_labels

CONFIG = BootstrapConfig(num_resamples=200, seed=0)
SKLEARN = {"roc_auc": roc_auc_score, "average_precision": average_precision_score, "brier": brier_score_loss}
SKILLS = dict(zip(USER_LABEL_MODELS[1:], (0.3, 0.0, 0.4, 0.2, 0.1, 0.3), strict=True))


def draw_scores(num: int = 120, num_repeats: int = 3, share: float = 0.25) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    label = (np.arange(num) < share * num).astype(np.int8)
    tables = [
        pl.DataFrame(
            {
                "user_id": [f"u{i:03d}" for i in range(num)],
                "as_of": pl.Series([datetime(2024, 1, 1, tzinfo=UTC)] * num, dtype=pl.Datetime("us", "UTC")),
                "label": label,
                "split": "out_of_fold",
                "model": model,
                "repeat": repeat,
                "score": (rng.random(num) + skill * label) / (1 + skill),
            }
        )
        for model, skill in SKILLS.items()
        for repeat in range(num_repeats)
    ]
    return pl.concat(tables)


@pytest.fixture(scope="module")
def scores() -> pl.DataFrame:
    return draw_scores()


@pytest.fixture(scope="module")
def records(scores) -> list[dict]:
    return measure_user_labels(scores, CONFIG)


def values(records: list[dict], model: str, metric: str) -> tuple:
    record = find_value(records, model=model, metric=metric)
    return record["value"], record["low"], record["high"]


def test_value_is_that_of_the_mean_score_over_repeats(records, scores):
    for model in SKILLS:
        mean = scores.filter(model=model).group_by("user_id").agg(pl.col("label").first(), pl.col("score").mean())
        for metric, measure in SKLEARN.items():
            value, low, high = values(records, model, metric)
            assert value == pytest.approx(measure(mean["label"], mean["score"]))
            assert low < value < high


def test_spread_is_that_of_single_repeats(records, scores):
    for metric, measure in SKLEARN.items():
        own = scores.filter(model="trees_both")
        single = [measure(table["label"], table["score"]) for _, table in own.group_by("repeat")]
        assert values(records, "trees_both", f"{metric}_repeat_mean") == (pytest.approx(np.mean(single)), None, None)
        assert values(records, "trees_both", f"{metric}_repeat_std")[0] == pytest.approx(np.std(single, ddof=1))


def test_difference_is_that_of_the_values(records):
    for model in ("logistic_both", "logistic_embeddings", "trees_both", "trees_embeddings"):
        baseline = model.split("_")[0] + "_features"
        own, other = (values(records, name, "roc_auc")[0] for name in (model, baseline))
        value, low, high = values(records, model, f"roc_auc_difference_vs_{baseline}")
        assert value == pytest.approx(own - other)
        assert low < value < high


def test_difference_of_equal_scores_is_exactly_zero():
    one = draw_scores().filter(model="trees_both")
    twins = pl.concat([one.with_columns(model=pl.lit(model)) for model in SKILLS])
    found = measure_user_labels(twins, CONFIG)
    assert values(found, "trees_both", "roc_auc_difference_vs_trees_features") == (0, 0, 0)


def test_interval_resamples_users_and_not_labels(scores):
    repeated = pl.concat([scores.with_columns(as_of=pl.col("as_of") + pl.duration(days=day)) for day in range(4)])
    wide, once = measure_user_labels(repeated, CONFIG), measure_user_labels(scores, CONFIG)
    assert values(wide, "trees_both", "roc_auc") == pytest.approx(values(once, "trees_both", "roc_auc"))
    assert {record["n"] for record in wide} == {480}


@pytest.mark.parametrize(
    "change",
    [
        lambda own: own[1:],
        lambda own: pl.concat([own, own[:1]]),
        lambda own: own.with_columns(user_id=pl.col("user_id").replace("u003", "u999")),
        lambda own: own.with_columns(label=1 - pl.col("label")),
    ],
)
@pytest.mark.parametrize(("model", "repeat"), [("trees_both", 0), ("logistic_features", 2)])
def test_models_that_score_other_labels_are_refused(scores, change, model, repeat):
    is_own = (pl.col("model") == model) & (pl.col("repeat") == repeat)
    mixed = pl.concat(
        [scores.filter(~is_own), change(scores.filter(is_own)).select(scores.columns).cast(scores.schema)]
    )
    with pytest.raises(ConfigurationError, match=f"repeat {repeat} scores other labels of users"):
        measure_user_labels(mixed, CONFIG)


def test_order_of_rows_changes_no_record(scores, records):
    turned = measure_user_labels(scores.reverse(), CONFIG)
    assert [record["value"] for record in turned] == pytest.approx([record["value"] for record in records])


def test_constant_knows_the_share_alone(records):
    assert values(records, CONSTANT, "roc_auc")[0] == 0.5
    assert values(records, CONSTANT, "average_precision")[0] == 0.25
    assert values(records, CONSTANT, "brier")[0] == pytest.approx(0.25 * 0.75)


def test_records_are_flat_and_name_repeats_and_split(records):
    assert all(tuple(record) == FIELDS for record in records)
    assert {(r["task"], r["split"], r["n"], r["seeds"]) for r in records} == {("user_label", "out_of_fold", 120, 3)}
    keys = [(r["model"], r["metric"]) for r in records]
    assert len(keys) == len(set(keys)) == 7 * 3 + 4 * 3 + 6 * 3 * 2


def test_single_repeat_has_no_spread():
    assert not any("repeat" in r["metric"] for r in measure_user_labels(draw_scores(num_repeats=1), CONFIG))


def test_one_class_leaves_out_what_is_undefined():
    found = measure_user_labels(draw_scores(share=0.0), CONFIG)
    assert {r["metric"].split("_")[0] for r in found} == {"brier"}
    assert measure_user_labels(draw_scores()[:0], CONFIG) == []
