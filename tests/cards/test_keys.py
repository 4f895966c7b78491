"""The key of card numbers: what is refused, and what a token tells."""

import base64
import re

import pytest

from panther_pipeline.cards.keys import KEY_VARIABLE, TOKEN_PATTERN, CardKey, read_card_key
from panther_pipeline.cards.numbers import holds_card_number
from panther_pipeline.errors import ConfigurationError

RANDOM = bytes.fromhex("c2a94e0d71f3586b9e24d8b07a135fc6e8912d40bb67fa053c8d4172a6e95b10")
CARD = "4111111111111111"


def read(text):
    return read_card_key({KEY_VARIABLE: text})


def test_no_key_is_no_error():
    assert read_card_key({}) is None


def test_key_is_read_from_hex_and_base64_alike():
    texts = [RANDOM.hex(), RANDOM.hex().upper(), base64.b64encode(RANDOM).decode(), f" {RANDOM.hex()}\n"]
    texts += [base64.urlsafe_b64encode(RANDOM).decode().rstrip("=")]
    assert {read(text).token(CARD) for text in texts} == {CardKey(RANDOM).token(CARD)}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds 0 bytes"),
        (RANDOM[:31].hex(), "holds 31 bytes; at least 32"),
        (base64.b64encode(RANDOM[:24]).decode(), "holds 24 bytes"),
        ("no key at all!", "neither hex nor base64"),
        ("00" * 32, "a pattern"),
        (bytes(range(32)).hex(), "a pattern"),
        ("deadbeef" * 8, "a pattern"),
        ("0123456789abcdef" * 4, "known example"),
        (b"Tr0ub4dor & 3 brown foxes jump: vwxyz".hex(), "a text"),
        ("pantherQ7xk2VdZ9mT4LbWc8RfYh1JsN6uEoA3gKpXv5", "known example"),
    ],
)
def test_weak_key_is_refused_with_the_next_step(text, told):
    with pytest.raises(ConfigurationError, match=rf"{told}.*secrets.token_hex\(32\)") as caught:
        read(text)
    assert not text or text not in str(caught.value)


def test_token_is_one_per_card_and_key():
    key, other = CardKey(RANDOM), CardKey(RANDOM[::-1])
    assert key.token(CARD) == key.token(CARD)
    tokens = {key.token(CARD), other.token(CARD), key.token("5500000000000004")}
    assert len(tokens) == 3
    assert key.id != other.id
    assert all(re.fullmatch(TOKEN_PATTERN, token) for token in tokens)
    assert key.token(CARD).startswith(f"card_{key.id}_")


def test_card_has_one_token_however_it_is_written():
    key, token = CardKey(RANDOM), CardKey(RANDOM).token(CARD)
    for text in (
        CARD,
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111.1111.1111.1111",
        "4111\u00a01111\u00a01111\u00a01111",
    ):
        assert key.tokenize(text) == token, text
    assert key.tokenize(f"0-{CARD}") == key.tokenize(r"0-4111\-1111\-1111\-1111") == f"0-{token}"
    assert key.tokenize("user-17") == "user-17"


def test_token_never_reads_as_a_card_number():
    key = CardKey(RANDOM)
    tokens = [key.token(str(number)) for number in range(10**15, 10**15 + 3000)]
    assert not any(holds_card_number(f"12-{token}-3456 789 0123") for token in tokens)
    assert all(key.tokenize(token) == token for token in tokens[:100])


def test_key_does_not_show_itself():
    key = CardKey(RANDOM)
    assert RANDOM.hex() not in repr(key)
    assert repr(key) == f"CardKey(id={key.id})"


def test_key_with_a_letter_outside_ascii_is_refused():
    with pytest.raises(ConfigurationError, match="neither hex nor base64"):
        read_card_key({KEY_VARIABLE: "schlüssel" * 6})
