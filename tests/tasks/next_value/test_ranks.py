"""The comparison of heads, backbone and baselines: the same targets, nothing from the future, a miss is a miss."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from panther_pipeline.baselines.candidates import SeenTokens
from panther_pipeline.baselines.next_transaction import fit_popularity
from panther_pipeline.cache.states import collect_states
from panther_pipeline.errors import ArtifactError, ConfigurationError
from panther_pipeline.ledger.splits import TEST, UNUSED
from panther_pipeline.metrics.config import BootstrapConfig, RankingConfig
from panther_pipeline.metrics.next_transaction import select_targets
from panther_pipeline.metrics.records import find_value
from panther_pipeline.tasks.next_value import ranks as module
from panther_pipeline.tasks.next_value.fit import fit_next_value_heads
from panther_pipeline.tasks.next_value.head import NextValueHeads
from panther_pipeline.tasks.next_value.ranks import measure_next_values, rank_next_values, score_with_head
from panther_pipeline.tasks.next_value.values import encode_values, fit_value_fields

ALL = RankingConfig(max_users=None, seed=0, batch_size=4)
BASELINES = {"popularity", "repeat_last", "personal_frequency", "markov"}


@pytest.fixture(scope="module")
def heads(backbone, sequences, events, config):
    fields = fit_value_fields(events.lazy(), sequences, config)
    return fit_next_value_heads(fields, events.lazy(), sequences, backbone, config)


@pytest.fixture(scope="module")
def ranks(backbone, sequences, tokenizer, events, heads):
    return rank_next_values(backbone, sequences, tokenizer, events.lazy(), heads, ALL)


def test_every_model_ranks_the_targets_of_the_next_transaction(ranks, sequences):
    rows = select_targets(sequences, ALL).tolist()
    models = {a: set(t["model"]) for (a,), t in ranks.group_by("attribute")}
    assert models == {"category": BASELINES | {"panther", "panther_head"}, "counterparty": BASELINES | {"panther_head"}}
    for _, table in ranks.group_by("attribute", "model"):
        assert table["row"].to_list() == rows


def test_value_never_seen_in_training_is_a_miss_for_every_model(ranks, events):
    is_late = ranks.filter(attribute="counterparty").with_columns(
        late=pl.Series(events["counterparty"] == "late").gather(ranks.filter(attribute="counterparty")["row"])
    )
    assert is_late["late"].any()
    assert (is_late["rank"].is_null() == is_late["late"]).all()
    assert ranks.filter(attribute="category")["rank"].null_count() == 0


def test_ranks_of_a_head_equal_a_sort_of_its_scores(ranks, heads, backbone, sequences, events):
    head = heads.heads[1]
    values = encode_values(events.lazy(), sequences, head.field)
    popularity, table = fit_popularity(values), ranks.filter(attribute="counterparty", model="panther_head")
    for row, rank in table.select("row", "rank")[::5].iter_rows():
        past = values.token_ids_N[sequences.first_row_N()[row] : row]
        ids, counts = np.unique(past[past >= 2], return_counts=True)
        h_1D = collect_states(backbone, sequences, np.array([row - 1]))
        score = head.score(h_1D, (np.zeros(len(ids), np.int64), ids.astype(np.int64), counts))[0]
        order = sorted(range(2, values.vocab_size), key=lambda v: (-round(float(score[v]), 4), popularity[v]))
        value = int(values.token_ids_N[row])
        assert rank == (order.index(value) + 1 if value >= 2 else None)


def test_ranks_are_the_same_in_small_chunks(ranks, backbone, sequences, tokenizer, events, heads, monkeypatch):
    monkeypatch.setattr(module, "_SCORES_AT_ONCE", 50)
    small = rank_next_values(backbone, sequences, tokenizer, events.lazy(), heads, ALL)
    assert small.drop("log_prob").equals(ranks.drop("log_prob"))


def forecasts(heads, backbone, sequences, events, rows) -> list[bytes]:
    """The bits of every head's scores, of each row by itself."""
    h_MD = collect_states(backbone, sequences, rows - 1)
    scored = []
    for head in heads.heads:
        score = score_with_head(head, encode_values(events.lazy(), sequences, head.field))
        scored += [score(h_MD[[m]], rows[[m]]).numpy().tobytes() for m in range(len(rows))]
    return scored


