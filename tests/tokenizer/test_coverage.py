"""The report agrees with a count by hand, and shows drift."""

import json
from dataclasses import replace

import polars as pl
import pytest

from panther_pipeline.errors import ArtifactError
from panther_pipeline.tokenizer.build import build_sequences
from panther_pipeline.tokenizer.coverage import measure_coverage, tabulate_vocabulary
from panther_pipeline.tokenizer.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer(events, profiles, splits, make_config):
    return Tokenizer.fit(events, profiles, make_config(min_count=8, max_dropped=1), splits)


@pytest.fixture(scope="module")
def sequences(events, profiles, splits, tokenizer):
    return build_sequences(events, profiles, tokenizer, splits)


def test_the_table_has_a_row_per_id(tokenizer):
    table = tabulate_vocabulary(tokenizer)
    assert table.columns == ["id", "token", "count", "share", "cumulative_coverage", "backoff_level"]
    assert table["id"].to_list() == list(range(tokenizer.vocab_size))
    assert table["share"].sum() == pytest.approx(1)
    assert table["backoff_level"].to_list()[:2] == [None, 3]
    assert table.filter(pl.col("token").str.contains(r"(^|\|)\*(\||$)"))["backoff_level"].unique().to_list() == [1]
    assert table["cumulative_coverage"].last() == pytest.approx(1 - table["share"][1])
    assert table["cumulative_coverage"].to_list()[:2] == [0, 0]


def test_training_rates_are_those_of_the_vocabulary(tokenizer, sequences):
    report = measure_coverage(sequences, tokenizer)
    shares = tabulate_vocabulary(tokenizer).group_by("backoff_level").agg(pl.col("share").sum())
    by_level = dict(shares.iter_rows())
    (train,) = [record for record in report["splits"] if record["split"] == "train"]
    assert train["whole_rate"] == pytest.approx(by_level[0])
    assert train["backoff_rates"] == {"1": pytest.approx(by_level[1])}
    assert train["unk_rate"] == pytest.approx(by_level[3])
    assert 0 < train["unk_rate"] < train["backoff_rates"]["1"]


def test_every_event_is_in_one_split_and_month(tokenizer, sequences, events):
    report = measure_coverage(sequences, tokenizer)
    months = events.group_by(pl.col("event_time").dt.strftime("%Y-%m").alias("month")).len().sort("month")
    assert [(r["month"], r["num_events"]) for r in report["months"]] == list(months.iter_rows())
    assert sum(record["num_events"] for record in report["splits"]) == len(events)
    for record in report["splits"] + report["months"]:
        rates = record["whole_rate"] + record["unk_rate"] + sum(record["backoff_rates"].values())
        assert rates == pytest.approx(1)
        assert record["coverage"] == pytest.approx(1 - record["unk_rate"])
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_new_habits_show_in_their_month(tokenizer, events, profiles, splits):
    late = pl.col("event_time").dt.month() == 12
    drifted = events.with_columns(category=pl.when(late).then(pl.lit("crypto")).otherwise("category"))
    report = measure_coverage(build_sequences(drifted, profiles, tokenizer, splits), tokenizer)
    unknown = [record["unknown_rates"]["category"] for record in report["months"]]
    assert unknown[-1] == 1
    assert max(unknown[:-1]) < 0.1


def test_sequences_of_another_tokenizer_are_refused(tokenizer, sequences):
    with pytest.raises(ArtifactError, match="encoded by tokenizer 0123"):
        measure_coverage(replace(sequences, tokenizer_digest="0123"), tokenizer)


def test_an_empty_ledger_has_an_empty_report(tokenizer, events, profiles, splits):
    report = measure_coverage(build_sequences(events.clear(), profiles, tokenizer, splits), tokenizer)
    assert (report["splits"], report["months"]) == ([], [])
