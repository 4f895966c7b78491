"""Figures of the evaluation: what is drawn is what was measured."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import precision_recall_curve

from panther_pipeline.report.fraud_plot import plot_calibration, plot_precision_recall
from panther_pipeline.report.user_map import plot_user_map


def fraud_scores(num: int = 4000, models=("panther_head", "trees_both")) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    prob = rng.beta(0.3, 8, num)
    label = (rng.random(num) < prob).astype(np.int8)
    tables = [
        pl.DataFrame({"model": model, "seed": seed, "split": "test", "label": label, "score": prob + 0.001 * seed})
        for model in models
        for seed in (0, 1)
    ]
    return pl.concat(tables)


def test_precision_recall_curve_lies_on_sklearns_and_spans_all_recalls():
    scores = fraud_scores()
    figure = plot_precision_recall(scores)
    assert [trace.name for trace in figure.data] == [
        "trees_both",
        "panther_head",
    ]  # in the order of the table
    one = scores.filter(model="panther_head", seed=0)
    precision, recall, _ = precision_recall_curve(one["label"], one["score"])
    exact = {(round(r, 5), round(p, 5)) for r, p in zip(recall.tolist(), precision.tolist(), strict=True)}
    drawn = set(zip(figure.data[1].x, figure.data[1].y, strict=True))
    assert drawn <= exact
    assert {0.0, 1.0} <= {x for x, _ in drawn}


def test_calibration_of_true_probabilities_lies_on_the_diagonal():
    num = 200_000
    trace = plot_calibration(fraud_scores(num)).data[0]
    sizes = np.array([int(text.split(" of ")[1].replace(",", "")) for text in trace.text])
    assert sizes.sum() == num
    predicted, observed = np.array(trace.x), np.array(trace.y)
    assert (np.abs(observed - predicted) < 5 * np.sqrt(predicted / sizes)).all()


def test_fraud_figures_of_an_unlabelled_ledger_say_so():
    for table in (
        pl.DataFrame(),
        fraud_scores().clear(),
        fraud_scores().with_columns(label=pl.lit(0, dtype=pl.Int8)),
    ):
        for figure in (plot_precision_recall(table), plot_calibration(table)):
            assert "No labelled scores" in figure.layout.title.text


def user_embeddings(num: int) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    vectors = (rng.normal(size=(num, 6)) * [5, 2, 1, 1, 1, 1]).astype(np.float32)
    return pl.DataFrame(
        {"user_id": [f"u{i}" for i in range(num)],
         "embedding": pl.Series(vectors, dtype=pl.Array(pl.Float32, 6)), "num_events": np.arange(num)}
    )  # fmt: skip


def test_user_map_keeps_the_two_widest_directions_and_names_nobody():
    table = user_embeddings(400)
    figure = plot_user_map(table, seed=0)
    x, y = np.array(figure.data[0].x), np.array(figure.data[0].y)
    assert len(x) == 399  # the user without events has no embedding to show
    vectors = table.filter(pl.col("num_events") > 0)["embedding"].to_numpy()
    assert abs(np.corrcoef(x, vectors[:, 0])[0, 1]) > 0.99
    assert abs(np.corrcoef(y, vectors[:, 1])[0, 1]) > 0.95
    assert '"u1"' not in figure.to_json()


def test_user_map_draws_a_bounded_number_of_points_by_its_seed():
    table = user_embeddings(3500)
    first, again, other = (plot_user_map(table, seed).data[0].x for seed in (0, 0, 1))
    assert len(first) == 3000
    assert first == again != other


@pytest.mark.parametrize("num", [0, 1, 3])
def test_user_map_of_too_few_users_says_so(num):
    assert "no map" in plot_user_map(user_embeddings(num), seed=0).layout.title.text


def test_user_map_of_equal_embeddings_says_so():
    table = user_embeddings(10).with_columns(
        embedding=pl.Series(np.ones((10, 6), np.float32), dtype=pl.Array(pl.Float32, 6))
    )
    assert "same embedding" in plot_user_map(table, seed=0).layout.title.text