def change_from(target: int, sequences, events):
    """The target and everything after it of its user become something else; lengths stay."""
    is_future_N = np.arange(sequences.num_events) >= target
    is_future_N &= sequences.user_ix_N() == sequences.user_ix_N()[target]
    future = pl.Series(is_future_N)
    changed = replace(
        sequences,
        token_ids_N=np.where(is_future_N, 5, sequences.token_ids_N).astype(np.int32),
        attribute_ids_NF=np.where(is_future_N[:, None], 1, sequences.attribute_ids_NF).astype(np.int32),
        time_us_N=sequences.time_us_N + 10**9 * is_future_N,
    )
    return changed, events.with_columns(
        counterparty=pl.when(future).then(pl.lit("m00")).otherwise("counterparty"),
        category=pl.when(future).then(pl.lit("rent")).otherwise("category"),
    )


def moved(heads, backbone, sequences, events, known_up_to: int) -> int:
    """How many of some futures move a bit of a forecast of their own target or of an earlier one."""
    count = 0
    for target in select_targets(sequences, ALL)[4::31]:
        first = sequences.first_row_N()[target]
        rows = np.arange(first + 1, target + known_up_to)
        before = forecasts(heads, backbone, sequences, events, rows)
        count += before != forecasts(heads, backbone, *change_from(target, sequences, events), rows)
    return count


def test_target_and_what_follows_change_no_bit_of_its_forecast(heads, backbone, sequences, events):
    assert moved(heads, backbone, sequences, events, known_up_to=1) == 0


def test_guard_notices_a_past_that_holds_the_target(heads, backbone, sequences, events, monkeypatch):
    honest = SeenTokens.counted_pairs
    last = sequences.num_events - 1
    monkeypatch.setattr(SeenTokens, "counted_pairs", lambda self, rows_M: honest(self, np.minimum(rows_M + 1, last)))
    assert moved(heads, backbone, sequences, events, known_up_to=1) > 0


def test_test_split_without_events_is_refused(backbone, sequences, tokenizer, events, heads):
    empty = replace(sequences, split_N=np.where(sequences.split_N == TEST, UNUSED, sequences.split_N))
    with pytest.raises(ConfigurationError, match=r"Check ledger\.splits"):
        rank_next_values(backbone, empty, tokenizer, events.lazy(), heads, ALL)


def test_heads_of_another_backbone_are_refused(backbone, sequences, tokenizer, events, heads):
    other = NextValueHeads(heads.heads, dim=heads.dim, backbone_digest="another")
    with pytest.raises(ArtifactError, match="finetune"):
        rank_next_values(backbone, sequences, tokenizer, events.lazy(), other, ALL)


def test_no_heads_give_no_rows_and_no_records(backbone, sequences, tokenizer, events, ranks):
    none = NextValueHeads([], dim=8, backbone_digest="")
    table = rank_next_values(backbone, sequences, tokenizer, events.lazy(), none, ALL)
    assert table.schema == ranks.schema
    assert measure_next_values(table, BootstrapConfig(num_resamples=100, seed=0)) == []


def test_records_are_a_task_per_attribute(ranks):
    records = measure_next_values(ranks, BootstrapConfig(num_resamples=100, seed=0))
    assert {r["task"] for r in records} == {"next_category", "next_counterparty"}
    assert {r["split"] for r in records} == {"test", "test_cold"}
    merchants = ranks.filter(attribute="counterparty", model="panther_head")
    hit = find_value(records, task="next_counterparty", model="panther_head", metric="hr@1", split="test")
    assert hit["value"] == pytest.approx((merchants["rank"] == 1).fill_null(False).mean())
    assert (hit["n"], hit["candidates"]) == (len(merchants), "the 12 values of counterparty")
    coverage = find_value(records, task="next_counterparty", metric="coverage", split="test")
    assert coverage["value"] == pytest.approx(merchants["rank"].is_not_null().mean())
    best = find_value(records, task="next_counterparty", metric="hr@10", model="panther_head", split="test")
    assert best["value"] <= coverage["value"]
    assert any(r["model"] == "panther_head" and "_difference_vs_" in r["metric"] for r in records)


def test_factored_backbone_is_ranked_too(factored, sequences, tokenizer, events, config):
    fields = fit_value_fields(events.lazy(), sequences, config)
    quick = config.model_copy(update={"max_epochs": 1})
    heads = fit_next_value_heads(fields, events.lazy(), sequences, factored, quick)
    table = rank_next_values(factored, sequences, tokenizer, events.lazy(), heads, ALL)
    assert "panther" in set(table.filter(attribute="category")["model"])
    assert torch.isfinite(torch.tensor(table.filter(model="panther")["log_prob"].to_list())).all()
