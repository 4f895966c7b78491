"""The timeline shows what the model gave to what came, from nothing but the events before."""

import json
import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.splits import TEST
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.batch import EventBatch
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.report.timeline import SCHEMA, TimelineConfig, choose_user, tabulate_timeline
from panther_pipeline.report.timeline_plot import plot_timeline

MAX_EVENTS = 16
HOSTILE = "<script>x</script>"


@pytest.fixture(scope="module")
def sequences():
    path = Path(__file__).parents[1] / "fixtures" / "histories.py"
    return runpy.run_path(str(path))["random_sequences"]()


@pytest.fixture(scope="module")
def tokenizer(sequences):
    return SimpleNamespace(
        names=["[PAD]", "[UNK]", *(f"t{i}" for i in range(2, sequences.vocab_size))],
        name_tuples=lambda ids_NF: ["|".join(map(str, ids)) for ids in ids_NF],
    )


@pytest.fixture(scope="module")
def user(sequences) -> int:
    """With more events than fit the context."""
    return int(np.diff(sequences.offsets_U1).argmax())


@pytest.fixture(scope="module")
def no_labels(sequences) -> pl.Series:
    return pl.Series([None] * sequences.num_events, dtype=pl.Int8)


def make_backbone(sequences, tokenizer_kind="structured") -> Backbone:
    torch.set_num_threads(1)
    config = ModelConfig(dim=16, num_layers=1, num_heads=2, max_events=MAX_EVENTS, num_prototypes=4)
    backbone = Backbone(
        config, vocab_size=sequences.vocab_size, attribute_sizes=sequences.attribute_sizes,
        profile_sizes=sequences.profile_sizes, tokenizer_digest="tokenizer", tokenizer_kind=tokenizer_kind,
    ).eval()  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    head = backbone.embedding.token if tokenizer_kind == "structured" else backbone.tuple_head
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    return backbone


def make_config(user_id: str | None, **changes) -> TimelineConfig:
    values = {"enabled": True, "user_id": user_id, "max_events": 1000, "num_expected": 3, "batch_size": 4}
    return TimelineConfig(**{**values, **changes})


def make_table(sequences, tokenizer, labels, user, kind="structured", **changes) -> pl.DataFrame:
    config = make_config(sequences.user_ids[user], **changes)
    return tabulate_timeline(make_backbone(sequences, kind), sequences, tokenizer, labels, pl.DataFrame(), config)


def states_of(backbone, sequences, user) -> tuple[torch.Tensor, np.ndarray]:
    """States after events 0, 1, ... of the user's first context, and the rows that follow them."""
    first = int(sequences.offsets_U1[user])
    batch = EventBatch.from_windows(
        sequences, np.array([user]), np.array([first]), np.array([first + MAX_EVENTS])
    )  # fmt: skip
    with torch.inference_mode():
        return backbone(batch)[0, : MAX_EVENTS - 1], np.arange(first + 1, first + MAX_EVENTS)


def test_surprise_is_the_negative_log2_of_the_softmax(sequences, tokenizer, no_labels, user):
    table = make_table(sequences, tokenizer, no_labels, user).head(MAX_EVENTS - 1)
    backbone = make_backbone(sequences)
    h_TD, rows_T = states_of(backbone, sequences, user)
    with torch.inference_mode():
        prob_TV = backbone.next_token_logits(h_TD).softmax(-1).double().numpy()
    tokens_T = sequences.token_ids_N[rows_T]
    own_T = prob_TV[np.arange(len(tokens_T)), tokens_T]
    assert np.allclose(table["surprise_bits"], -np.log2(own_T), atol=1e-4)
    assert table["token"].to_list() == [tokenizer.names[token] for token in tokens_T]
    ranks = [1 + int((row[2:] > p).sum()) if token >= 2 else None
             for row, p, token in zip(prob_TV, own_T, tokens_T, strict=True)]  # fmt: skip
    assert table["rank"].to_list() == ranks
    for expected, row in zip(table["expected"], prob_TV, strict=True):
        best = 2 + np.argsort(-row[2:])[:3]
        assert [guess["token"] for guess in expected] == [tokenizer.names[token] for token in best]
        assert np.allclose([guess["prob"] for guess in expected], row[best], atol=1e-5)


