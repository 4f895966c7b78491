import pytest
from hypothesis import given
from hypothesis import strategies as st

from panther_pipeline.cards.numbers import find_card_numbers, holds_card_number, mask_card_numbers

from ..canaries import with_check_digit


@given(st.from_regex(r"[2-6][0-9]{11,17}", fullmatch=True), st.sampled_from(["{}", "card:{}", "x {} y", "{}/2"]))
def test_card_number_is_found_in_any_text(digits, text):
    card = with_check_digit(digits)
    assert holds_card_number(text.format(card))
    wrong = card[:-1] + str((int(card[-1]) + 1) % 10)
    assert not holds_card_number(text.format(wrong))


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "3782.822463.10005",
        "ref 12 4111-1111-1111-1111",
        "4111-1111-1111-1111-7",
        "4111\u20141111\u20141111\u20141111",
        "4111\u22121111\u22121111\u22121111",
    ],
)
def test_card_number_is_found_in_groups(text):
    assert holds_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "user-17",
        "411111111111",  # 12 digits
        "4111111111111112",
        "0000000000000000",
        "41111111111111110000",  # 20 digits
        "2024-01-01 12-00-02",  # a valid check digit by chance, but small groups are no card
        "٤١١١١١١١١١١١١١١١",
        "9b2f4111-1111-4111-9111-4111aaaa1111",
    ],
)
def test_other_texts_hold_no_card_number(text):
    assert not holds_card_number(text)


CARD = "4111111111111111"


@given(
    st.lists(
        st.one_of(
            st.sampled_from([CARD, "4111 1111 1111 1111", "3782-822463-10005", "4.111111111111111E+15", " ", "-", "."]),
            st.text("0123456789 .-\u2011\\E+x", max_size=20),
        )
    ).map("".join)
)
def test_masked_text_holds_no_card_number(text):
    masked = mask_card_numbers(text)
    assert not holds_card_number(masked)
    assert (masked != text) == holds_card_number(text)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"a {CARD} b 5500000000000004", "a [card number] b [card number]"),
        (f"2024-01-15 {CARD} 1225", "2024-01-15 [card number] 1225"),
        (r"0-4111\-1111\-1111\-1111", "0-[card number]"),
        ("4.111111111111111E+15", "[card number]E+15"),
        ("4111 1111 1111 1111, 4111 1111 1111 1111", "[card number], [card number]"),
        ("shop 17", "shop 17"),
    ],
)
def test_only_the_number_is_masked(text, masked):
    assert mask_card_numbers(text) == masked


def test_numbers_that_share_digits_are_one():
    other = with_check_digit("111111111111000")
    text = " ".join(["4111", *(other[i : i + 4] for i in range(0, 16, 4))])
    assert holds_card_number(text[:19])
    assert holds_card_number(text[5:])
    assert [number.digits for number in find_card_numbers(f"a {text} b")] == ["4111" + other]
    assert mask_card_numbers(f"a {text} b") == "a [card number] b"


def test_long_texts_take_time_in_proportion():
    """Half a million groups: looking at all that follow each would take hours."""
    text = "111 " * 500_000 + "4111 1111 1111 1111"
    assert holds_card_number(text)
    assert mask_card_numbers("4111111111111111;" * 20_000) == "[card number];" * 20_000
