"""Values and tokens of one tokenizer in the words of another."""

import numpy as np
import pytest

from panther_pipeline.tokenizer.artifact import TokenizerContent, TokenRow
from panther_pipeline.tokenizer.fields import FittedField
from panther_pipeline.tokenizer.mapping import FRESH, map_fields, map_tokenizer
from panther_pipeline.tokenizer.tokenizer import Tokenizer


def categories(name: str, *values: str) -> FittedField:
    return FittedField(name=name, source="category", column=name, categories=list(values), edges=None)


def bins(*edges: int, name: str = "amount", source: str = "amount") -> FittedField:
    return FittedField(name=name, source=source, column=name, categories=None, edges=list(edges))


def tokenizer(fields: list[FittedField], patterns: dict[tuple[int, ...], int], drop_order: list[str]) -> Tokenizer:
    """Patterns of attribute ids and how often each occurs, by falling frequency."""
    content = TokenizerContent(
        fields=fields,
        profile_fields=[],
        zone="UTC",
        drop_order=drop_order,
        information_nats=[0.0] * len(fields),
        max_dropped=len(fields) - 1,
        train_end="2024-01-01",
        num_train_tuples=len(patterns),
        num_unknown=0,
        tokens=[TokenRow(name=str(p), pattern=list(p), count=count) for p, count in patterns.items()],
    )
    return Tokenizer(content)


def test_categories_are_matched_by_their_text():
    target, source = categories("kind", "rent", "food", "travel"), categories("kind", "food", "rent")
    [mapping] = map_fields([target], [source])
    assert mapping.source_ids_S.tolist() == [0, 1, 3, 2, FRESH]
    assert mapping.is_exact_S.tolist() == [True, True, True, True, False]


def test_bin_is_the_one_that_its_middle_lies_in():
    target, source = bins(0, 1000, 3000), bins(0, 2000, 2500)
    [mapping] = map_fields([target], [source])
    # below 0; 0 to 10 in 0 to 20; 10 to 30, middle 20, in 20 to 25; from 30 on in the last.
    assert mapping.source_ids_S.tolist() == [0, 1, 2, 3, 4, 5]
    assert mapping.is_exact_S.tolist() == [True, True, True, False, False, False]


def test_first_event_of_a_user_stays_a_value_of_its_own():
    day = 86_400_000_000
    target, source = bins(0, day, name="gap", source="gap"), bins(0, 2 * day, name="gap", source="gap")
    [mapping] = map_fields([target], [source])
    assert mapping.source_ids_S.tolist() == [0, 1, 2, 3, 3]


@pytest.mark.parametrize("source", [categories("kind", "a"), bins(0, name="amount", source="number")])
def test_field_of_another_name_or_source_is_another_field(source):
    [mapping] = map_fields([bins(0)], [source])
    assert mapping.source_ix is None
    assert set(mapping.source_ids_S.tolist()) == {FRESH}


KIND, CHANNEL = categories("kind", "rent", "food"), categories("channel", "card", "cash")


def means(mapping, vectors_W: np.ndarray) -> list[float]:
    """What each target token takes, of one number per source token; NaN where it takes nothing."""
    tokens = mapping.tokens
    groups_G = np.bincount(tokens.member_groups_M, tokens.member_weights_M * vectors_W[tokens.members_M])
    return np.where(tokens.groups_V == FRESH, np.nan, groups_G[tokens.groups_V]).tolist()


def test_tokenizer_is_its_own_image():
    one = tokenizer([KIND, CHANNEL], {(2, 2): 9, (3, 2): 5, (3, 3): 5, (0, 3): 1}, ["kind", "channel"])
    mapping = map_tokenizer(one, one)
    assert mapping.tokens.is_exact_V.all()
    assert means(mapping, np.arange(6.0)) == [0, 1, 2, 3, 4, 5]


def test_token_finds_itself_in_permuted_fields_values_and_tokens():
    target = tokenizer([KIND, CHANNEL], {(2, 2): 9, (3, 2): 5, (3, 3): 4}, ["channel", "kind"])
    permuted = [categories("channel", "cash", "card"), categories("kind", "food", "rent")]
    source = tokenizer(permuted, {(2, 2): 9, (3, 2): 7, (3, 3): 1}, ["kind", "channel"])
    mapping = map_tokenizer(target, source)
    # rent, card = (3, 3) is source token 4; food, card = (3, 2) is 3; food, cash = (2, 2) is 2.
    assert means(mapping, np.arange(5.0)) == [0, 1, 4, 3, 2]
    assert mapping.tokens.is_exact_V.all()


def test_token_without_a_twin_is_the_mean_of_those_that_agree_on_most():
    target = tokenizer([KIND, CHANNEL], {(2, 3): 9, (3, 3): 5}, ["channel", "kind"])
    source = tokenizer([KIND, CHANNEL], {(2, 2): 6, (3, 3): 5, (2, 0): 2}, ["channel", "kind"])
    mapping = map_tokenizer(target, source)
    # rent, cash: not in the source; without the channel, rent by card (6 times) and rent (2 times) agree.
    assert means(mapping, np.array([0.0, 1, 10, 20, 30])) == [0, 1, (6 * 10 + 2 * 30) / 8, 20]
    assert mapping.tokens.dropped_V.tolist() == [0, 0, 1, 0]
    assert mapping.tokens.is_exact_V.tolist() == [True, True, False, True]


def test_field_that_only_the_source_has_is_averaged_over():
    target = tokenizer([KIND], {(2,): 9, (3,): 5}, ["kind"])
    source = tokenizer([KIND, CHANNEL], {(2, 2): 3, (3, 3): 2, (2, 3): 1}, ["channel", "kind"])
    mapping = map_tokenizer(target, source)
    assert means(mapping, np.array([0.0, 1, 10, 20, 30])) == [0, 1, (3 * 10 + 30) / 4, 20]
    assert mapping.tokens.is_exact_V.tolist() == [True, True, False, False]


def test_token_that_nothing_agrees_with_stays_fresh():
    target = tokenizer([categories("kind", "rent", "gold")], {(2,): 9, (3,): 5}, ["kind"])
    source = tokenizer([KIND], {(2,): 9, (3,): 5}, ["kind"])
    assert map_tokenizer(target, source).tokens.groups_V[-1] == FRESH
    elsewhere = tokenizer([CHANNEL], {(2,): 9}, ["channel"])
    assert map_tokenizer(target, elsewhere).tokens.groups_V.tolist() == [0, 1, FRESH, FRESH]