def test_factored_surprise_is_that_of_the_whole_combination(sequences, tokenizer, no_labels, user):
    table = make_table(sequences, tokenizer, no_labels, user, "factored").head(MAX_EVENTS - 1)
    backbone = make_backbone(sequences, "factored")
    h_TD, rows_T = states_of(backbone, sequences, user)
    seen_TF = sequences.attribute_ids_NF[rows_T]
    every_CF = np.array([(a, b) for a in range(1, 5) for b in range(1, 5)])
    with torch.inference_mode():
        columns = [backbone.tuple_head.log_prob(h_TD, torch.tensor(ids).expand(len(h_TD), -1)) for ids in every_CF]
    log_prob_TC = torch.stack(columns, dim=1).double().numpy()
    at_T = [every_CF.tolist().index(ids) for ids in seen_TF.tolist()]
    own_T = log_prob_TC[np.arange(len(at_T)), at_T]
    assert np.allclose(table["surprise_bits"], -own_T / np.log(2), atol=1e-4)
    assert table["token"].to_list() == tokenizer.name_tuples(seen_TF)
    place_T = 1 + (log_prob_TC > own_T[:, None]).sum(axis=1)
    assert table["rank"].to_list() == [place if place <= 10 else None for place in place_T]
    best_TC = np.argsort(-log_prob_TC, axis=1)[:, :3]
    for expected, best_C in zip(table["expected"], best_TC, strict=True):
        assert [guess["token"] for guess in expected] == tokenizer.name_tuples(every_CF[best_C])


@pytest.mark.parametrize("kind", ["structured", "factored"])
def test_later_events_do_not_move_an_earlier_point(sequences, tokenizer, no_labels, user, kind):
    before = make_table(sequences, tokenizer, no_labels, user, kind)
    first, stop = sequences.offsets_U1[user], sequences.offsets_U1[user + 1]
    for position in (1, 7, 20, int(stop - first) - 1):
        tokens_N, ids_NF = sequences.token_ids_N.copy(), sequences.attribute_ids_NF.copy()
        times_N = sequences.time_us_N.copy()
        changed = slice(first + position, stop)
        tokens_N[changed] = tokens_N[changed] % 7 + 2
        ids_NF[changed] = ids_NF[changed] % 4 + 1
        times_N[changed] += 10**12
        other = replace(sequences, token_ids_N=tokens_N, attribute_ids_NF=ids_NF, time_us_N=times_N)
        after = make_table(other, tokenizer, no_labels, user, kind)
        # Row i is event i + 1. Of the first changed event what was expected was known before it came.
        assert after.head(position - 1).equals(before.head(position - 1))
        assert after["expected"][position - 1].equals(before["expected"][position - 1])
        assert not after["token"][position - 1 :].equals(before["token"][position - 1 :])


def test_a_long_history_is_cut_to_its_latest_events(sequences, tokenizer, no_labels, user):
    full = make_table(sequences, tokenizer, no_labels, user)
    num = int(np.diff(sequences.offsets_U1)[user])
    assert full["position"].to_list() == list(range(1, num))  # the first event has no forecast
    cut = make_table(sequences, tokenizer, no_labels, user, max_events=5)
    assert cut["position"].to_list() == list(range(num - 5, num))
    assert np.allclose(cut["surprise_bits"], full.tail(5)["surprise_bits"], atol=1e-4)


def test_table_has_its_types_labels_and_times(sequences, tokenizer, user):
    labels = pl.Series(np.arange(sequences.num_events) % 2, dtype=pl.Int8)
    table = make_table(sequences, tokenizer, labels, user)
    assert table.schema == SCHEMA
    rows = int(sequences.offsets_U1[user]) + table["position"].to_numpy()
    assert table["label"].to_list() == labels.gather(rows).to_list()
    assert table["event_time"].dt.epoch("us").to_list() == sequences.time_us_N[rows].tolist()


def test_unknown_token_has_no_rank(sequences, tokenizer, no_labels, user):
    table = make_table(sequences, tokenizer, no_labels, user)
    assert table.filter(token="[UNK]")["rank"].null_count() == len(table.filter(token="[UNK]")) > 0
    assert table.filter(pl.col("token") != "[UNK]")["rank"].null_count() == 0


def scores_of(means: dict[int, float], num: int) -> pl.DataFrame:
    users = [user for user in means for _ in range(num)]
    table = pl.DataFrame({"user_ix": users, "bits": [means[user] for user in users]})
    return pl.concat(
        table.with_columns(model=pl.lit(model), bits=pl.col("bits") * sign)
        for model, sign in (("popularity", -1), ("panther_structured", 1))
    )


