"""Both kinds of backbone on the same tuples, against enumeration of all of them."""

from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from panther_pipeline.cache.states import iter_state_chunks
from panther_pipeline.errors import ArtifactError
from panther_pipeline.ledger.splits import TEST, TRAIN, UNUSED
from panther_pipeline.metrics.config import BootstrapConfig, RankingConfig
from panther_pipeline.metrics.next_transaction import rank_next_transactions, select_targets
from panther_pipeline.metrics.records import find_value
from panther_pipeline.metrics.tuples import (
    forecast_with_head,
    forecast_with_tokens,
    measure_next_tuples,
    score_next_tuples,
)
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.tokenizer.config import FieldConfig, VocabularyConfig
from panther_pipeline.tokenizer.counting import TupleCounter
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.vocabulary import code_strides, fit_vocabulary

CONFIG = RankingConfig(max_users=None, seed=0, batch_size=4)
BOOTSTRAP = BootstrapConfig(num_resamples=200, seed=0)
SIZES = [5, 4, 6]
ALL = np.array(list(product(*(range(1, size) for size in SIZES))))
STRIDES = code_strides(np.array(SIZES))
KINDS = ("structured", "factored")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def sequences() -> TokenSequences:
    rng = np.random.default_rng(0)
    lengths = np.array([1, 0, *rng.integers(5, 30, 20)])
    num = int(lengths.sum())
    in_user = np.concatenate([np.arange(n) / max(n, 1) for n in lengths])
    is_cold = np.repeat(np.arange(len(lengths)) % 4 == 3, lengths)
    ids = np.stack([np.minimum(rng.geometric(0.4, num), size - 1) for size in SIZES], axis=1).astype(np.int32)
    vocabulary = fit(ids)
    return TokenSequences(
        user_ids=[f"u{u:03d}" for u in range(len(lengths))],
        offsets_U1=np.concatenate([[0], np.cumsum(lengths)]),
        token_ids_N=vocabulary.encode(ids),
        attribute_ids_NF=ids,
        time_us_N=np.sort(rng.integers(0, 10**13, num)),
        split_N=np.where(in_user > 0.6, TEST, np.where(is_cold, UNUSED, TRAIN)).astype(np.int8),
        profile_ids_UP=np.zeros((len(lengths), 0), np.int32),
        vocab_size=vocabulary.size,
        attribute_names=["a", "b", "c"],
        attribute_sizes=SIZES,
        profile_names=[],
        profile_sizes=[],
        tokenizer_digest="test",
    )


def fit(attribute_ids):
    config = VocabularyConfig(
        fields=[FieldConfig(name="x", source="amount", kind="quantile", num_bins=2)], zone="UTC", max_tokens=None,
        coverage_target=None, min_count=6, max_dropped=2, profile_max_categories=2, profile_num_bins=2,
    )  # fmt: skip
    return fit_vocabulary(TupleCounter.of(attribute_ids, SIZES), [np.arange(size) for size in SIZES], [1, 0, 2], config)


@pytest.fixture(scope="module")
def tokenizer(sequences):
    """Stands in for the tokenizer, of which digest and vocabulary are read."""
    return SimpleNamespace(digest="test", vocabulary=fit(sequences.attribute_ids_NF))


