"""Which values of an attribute can be forecast, and what is refused."""

from dataclasses import replace

import polars as pl
import pytest
from pydantic import ValidationError

from panther_pipeline.errors import ArtifactError, ConfigurationError
from panther_pipeline.ledger.splits import TEST, TRAIN
from panther_pipeline.tasks.next_value.config import NextValueConfig
from panther_pipeline.tasks.next_value.values import encode_values, fit_value_fields


def only(config, *attributes, **changes) -> NextValueConfig:
    return config.model_copy(update={"attributes": list(attributes), **changes})


def test_values_are_numbered_by_frequency_in_training(events, sequences, config):
    (field,) = fit_value_fields(events.lazy(), sequences, only(config, "counterparty"))
    counts = events.filter(pl.Series(sequences.split_N == TRAIN))["counterparty"].value_counts()
    expected = counts.sort(["count", "counterparty"], descending=[True, False])["counterparty"].to_list()
    assert field.categories == expected
    ids_N = encode_values(events.lazy(), sequences, field).token_ids_N
    assert [expected.index(name) + 2 if name in expected else 1 for name in events["counterparty"]] == ids_N.tolist()


def test_value_first_seen_after_training_has_no_id_of_its_own(events, sequences, config):
    (field,) = fit_value_fields(events.lazy(), sequences, only(config, "counterparty"))
    values = encode_values(events.lazy(), sequences, field)
    assert "late" in events["counterparty"]
    assert set(values.token_ids_N[(events["counterparty"] == "late").to_numpy()]) == {1}


def test_values_after_training_do_not_change_what_is_fitted(events, sequences, config):
    later = pl.Series(sequences.split_N) != TRAIN
    changed = events.with_columns(counterparty=pl.when(later).then(pl.lit("m11")).otherwise("counterparty"))
    wanted = only(config, "counterparty", max_values=3)
    assert fit_value_fields(changed.lazy(), sequences, wanted) == fit_value_fields(events.lazy(), sequences, wanted)


def test_only_the_most_frequent_values_are_kept(events, sequences, config):
    (few,) = fit_value_fields(events.lazy(), sequences, only(config, "counterparty", max_values=3))
    (all_,) = fit_value_fields(events.lazy(), sequences, only(config, "counterparty"))
    assert few.categories == all_.categories[:3]


@pytest.mark.parametrize("attribute", ["colour", "user_id", "amount_cents"])
def test_attribute_the_ledger_lacks_is_refused_with_those_it_has(events, sequences, config, attribute):
    with pytest.raises(ConfigurationError, match=rf"names {attribute}, .* It has: category, counterparty\."):
        fit_value_fields(events.lazy(), sequences, only(config, "category", attribute))


def test_attribute_without_a_value_in_training_is_left_out_with_a_warning(events, sequences, config, caplog):
    is_test = pl.Series(sequences.split_N) == TEST
    bare = events.with_columns(counterparty=pl.when(is_test).then("counterparty"))
    assert [f.name for f in fit_value_fields(bare.lazy(), sequences, config)] == ["category"]
    assert "'counterparty': its next value is not forecast" in caplog.text


@pytest.mark.parametrize(("attributes", "names"), [(None, ["category", "counterparty"]), ([], [])])
def test_null_is_all_attributes_and_an_empty_list_is_none(events, sequences, config, attributes, names):
    wanted = config.model_copy(update={"attributes": attributes})
    assert [f.name for f in fit_value_fields(events.lazy(), sequences, wanted)] == names


def test_events_of_another_run_are_refused(events, sequences, config):
    with pytest.raises(ArtifactError, match="different runs"):
        fit_value_fields(events.head(5).lazy(), sequences, config)


def test_values_are_the_same_histories_with_other_ids(events, sequences, config):
    (field,) = fit_value_fields(events.lazy(), sequences, only(config, "category"))
    values = encode_values(events.lazy(), sequences, field)
    assert values.vocab_size == 5
    assert replace(values, token_ids_N=sequences.token_ids_N, vocab_size=6) == sequences


@pytest.mark.parametrize(
    ("attributes", "message"), [(["a", "a"], "'a' is named twice"), (["transaction"], "task of whole tokens")]
)
def test_config_refuses_attributes_that_would_be_measured_as_one(config, attributes, message):
    with pytest.raises(ValidationError, match=message):
        NextValueConfig(**config.model_dump() | {"attributes": attributes})