def test_user_with_most_fraud_in_the_test_split_is_chosen(sequences):
    labels = np.zeros(sequences.num_events, dtype=np.int8)
    users_N, is_test_N = sequences.user_ix_N(), sequences.split_N == TEST
    candidates = [u for u in range(3, sequences.num_users) if (is_test_N & (users_N == u)).sum() >= 2]
    few, many = candidates[:2]
    for user, num in ((few, 1), (many, 2)):
        labels[np.flatnonzero(is_test_N & (users_N == user))[:num]] = 1
    labels[np.flatnonzero(~is_test_N & (users_N == few))] = 1  # fraud before the test does not count
    assert choose_user(sequences, pl.Series(labels), pl.DataFrame(), make_config(None)) == many


def test_without_fraud_the_user_of_median_surprise_is_chosen(sequences, no_labels):
    scores = scores_of({5: 9.0, 6: 1.0, 7: 3.0}, 20)
    assert choose_user(sequences, no_labels, scores, make_config(None)) == 7
    # A user with few events is judged only where nobody has enough.
    with_few = pl.concat([scores, scores_of({8: 2.0, 9: 2.5}, 19)])
    assert choose_user(sequences, no_labels, with_few, make_config(None)) == 7
    assert choose_user(sequences, no_labels, scores_of({8: 2.0, 9: 2.5}, 19), make_config(None)) == 8
    assert choose_user(sequences, no_labels, scores.clear(), make_config(None)) is None


@pytest.mark.parametrize("user_id", ["nobody", "u000", "u001"])  # unknown, without events, with one
def test_configured_user_without_forecasts_is_refused(sequences, no_labels, user_id):
    with pytest.raises(ConfigurationError, match=r"evaluation\.timeline\.user_id"):
        choose_user(sequences, no_labels, pl.DataFrame(), make_config(user_id))


def test_switched_off_there_is_no_table(sequences, tokenizer, no_labels, user):
    table = make_table(sequences, tokenizer, no_labels, user, enabled=False)
    assert table.is_empty()
    assert table.schema == SCHEMA
    assert "No timeline" in plot_timeline(table, is_timed=True).layout.title.text


def test_figure_shows_the_points_the_frauds_and_the_mean(sequences, tokenizer, user):
    labels = pl.Series(np.arange(sequences.num_events) % 5 == 0).cast(pl.Int8)
    table = make_table(sequences, tokenizer, labels, user)
    figure = plot_timeline(table, is_timed=True)
    points, frauds = figure.data
    assert np.allclose(points.y, table["surprise_bits"], atol=1e-3)
    assert points.x[0] == table["event_time"][0].strftime("%Y-%m-%d %H:%M:%S")
    assert np.allclose(points.marker.color, points.y)
    assert np.allclose(frauds.y, table.filter(label=1)["surprise_bits"], atol=1e-3)
    mean = table["surprise_bits"].mean()
    assert figure.layout.shapes[0].y0 == pytest.approx(mean)
    assert any(f"mean {mean:.2f} bits" == note.text for note in figure.layout.annotations)
    at = table["rank"].is_not_null().arg_max()
    row, text = table.row(at, named=True), points.text[at]
    assert f"<b>{row['token']}</b><br>{row['surprise_bits']:.2f} bits, rank {row['rank']} (train)" in text
    assert all(f"{i}. {guess['token']} {guess['prob']:.1%}" in text for i, guess in enumerate(row["expected"], start=1))


def test_figure_of_a_ledger_without_times_counts_events(sequences, tokenizer, no_labels, user):
    table = make_table(sequences, tokenizer, no_labels, user)
    figure = plot_timeline(table, is_timed=False)
    assert list(figure.data[0].x) == list(range(2, len(table) + 2))
    assert len(figure.data) == 1  # no label, no mark


def test_figure_names_no_user_and_escapes_tokens(sequences, tokenizer, no_labels, user):
    hostile = SimpleNamespace(names=[HOSTILE] * sequences.vocab_size)
    user_ids = [f"secret-{name}" for name in sequences.user_ids]
    table = make_table(replace(sequences, user_ids=user_ids), hostile, no_labels, user)
    content = json.dumps(plot_timeline(table, is_timed=True).to_plotly_json(), default=str)
    assert HOSTILE in table["token"].to_list()
    assert HOSTILE not in content
    assert "&lt;script&gt;" in content
    assert "secret" not in content