def make_backbone(sequences, kind: str) -> Backbone:
    config = ModelConfig(dim=8, num_layers=1, num_heads=1, max_events=16, attribute_dim=4, num_prototypes=4)
    backbone = Backbone(
        config, vocab_size=sequences.vocab_size, attribute_sizes=SIZES, profile_sizes=[], tokenizer_digest="test",
        tokenizer_kind=kind,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(3)
    for name, parameter in backbone.named_parameters():
        if "tuple_head" in name or "token" in name:
            torch.nn.init.normal_(parameter, std=0.4, generator=generator)
    return backbone.eval()


@pytest.fixture(scope="module")
def enumerated(sequences, tokenizer):
    """For each kind: the targets, and log p of every tuple after each, by asking for one tuple after the other."""
    rows_M = select_targets(sequences, CONFIG)
    result = {}
    for kind in KINDS:
        backbone = make_backbone(sequences, kind)
        parts = []
        for state_rows, h_mD in iter_state_chunks(backbone, sequences, rows_M - 1, 4):
            columns = []
            for ids in ALL:
                # The same histories, as if this tuple were what came; training events stay what they were.
                attribute_ids = sequences.attribute_ids_NF.copy()
                attribute_ids[state_rows + 1] = ids
                tokens = sequences.token_ids_N.copy()
                tokens[state_rows + 1] = tokenizer.vocabulary.encode(ids[None])[0]
                other = replace(sequences, attribute_ids_NF=attribute_ids, token_ids_N=tokens)
                if kind == "factored":
                    forecast = forecast_with_head(backbone.tuple_head, attribute_ids)
                else:
                    forecast = forecast_with_tokens(backbone, tokenizer.vocabulary, other, attribute_ids @ STRIDES)
                with torch.inference_mode():
                    columns.append(forecast(h_mD, state_rows + 1)[0])
            parts.append((state_rows + 1, np.stack(columns, axis=1)))
        order = np.argsort(np.concatenate([rows for rows, _ in parts]))
        result[kind] = np.concatenate([log_prob for _, log_prob in parts])[order]
    return rows_M, result


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_of_all_tuples_sum_to_one(kind, enumerated):
    _, log_prob = enumerated
    assert np.allclose(np.exp(log_prob[kind]).sum(axis=1), 1, atol=1e-5)
    assert np.isfinite(log_prob[kind]).all(), "what was never seen is improbable, not impossible"


@pytest.mark.parametrize("kind", KINDS)
def test_scores_equal_enumeration(kind, sequences, tokenizer, enumerated):
    rows_M, log_prob = enumerated
    scores = score_next_tuples(make_backbone(sequences, kind), sequences, tokenizer, CONFIG)
    own = scores.filter(model=f"panther_{kind}")
    assert own["row"].to_list() == rows_M.tolist()
    came = [ALL.tolist().index(ids) for ids in sequences.attribute_ids_NF[rows_M].tolist()]
    expected = log_prob[kind][np.arange(len(rows_M)), came]
    assert np.allclose(own["bits"], -expected / np.log(2), atol=1e-4)
    difference = log_prob[kind] - expected[:, None]
    is_lower_code = (ALL @ STRIDES)[None] < (ALL @ STRIDES)[came][:, None]
    is_ahead = (difference > 1e-6) | ((np.abs(difference) <= 1e-6) & is_lower_code)
    # A structured model forecasts tuples that training has seen.
    train_codes = sequences.attribute_ids_NF[sequences.split_N == TRAIN] @ STRIDES
    is_candidate = np.isin(ALL @ STRIDES, train_codes) | (kind == "factored")
    place = 1 + (is_ahead & is_candidate).sum(axis=1)
    expected_place = np.where(is_candidate[came] & (place <= 10), place, 99)
    assert own["place"].fill_null(99).to_list() == expected_place.tolist()
    if kind == "structured":
        assert set(log_prob[kind].argmax(axis=1)) <= set(np.flatnonzero(is_candidate)), "the first place is exact"
    assert (own["place"] <= 3).any()


def test_forecast_of_a_target_ignores_it_and_everything_after(sequences, tokenizer):
    target = int(select_targets(sequences, CONFIG)[7])
    stop = sequences.offsets_U1[sequences.user_ix_N()[target] + 1]
    ids, tokens = sequences.attribute_ids_NF.copy(), sequences.token_ids_N.copy()
    ids[target + 1 : stop] = 1
    tokens[target + 1 : stop] = tokenizer.vocabulary.encode(ids[target + 1 : stop])
    changed = replace(sequences, attribute_ids_NF=ids, token_ids_N=tokens)
    for kind in KINDS:
        backbone = make_backbone(sequences, kind)
        before, after = (score_next_tuples(backbone, s, tokenizer, CONFIG) for s in (sequences, changed))
        assert before.filter(pl.col("row") <= target).equals(after.filter(pl.col("row") <= target))
        assert not before.equals(after)


def test_every_model_is_asked_about_the_same_targets(sequences, tokenizer):
    scores = score_next_tuples(make_backbone(sequences, "factored"), sequences, tokenizer, CONFIG)
    rows = select_targets(sequences, CONFIG).tolist()
    models = dict(scores.partition_by("model", as_dict=True).items())
    assert set(models) == {
        (m,) for m in ("popularity", "repeat_last", "personal_frequency", "markov", "panther_factored")
    }
    for (model,), table in models.items():
        assert table["row"].to_list() == rows
        assert (table["bits"].null_count() == 0) == (model in ("popularity", "panther_factored"))
        assert table["place"].drop_nulls().is_between(1, 10).all()


@pytest.mark.parametrize("kind", KINDS)
def test_tuples_are_placed_among_all_whatever_the_candidates_of_tokens(sequences, tokenizer, kind):
    backbone, new = make_backbone(sequences, kind), CONFIG.model_copy(update={"exclude_seen": True})
    everything, still = (score_next_tuples(backbone, sequences, tokenizer, config) for config in (CONFIG, new))
    assert everything.equals(still)
    records = measure_next_tuples(still, BootstrapConfig(num_resamples=100, seed=0))
    assert {record["candidates"] for record in records} == {"all combinations"}


def test_repeated_tuple_is_a_hit_of_repeat_last(sequences, tokenizer):
    scores = score_next_tuples(make_backbone(sequences, "structured"), sequences, tokenizer, CONFIG)
    rows = select_targets(sequences, CONFIG)
    same = (sequences.attribute_ids_NF[rows] == sequences.attribute_ids_NF[rows - 1]).all(axis=1)
    assert ((scores.filter(model="repeat_last")["place"] == 1).fill_null(False).to_numpy() == same).all()


def test_popularity_states_the_shares_of_training(sequences, tokenizer):
    bits = score_next_tuples(make_backbone(sequences, "factored"), sequences, tokenizer, CONFIG).filter(
        model="popularity"
    )
    train = sequences.attribute_ids_NF[sequences.split_N == TRAIN].tolist()
    counts = np.array([train.count(ids) for ids in sequences.attribute_ids_NF[bits["row"].to_numpy()].tolist()])
    by_count = {int(c): set(np.round(bits["bits"].to_numpy()[counts == c], 9)) for c in np.unique(counts)}
    assert all(len(values) == 1 for values in by_count.values())
    ordered = [min(by_count[c]) for c in sorted(by_count)]
    assert ordered == sorted(ordered, reverse=True)


def test_factored_backbone_has_no_row_in_the_table_of_tokens(sequences):
    ranks = rank_next_transactions(make_backbone(sequences, "factored"), sequences, CONFIG)
    assert set(ranks["model"]) == {"popularity", "repeat_last", "personal_frequency", "markov"}
    assert ranks["log_prob"].null_count() == len(ranks)


def test_sequences_of_another_tokenizer_are_refused(sequences, tokenizer):
    foreign = SimpleNamespace(digest="other", vocabulary=tokenizer.vocabulary)
    with pytest.raises(ArtifactError, match="tokenize"):
        score_next_tuples(make_backbone(sequences, "structured"), sequences, foreign, CONFIG)


def test_records_are_means_over_targets_with_intervals_over_users():
    scores = pl.DataFrame(
        {
            "row": [1, 2, 3, 4] * 2,
            "user_ix": [0, 0, 1, 2] * 2,
            "model": ["panther_factored"] * 4 + ["markov"] * 4,
            "bits": [1.0, 2.0, 3.0, 6.0] + [None] * 4,
            "place": [1, 1, 7, None, 1, None, None, None],
            "cold": [False, False, True, False] * 2,
        }
    )
    records = measure_next_tuples(scores, BOOTSTRAP)
    bits = find_value(records, model="panther_factored", metric="bits_per_transaction", split="test")
    assert (bits["task"], bits["value"], bits["n"]) == ("next_transaction", 3.0, 4)
    assert bits["low"] < 3.0 < bits["high"]
    assert find_value(records, model="panther_factored", metric="tuple_hr@1", split="test")["value"] == 0.5
    assert find_value(records, model="panther_factored", metric="tuple_hr@10", split="test")["value"] == 0.75
    assert find_value(records, model="markov", metric="tuple_hr@10", split="test")["value"] == 0.25
    assert find_value(records, model="markov", metric="bits_per_transaction") is None
    cold = find_value(records, model="panther_factored", metric="bits_per_transaction", split="test_cold")
    assert (cold["value"], cold["low"], cold["n"]) == (3.0, None, 1)
