"""The heat maps show the table: ratios by hand, blocks in order, names escaped."""

import json

import numpy as np
import polars as pl
import pytest

from panther_pipeline.report.prototype_plot import plot_motif_prototypes, plot_token_prototypes
from panther_pipeline.report.prototypes import SCHEMA

EVERY = [0.2, 0.3, 0.5]
RENT, COFFEE, TEA = [0.1, 0.2, 0.7], [0.8, 0.1, 0.1], [0.25, 0.25, 0.5]
MOTIF, OTHER = [0.2, 0.6, 0.2], [0.05, 0.05, 0.9]


def make_table() -> pl.DataFrame:
    rows = [
        (0, "every event", None, None, 30, EVERY), (1, "<b>rent</b>", 2, None, 15, RENT),
        (1, "coffee", 3, None, 10, COFFEE), (1, "tea", 4, None, 5, TEA),
        (2, "<b>rent</b> → coffee", 3, 5.25, 4, MOTIF), (3, "coffee → tea → <b>rent</b>", 2, 2.0, 3, OTHER),
    ]  # fmt: skip
    return pl.concat(
        pl.DataFrame(
            {"length": [length] * 3, "pattern": [name] * 3, "last_token_id": [last] * 3, "lift": [lift] * 3,
             "num_events": [num] * 3, "prototype": [0, 1, 2], "weight": weight, "deviation": [0.1] * 3},
            schema=SCHEMA,
        )
        for length, name, last, lift, num, weight in rows
    )  # fmt: skip


def views(figure) -> dict[str, np.ndarray]:
    """Ratios by the name on the button, columns by prototype."""
    order = [int(name[1:]) for name in figure.data[0].x]
    return {
        button.label: 2.0 ** np.array(button.args[0]["z"][0])[:, np.argsort(order)]
        for button in figure.layout.updatemenus[0].buttons
    }


def test_token_map_compares_with_all_events_and_with_even_attention():
    ratios = views(plot_token_prototypes(make_table(), num_tokens=2))
    weight = np.array([RENT, COFFEE])
    assert list(ratios) == ["× mean of all events", "× even attention"]
    assert np.allclose(ratios["× mean of all events"], weight / EVERY, rtol=0.01)
    assert np.allclose(ratios["× even attention"], weight * 3, rtol=0.01)


def test_motif_map_compares_also_with_the_last_token():
    ratios = views(plot_motif_prototypes(make_table()))
    weight = np.array([MOTIF, OTHER])
    assert np.allclose(ratios["× mean of all events"], weight / EVERY, rtol=0.01)
    assert np.allclose(ratios["× events of its last token"], weight / [COFFEE, RENT], rtol=0.01)
    assert np.allclose(ratios["× even attention"], weight * 3, rtol=0.01)


def test_the_first_button_is_what_is_drawn_at_first():
    figure = plot_motif_prototypes(make_table())
    first = figure.layout.updatemenus[0].buttons[0]
    assert np.array_equal(figure.data[0].z, first.args[0]["z"][0])
    assert figure.data[0].colorbar.title.text == first.label


def test_prototypes_are_sorted_by_the_row_that_stands_out():
    assert list(plot_token_prototypes(make_table(), num_tokens=2).data[0].x) == ["p2", "p1", "p0"]


def test_motifs_that_attend_alike_are_neighbours():
    table = make_table()
    rows = [table.filter(length=0), table.filter(length=1)]
    for name, weight in (("a", [0.9, 0.05, 0.05]), ("b", [0.05, 0.05, 0.9]), ("c", [0.88, 0.06, 0.06]),
                         ("d", [0.06, 0.06, 0.88])):  # fmt: skip
        motif = table.filter(length=2).with_columns(pattern=pl.lit(name), weight=pl.Series(weight, dtype=pl.Float32))
        rows.append(motif)
    order = "".join(plot_motif_prototypes(pl.concat(rows)).layout.yaxis.ticktext)
    assert "ac" in order or "ca" in order
    assert "bd" in order or "db" in order


def test_names_are_escaped_and_events_and_lift_are_in_the_hover():
    figure = plot_motif_prototypes(make_table())
    assert figure.layout.yaxis.ticktext[0] == "&lt;b&gt;rent&lt;/b&gt; → coffee"
    assert "<b>" not in json.dumps(figure.to_plotly_json(), default=str)
    text = figure.data[0].text[0][list(figure.data[0].x).index("p1")]
    assert text.startswith("&lt;b&gt;rent&lt;/b&gt; → coffee<br>4 events<br>in training 5.2 × as often")
    assert "2.00 × mean of all events<br>6.00 × events of its last token<br>1.80 × even attention" in text


def test_a_long_name_keeps_its_end():
    long = "x" * 100 + " → the end"
    table = make_table().with_columns(pattern=pl.when(pl.col("length") > 1).then(pl.lit(long)).otherwise("pattern"))
    ticks = plot_motif_prototypes(table).layout.yaxis.ticktext
    assert all(len(tick) <= 92 and tick.endswith("→ the end") and "…" in tick for tick in ticks)


def test_attention_that_is_nought_stays_on_the_scale():
    table = make_table().with_columns(weight=pl.when(pl.col("prototype") == 0).then(0.0).otherwise("weight"))
    for figure in (plot_token_prototypes(table, 5), plot_motif_prototypes(table)):
        assert all(np.isfinite(ratio_GK).all() for ratio_GK in views(figure).values())


@pytest.mark.parametrize(("lengths", "says"), [([], "no prototypes"), ([0, 1], "No motif"), ([0], "No motif")])
def test_motif_map_without_rows_says_why(lengths, says):
    table = make_table().filter(pl.col("length").is_in(lengths))
    assert says in plot_motif_prototypes(table).layout.title.text


@pytest.mark.parametrize(("lengths", "says"), [([], "no prototypes"), ([0], "No token")])
def test_token_map_without_rows_says_why(lengths, says):
    table = make_table().filter(pl.col("length").is_in(lengths))
    assert says in plot_token_prototypes(table, 5).layout.title.text
