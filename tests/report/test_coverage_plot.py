"""The coverage figure shows what the table and the report say."""

import numpy as np
import polars as pl
import pytest

from panther_pipeline.report.coverage_plot import plot_coverage


def make_table(num_tokens: int) -> pl.DataFrame:
    covered = np.append([0.0, 0.0], 0.9 * np.arange(1, num_tokens + 1) / max(1, num_tokens))
    return pl.DataFrame(
        {
            "id": np.arange(num_tokens + 2),
            "token": [f"t{i}" for i in range(num_tokens + 2)],
            "cumulative_coverage": covered,
        }
    )


REPORT = {
    "vocab_size": 12,
    "num_train_tuples": 34,
    "splits": [{"split": "train", "unk_rate": 0.1}],
    "months": [
        {"month": "2024-01", "unk_rate": 0.1, "backoff_rates": {"1": 0.2, "2": 0.05}},
        {"month": "2024-02", "unk_rate": 0.3, "backoff_rates": {"1": 0.2, "2": 0.0}},
    ],
}


@pytest.mark.parametrize("num_tokens", [0, 1, 10, 500, 20_000])
def test_figure_ends_at_the_whole_vocabulary(num_tokens):
    figure = plot_coverage(make_table(num_tokens), REPORT)
    curve = figure.data[0]
    assert len(curve.x) == len(curve.y) <= 500
    if num_tokens:
        assert (curve.x[0], curve.x[-1]) == (1, num_tokens)
        assert curve.y[-1] == pytest.approx(0.9)


def test_names_of_tokens_are_shown_not_interpreted():
    table = make_table(1).with_columns(token=pl.Series(["[PAD]", "[UNK]", "<b>x</b>|a&b|O'Neil"]))
    assert plot_coverage(table, REPORT).data[0].text == ("&lt;b&gt;x&lt;/b&gt;|a&amp;b|O'Neil",)


def test_figure_shows_the_months():
    figure = plot_coverage(make_table(10), REPORT)
    by_name = {trace.name: trace for trace in figure.data}
    assert list(by_name["[UNK]"].x) == ["2024-01", "2024-02"]
    assert list(by_name["[UNK]"].y) == [0.1, 0.3]
    assert list(by_name["backed off"].y) == [0.25, 0.2]
    assert "train 10.00%" in figure.layout.title.text
