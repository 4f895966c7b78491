"""The comparison table and its records, with a small untrained backbone."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from panther_pipeline.baselines.next_transaction import fit_popularity
from panther_pipeline.cache.states import iter_state_chunks
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.splits import TEST, TRAIN, UNUSED
from panther_pipeline.metrics import ranking
from panther_pipeline.metrics.config import BootstrapConfig, RankingConfig
from panther_pipeline.metrics.next_transaction import (
    is_cold_user,
    measure_ranks,
    rank_next_transactions,
    select_targets,
)
from panther_pipeline.metrics.records import find_value
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.tokenizer.sequences import TokenSequences

ALL = RankingConfig(max_users=None, seed=0, batch_size=4)
BOOTSTRAP = BootstrapConfig(num_resamples=200, seed=0)
NEW = ALL.model_copy(update={"exclude_seen": True})
VOCAB = 20


def make_sequences(seed: int = 0, num_users: int = 15) -> TokenSequences:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 40, num_users)
    lengths[:2] = [1, 0]
    num = int(lengths.sum())
    in_user = np.concatenate([np.arange(n) / max(n, 1) for n in lengths])
    is_cold = np.repeat(np.arange(num_users) % 4 == 3, lengths)
    split = np.where(in_user > 0.7, TEST, np.where(is_cold, UNUSED, TRAIN))
    return TokenSequences(
        user_ids=[f"u{u:03d}" for u in range(num_users)],
        offsets_U1=np.concatenate([[0], np.cumsum(lengths)]),
        token_ids_N=rng.integers(1, VOCAB, num).astype(np.int32),
        attribute_ids_NF=rng.integers(1, 5, (num, 2)).astype(np.int32),
        time_us_N=np.sort(rng.integers(0, 10**13, num)),
        split_N=split.astype(np.int8),
        profile_ids_UP=np.zeros((num_users, 0), np.int32),
        vocab_size=VOCAB,
        attribute_names=["a", "b"],
        attribute_sizes=[5, 5],
        profile_names=[],
        profile_sizes=[],
        tokenizer_digest="test",
    )


def make_backbone(**changes) -> Backbone:
    config = ModelConfig(**{"dim": 8, "num_layers": 1, "num_heads": 1, "max_events": 8, "attribute_dim": 4,
                            "num_prototypes": 4, **changes})  # fmt: skip
    return Backbone(
        config, vocab_size=VOCAB, attribute_sizes=[5, 5], profile_sizes=[], tokenizer_digest="test", seed=0
    ).eval()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def test_targets_are_test_events_with_a_predecessor():
    sequences = make_sequences()
    rows = select_targets(sequences, ALL)
    first_rows = set(sequences.offsets_U1[:-1].tolist())
    assert rows.tolist() == [
        row for row in range(sequences.num_events) if sequences.split_N[row] == TEST and row not in first_rows
    ]


def test_targets_of_a_draw_of_users_are_all_of_theirs():
    sequences = make_sequences()
    everyone, users = select_targets(sequences, ALL), sequences.user_ix_N()
    drawn = select_targets(sequences, ALL.model_copy(update={"max_users": 3}))
    assert len(np.unique(users[drawn])) == 3
    assert set(drawn) == {row for row in everyone if users[row] in users[drawn]}


def test_a_ledger_without_targets_is_refused_with_the_parameters_to_check():
    sequences = make_sequences()
    with pytest.raises(ConfigurationError, match=r"Check ledger\.splits"):
        select_targets(replace(sequences, split_N=np.zeros_like(sequences.split_N)), ALL)


def test_cold_users_are_those_without_training_events():
    sequences = make_sequences()
    users = sequences.user_ix_N()
    warm = set(users[sequences.split_N == TRAIN])
    assert is_cold_user(sequences).tolist() == [user not in warm for user in range(sequences.num_users)]


def test_ranks_of_the_backbone_ignore_the_target_and_everything_after():
    sequences, backbone = make_sequences(), make_backbone()
    rows = select_targets(sequences, ALL)
    target = int(rows[len(rows) // 2])
    probe = sequences.token_ids_N.copy()
    stop = sequences.offsets_U1[sequences.user_ix_N()[target] + 1]
    probe[target + 1 : stop] = 2
    attributes = sequences.attribute_ids_NF.copy()
    attributes[target:stop] = 1
    times = sequences.time_us_N.copy()
    times[target:stop] += 10**9
    changed = replace(sequences, token_ids_N=probe, attribute_ids_NF=attributes, time_us_N=times)

    def of_target(table: pl.DataFrame) -> list:
        return table.filter(pl.col("row") <= target).select("row", "model", "rank").rows()

    before, after = (rank_next_transactions(backbone, s, ALL) for s in (sequences, changed))
    same_user = before["user_ix"] == sequences.user_ix_N()[target]
    assert of_target(before.filter(same_user)) == of_target(after.filter(same_user))


def test_ranks_do_not_depend_on_the_batch_size():
    sequences, backbone = make_sequences(), make_backbone()
    small, large = (
        rank_next_transactions(backbone, sequences, ALL.model_copy(update={"batch_size": n})) for n in (1, 50)
    )
    assert small.drop("log_prob").equals(large.drop("log_prob"))
    assert np.allclose(small["log_prob"].drop_nulls(), large["log_prob"].drop_nulls(), atol=1e-5)


def states_by_row(backbone, sequences, rows) -> dict[int, torch.Tensor]:
    """The scores before each target, each from a pass of its own."""
    scores = {}
    for row in rows:
        ((_, h_1D),) = iter_state_chunks(backbone, sequences, np.array([row - 1]))
        with torch.inference_mode():
            scores[int(row)] = backbone.next_token_logits(h_1D)[0]
    return scores


def test_backbone_ranks_among_new_tokens_equal_a_sort_of_them(monkeypatch):
    sequences, backbone = make_sequences(), make_backbone()
    monkeypatch.setattr(ranking, "_SCORES_PER_STEP", 7 * VOCAB)  # several steps inside a chunk
    table = rank_next_transactions(backbone, sequences, NEW).filter(model="panther")
    popularity = fit_popularity(sequences)
    scores = states_by_row(backbone, sequences, table["row"])
    for row, rank in table.select("row", "rank").iter_rows():
        past = set(sequences.token_ids_N[sequences.first_row_N()[row] : row].tolist())
        order = sorted(set(range(2, VOCAB)) - past, key=lambda t: (-float(scores[row][t]), popularity[t]))
        token = int(sequences.token_ids_N[row])
        assert rank == (order.index(token) + 1 if token in order else None)
    assert 0 < table["rank"].null_count() < len(table)


def test_ranks_among_new_tokens_ignore_everything_after_the_target():
    sequences, backbone = make_sequences(), make_backbone()
    before = rank_next_transactions(backbone, sequences, NEW)
    users, num_known = sequences.user_ix_N(), 0
    for target in select_targets(sequences, NEW)[::2]:
        tokens = sequences.token_ids_N.copy()
        future = slice(target + 1, sequences.offsets_U1[users[target] + 1])
        tokens[future] = 2 + np.arange(len(tokens[future])) % (VOCAB - 2)
        after = rank_next_transactions(backbone, replace(sequences, token_ids_N=tokens), NEW)
        known = (pl.col("user_ix") == users[target]) & (pl.col("row") <= target)
        assert before.filter(known).equals(after.filter(known))
        num_known += before.filter(known)["rank"].count() * (future.stop > future.start)
    assert num_known > 50


def test_all_models_of_a_table_have_the_same_candidates():
    sequences = make_sequences()
    everything, new = (rank_next_transactions(make_backbone(), sequences, config) for config in (ALL, NEW))
    assert (everything["candidates"].unique().to_list(), new["candidates"].unique().to_list()) == (
        ["all tokens"],
        ["tokens new to the user"],
    )
    first = sequences.first_row_N()
    is_miss = [
        token < 2 or token in sequences.token_ids_N[first[row] : row]
        for row, token in ((row, sequences.token_ids_N[row]) for row in select_targets(sequences, NEW))
    ]
    for (model,), table in new.group_by("model"):
        assert table["rank"].is_null().to_list() == is_miss, model
    assert (new["rank"] <= everything["rank"]).all(), "fewer candidates cannot make a rank worse"
    assert new["log_prob"].equals(everything["log_prob"])
    for table in (everything, new):
        assert {record["candidates"] for record in measure_ranks(table, BOOTSTRAP)} == {table["candidates"][0]}


def test_every_model_ranks_the_same_targets_and_unknown_tokens_have_no_rank():
    sequences = make_sequences()
    ranks = rank_next_transactions(make_backbone(), sequences, ALL)
    assert set(ranks["model"]) == {"popularity", "repeat_last", "personal_frequency", "markov", "panther"}
    rows = select_targets(sequences, ALL).tolist()
    for _, table in ranks.group_by("model"):
        assert table["row"].to_list() == rows
        assert (table["rank"].is_null().to_numpy() == (sequences.token_ids_N[rows] == 1)).all()
    assert ranks["rank"].max() <= VOCAB - 2


def test_records_count_misses_and_name_the_best_baseline():
    ranks = pl.DataFrame(
        {
            "row": [1, 2, 3, 4] * 3,
            "user_ix": [0, 0, 1, 2] * 3,
            "model": ["panther"] * 4 + ["markov"] * 4 + ["popularity"] * 4,
            "rank": [1, 1, 2, None, 1, 5, 9, None, 30, 40, 50, None],
            "cold": [False, False, True, False] * 3,
            "candidates": "all tokens",
        }
    )
    records = measure_ranks(ranks, BOOTSTRAP)
    hit = find_value(records, model="panther", metric="hr@1", split="test")
    assert (hit["value"], hit["n"]) == (0.5, 4)
    assert hit["low"] <= 0.5 <= hit["high"]
    assert find_value(records, model="panther", metric="mrr", split="test")["value"] == pytest.approx(2.5 / 4)
    difference = find_value(records, metric="hr@1_difference_vs_markov", split="test")
    assert (difference["model"], difference["value"]) == ("panther", 0.25)
    cold = find_value(records, model="panther", metric="hr@5", split="test_cold")
    assert (cold["value"], cold["low"], cold["high"], cold["n"]) == (1.0, None, None, 1)


def test_records_leave_out_the_cold_split_when_there_is_none():
    ranks = rank_next_transactions(make_backbone(), make_sequences(), ALL).with_columns(cold=False)
    assert {record["split"] for record in measure_ranks(ranks, BOOTSTRAP)} == {"test"}
