import pytest
from hypothesis import given
from hypothesis import strategies as st

from panther_pipeline.serving.cards import holds_card_number


def with_check_digit(digits: str) -> str:
    doubled = [int(d) * 2 if i % 2 == 0 else int(d) for i, d in enumerate(reversed(digits))]
    return digits + str(-sum(sum(divmod(d, 10)) for d in doubled) % 10)


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
