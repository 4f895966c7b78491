"""The tokenizer's promises: only training counts, batch equals single, nothing in an event can break it."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panther_pipeline.errors import ConfigurationError, SourceError
from panther_pipeline.ledger.splits import TRAIN, assign_split
from panther_pipeline.tokenizer.event_tokenizer import WILDCARD
from panther_pipeline.tokenizer.tokenizer import Tokenizer
from panther_pipeline.tokenizer.vocabulary import UNK_ID


@pytest.fixture(scope="module")
def tokenizer(events, profiles, splits, make_config):
    return Tokenizer.fit(events, profiles, make_config(), splits)


@pytest.fixture(scope="module")
def rich(events, profiles, splits, every_source):
    return Tokenizer.fit(events, profiles, every_source(), splits)


@pytest.fixture(scope="module")
def factored(events, profiles, splits, make_config):
    return Tokenizer.fit(events, profiles, make_config(kind="factored"), splits)


@pytest.fixture(scope="module")
def is_train(events, splits):
    return assign_split(events["event_time"].dt.timestamp("us").to_numpy(), events["user_id"], splits) == TRAIN


def previous_times(events: pl.DataFrame) -> pl.DataFrame:
    return events.with_columns(previous_event_time=pl.col("event_time").shift(1).over("user_id"))


# -- kinds


def test_both_kinds_encode_alike_and_are_not_mistaken_for_each_other(tokenizer, factored, events):
    assert (tokenizer.kind, factored.kind) == ("structured", "factored")
    one, other = tokenizer.encode(events), factored.encode(events)
    assert np.array_equal(one.token_ids_N, other.token_ids_N)
    assert np.array_equal(one.attribute_ids_NF, other.attribute_ids_NF)
    assert tokenizer.names == factored.names
    assert tokenizer.digest != factored.digest


def test_kind_survives_the_file_and_the_first_kind_is_not_written(tokenizer, factored, tmp_path):
    for fitted, is_written in ((tokenizer, False), (factored, True)):
        fitted.save(tmp_path / "tokenizer.json")
        loaded = Tokenizer.load(tmp_path / "tokenizer.json")
        assert (loaded.kind, loaded.digest) == (fitted.kind, fitted.digest)
        content = json.loads((tmp_path / "tokenizer.json").read_text())["content"]
        assert ("kind" in content) == is_written


def test_name_of_a_tuple_is_that_of_its_token_where_it_has_one(tokenizer, events):
    encoded = tokenizer.encode(events)
    names = tokenizer.name_tuples(encoded.attribute_ids_NF)
    whole = np.flatnonzero(encoded.backoff_level_N == 0)
    assert len(whole) < len(names)
    assert [names[n] for n in whole] == [tokenizer.names[encoded.token_ids_N[n]] for n in whole]
    assert all(name.count("|") >= 2 for name in names)


# -- fitting


@pytest.mark.parametrize("config_name", ["make_config", "every_source"])
def test_fit_ignores_everything_outside_training(events, profiles, splits, is_train, config_name, request):
    config = request.getfixturevalue(config_name)()
    later = ~pl.Series(is_train)
    changed = events.with_columns(
        category=pl.when(later).then(pl.lit("never seen")).otherwise("category"),
        channel=pl.when(later).then(pl.lit("carrier pigeon")).otherwise("channel"),
        amount_cents=pl.when(later).then(pl.lit(10**15)).otherwise("amount_cents"),
        counterparty=pl.when(later).then(pl.lit("m99")).otherwise("counterparty"),
        ratio=pl.when(later).then(pl.lit(1e300)).otherwise("ratio"),
    )
    digest = Tokenizer.fit(events, profiles, config, splits).digest
    assert Tokenizer.fit(changed, profiles, config, splits).digest == digest
    assert Tokenizer.fit(events.filter(~later), profiles, config, splits).digest == digest


def test_fit_sees_a_change_within_training(events, profiles, splits, make_config, is_train, tokenizer):
    row = int(np.flatnonzero(is_train)[0])
    changed = events.with_row_index().with_columns(
        category=pl.when(pl.col("index") == row).then(pl.lit("never seen")).otherwise("category")
    )
    assert Tokenizer.fit(changed, profiles, make_config(), splits).digest != tokenizer.digest


@pytest.mark.parametrize("config_name", ["make_config", "every_source"])
def test_fit_does_not_depend_on_the_order_of_rows(events, profiles, splits, config_name, request):
    config = request.getfixturevalue(config_name)()
    shuffled = events.sample(fraction=1.0, shuffle=True, seed=5)
    shuffled_profiles = profiles.sample(fraction=1.0, shuffle=True, seed=6)
    expected = Tokenizer.fit(events, profiles, config, splits)
    assert Tokenizer.fit(shuffled, shuffled_profiles, config, splits).digest == expected.digest


def test_digest_does_not_depend_on_the_hash_seed(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import conftest as c; from panther_pipeline.tokenizer.tokenizer import Tokenizer\n"
        "config = c.every_source_config()\n"
        "print(Tokenizer.fit(c.build_events(400, 8), c.build_profiles(8), config, c.SPLITS).digest)"
    )
    digests = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "POLARS_MAX_THREADS": seed}
        command = [sys.executable, "-c", script, os.path.dirname(__file__)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        digests.add(done.stdout.strip())
    assert len(digests) == 1
    assert len(digests.pop()) == 64


def test_fit_names_the_ledgers_span_when_nothing_is_training(events, profiles, splits, make_config):
    none = splits.model_copy(update={"train_end": "2020-01-01"})
    with pytest.raises(ConfigurationError, match=r"2020-01-01: the ledger's 3000 events run from"):
        Tokenizer.fit(events, profiles, make_config(), none)


def test_fit_names_a_missing_column(events, profiles, splits, make_config):
    with pytest.raises(SourceError, match=r"no column 'channel'.*It has: user_id, event_id"):
        Tokenizer.fit(events.drop("channel"), profiles, make_config(), splits)


def test_the_next_event_is_one_of_the_same_user(events, splits, make_config):
    category = (pl.int_range(pl.len()) % 2).cast(pl.String)
    lone = events.with_columns(user_id="event_id", event_seq=pl.lit(0), category=category)
    fitted = Tokenizer.fit(lone, pl.DataFrame(), make_config(), splits)
    assert fitted.content.information_nats == [0, 0, 0]


def test_ids_fall_in_frequency_and_ties_in_name(tokenizer):
    counts = tokenizer.vocabulary.counts_V[2:].tolist()
    names = tokenizer.names
    assert counts == sorted(counts, reverse=True)
    assert names[:2] == ["[PAD]", "[UNK]"]
    assert len(set(names)) == len(names)
    labels = [list(tokenizer.describe(i).values()) for i in range(2, tokenizer.vocab_size)]
    assert list(zip(counts, labels, strict=True)) == sorted(
        zip(counts, labels, strict=True), key=lambda pair: (-pair[0], pair[1])
    )


def test_counts_are_those_of_the_training_events(tokenizer, events, is_train):
    encoded = tokenizer.encode(events.filter(pl.Series(is_train)))
    counted = np.bincount(encoded.token_ids_N, minlength=tokenizer.vocab_size)
    assert counted.tolist() == tokenizer.vocabulary.counts_V.tolist()


# -- encoding


@pytest.mark.parametrize("name", ["tokenizer", "rich"])
def test_one_event_encodes_as_in_the_batch(name, request, make_events):
    tokenizer = request.getfixturevalue(name)
    fresh = make_events(4000, 60, seed=9).with_columns(
        category=pl.when(pl.col("event_seq") % 7 == 0).then(None).otherwise("category"),
        ratio=pl.when(pl.col("event_seq") % 5 == 0).then(pl.lit(float("nan"))).otherwise("ratio"),
    )
    encoded = tokenizer.encode(fresh)
    single = [tokenizer.encode_event(row) for row in previous_times(fresh).iter_rows(named=True)]
    assert [token for token, _ in single] == encoded.token_ids_N.tolist()
    assert [ids for _, ids in single] == encoded.attribute_ids_NF.tolist()
    assert len(np.unique(encoded.token_ids_N)) > 20


def test_integer_microseconds_encode_as_datetimes(rich, events):
    row = previous_times(events).row(17, named=True)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    times = {key: (row[key] - epoch) // timedelta(microseconds=1) for key in ("event_time", "previous_event_time")}
    assert rich.encode_event({**row, **times}) == rich.encode_event(row)


def test_encoding_does_not_depend_on_the_order_of_rows(rich, events):
    order = np.random.default_rng(1).permutation(len(events))
    shuffled = rich.encode(events[order.tolist()])
    assert np.array_equal(shuffled.token_ids_N, rich.encode(events).token_ids_N[order])


def test_encoding_has_the_declared_types(rich, events):
    encoded = rich.encode(events)
    assert (encoded.token_ids_N.dtype, encoded.attribute_ids_NF.dtype) == (np.int32, np.int32)
    assert encoded.backoff_level_N.dtype == np.int8
    assert encoded.attribute_ids_NF.shape == (len(events), 7)
    assert encoded.token_ids_N.min() >= UNK_ID
    assert (encoded.attribute_ids_NF.min(axis=0) >= 1).all()
    assert (encoded.attribute_ids_NF.max(axis=0) < rich.attribute_sizes).all()


def test_an_empty_table_encodes_to_nothing(rich, events):
    encoded = rich.encode(events.clear())
    assert encoded.token_ids_N.shape == (0,)
    assert encoded.attribute_ids_NF.shape == (0, 7)


def test_an_earlier_token_ignores_later_events(rich, events):
    cut = events.filter(pl.col("event_seq") < 20)
    kept = (events["event_seq"] < 20).to_numpy()
    assert np.array_equal(rich.encode(cut).token_ids_N, rich.encode(events).token_ids_N[kept])


def test_values_never_seen_get_an_id_and_no_error(tokenizer):
    huge = 2**62
    event = {"category": "spaceship", "channel": "card", "amount_cents": huge}
    _, (category, channel, amount) = tokenizer.encode_event(event)
    assert (category, amount) == (1, tokenizer.attribute_sizes[2] - 1)
    assert channel > 1
    assert tokenizer.encode_event({**event, "amount_cents": -huge})[1][2] == 2
    assert tokenizer.encode_event({"amount_cents": None})[1] == [1, 1, 1]
    assert tokenizer.encode_event({}) == (tokenizer.encode_values({}), [1, 1, 1])


_hostile = st.one_of(
    st.none(), st.text(), st.integers(), st.floats(), st.booleans(), st.decimals(), st.binary(max_size=4),
    st.lists(st.integers(), max_size=2),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(category=_hostile, channel=_hostile, amount=_hostile)
def test_no_value_of_an_event_raises(tokenizer, category, channel, amount):
    token, ids = tokenizer.encode_event({"category": category, "channel": channel, "amount_cents": amount})
    assert 1 <= token < tokenizer.vocab_size
    assert all(1 <= i < size for i, size in zip(ids, tokenizer.attribute_sizes, strict=True))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.text(max_size=5) | st.sampled_from(["rent", "fuel", "food|drink"]),
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.floats(),
            st.none() | st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1)),
            st.none() | st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1)),
        ),
        max_size=8,
    )
)
def test_batch_and_single_agree_on_hostile_rows(rich, rows):
    names = ["category", "amount_cents", "ratio", "event_time", "previous_event_time"]
    types = [pl.String, pl.Int64, pl.Float64, pl.Datetime("us"), pl.Datetime("us")]
    table = pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")
    times = [pl.col(name).dt.replace_time_zone("UTC") for name in names[3:]]
    table = table.with_columns(*times, pl.lit("m1").alias("counterparty"))
    encoded = rich.encode(table)
    single = [rich.encode_event(row) for row in table.iter_rows(named=True)]
    assert [ids for _, ids in single] == encoded.attribute_ids_NF.tolist()
    assert [token for token, _ in single] == encoded.token_ids_N.tolist()


def test_attribute_tuples_encode_to_the_events_tokens(tokenizer, events):
    encoded = tokenizer.encode(events)
    assert np.array_equal(tokenizer.encode_attribute_tuples(encoded.attribute_ids_NF), encoded.token_ids_N)
    columns = [tokenizer.attribute_ids(n, events[c]) for n, c in [("category", "category"), ("channel", "channel")]]
    assert np.array_equal(np.stack(columns, axis=1), encoded.attribute_ids_NF[:, :2])
    known = events["amount_cents"].is_not_null().to_numpy()
    amounts = events["amount_cents"].drop_nulls().to_numpy()
    bins = np.searchsorted(tokenizer.amount_edges_cents, amounts, side="right") + 2
    assert np.array_equal(bins, encoded.attribute_ids_NF[known, 2])


@pytest.mark.parametrize("bad", [[[1, 1]], [[1, 1, 99]], [[-1, 1, 1]]])
def test_attribute_tuples_out_of_range_are_refused(tokenizer, bad):
    with pytest.raises(ConfigurationError, match=r"shape|range"):
        tokenizer.encode_attribute_tuples(np.array(bad))


# -- decoding


@pytest.mark.parametrize("name", ["tokenizer", "rich"])
def test_every_token_survives_decoding(name, request):
    tokenizer = request.getfixturevalue(name)
    ids = range(1, tokenizer.vocab_size)
    assert [tokenizer.encode_values(tokenizer.decode(i)) for i in ids] == list(ids)
    assert any(WILDCARD in tokenizer.decode(i).values() for i in ids if i != UNK_ID)


def test_names_read_as_described(tokenizer):
    for token_id in range(2, tokenizer.vocab_size):
        assert tokenizer.names[token_id] == "|".join(tokenizer.describe(token_id).values())
    assert any(name.startswith("food\\|drink|card|") for name in tokenizer.names)
    assert tokenizer.names[2].count("|") == 2


@pytest.mark.parametrize("token_id", [-1, 0, 10**6])
def test_ids_that_are_no_event_are_not_decoded(tokenizer, token_id):
    with pytest.raises(ConfigurationError, match=rf"Token id {token_id} is"):
        tokenizer.decode(token_id)


# -- profiles


def test_profiles_of_users_without_training_are_not_fitted(events, splits, make_config):
    profiles = pl.DataFrame({"user_id": ["u000", "u001", "u002", "stranger"], "region": ["n", "n", "n", "z"]})
    fitted = Tokenizer.fit(events, profiles, make_config(min_count=1), splits)
    assert fitted.profile_fields[0].categories == ["n"]


def test_users_without_profile_are_unknown(tokenizer, profiles):
    ids = tokenizer.encode_profiles(profiles, ["u001", "nobody"])
    assert tokenizer.profile_names == ["region", "income"]
    assert (ids[0] > 1).all()
    assert ids[1].tolist() == [1, 1]
    assert tokenizer.encode_profiles(pl.DataFrame(), ["u001"]).tolist() == [[1, 1]]


def test_profiles_follow_the_order_of_the_users(tokenizer, profiles):
    users = profiles["user_id"].sample(fraction=1.0, shuffle=True, seed=2).to_list()
    straight = dict(
        zip(
            profiles["user_id"],
            tokenizer.encode_profiles(profiles, profiles["user_id"].to_list()).tolist(),
            strict=True,
        )
    )
    assert tokenizer.encode_profiles(profiles.reverse(), users).tolist() == [straight[user] for user in users]


def test_profile_numbers_fall_into_equally_full_bins(tokenizer, profiles):
    assert tokenizer.profile_sizes[1] == 2 + 4  # padding, unknown and profile_num_bins
    ids = tokenizer.encode_profiles(profiles, profiles["user_id"].to_list())[:, 1]
    assert (np.diff(ids) >= 0).all()  # incomes rise from user to user
    assert np.bincount(ids)[2:] == pytest.approx([10] * 4, abs=2)


def test_missing_profile_numbers_are_unknown(events, profiles, splits, make_config):
    holes = profiles.with_columns(income=pl.when(pl.col("user_id") == "u001").then(None).otherwise("income"))
    fitted = Tokenizer.fit(events, holes, make_config(), splits)
    ids = fitted.encode_profiles(holes, ["u001", "u002"])[:, 1]
    assert ids[0] == 1
    assert ids[1] > 1


def test_a_ledger_without_profiles_has_none(events, splits, make_config):
    fitted = Tokenizer.fit(events, pl.DataFrame(), make_config(), splits)
    assert fitted.profile_names == []
    assert fitted.encode_profiles(pl.DataFrame(), ["u001", "u002"]).shape == (2, 0)


# -- saving


def test_a_saved_tokenizer_encodes_alike(rich, events, tmp_path):
    rich.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.digest == rich.digest == json.loads((tmp_path / "tokenizer.json").read_text())["digest"]
    assert np.array_equal(loaded.encode(events).token_ids_N, rich.encode(events).token_ids_N)
    assert loaded.names == rich.names
