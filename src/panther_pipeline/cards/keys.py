"""The key that turns card numbers into tokens: read from the environment, refused when it is easily guessed.

A plain hash of a card number is no secret: with the first six and last four digits known there are a million
candidates, tried in half a second. So the hash is keyed (PCI DSS 4.0, 3.5.1.1), and no digit is kept beside it.
"""

import base64
import hmac
import os
import re
from collections.abc import Mapping
from itertools import pairwise

from panther_pipeline.cards.numbers import replace_card_numbers
from panther_pipeline.errors import ConfigurationError

KEY_VARIABLE = "PANTHER_CARD_KEY"
TOKEN_START = "card_"
TOKEN_PATTERN = TOKEN_START + r"([0-9a-f]{8})_[a-p]{32}"
HOW_TO_SET = (
    f"Set {KEY_VARIABLE} to 32 random bytes in hex (python -c 'import secrets; print(secrets.token_hex(32))'), keep it "
    "where you keep secrets, and use the same one for every run of a ledger and for its service"
)
_FEWEST_BYTES = 32
_FEWEST_KINDS = 16  # different bytes, and different steps between them; 32 random ones have about 30
_KNOWN_WORDS = ("changeme", "password", "secret", "default", "example", "panther", "0123456789abcdef")
_TAG_BYTES = 16  # 10**9 numbers meet in one token with probability 10**-21
_AS_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")  # so that no token holds a number of its own
_KEY_ID_TEXT, _TAG_TEXT = b"panther_pipeline key id", b"panther_pipeline card number "


class CardKey:
    """Makes tokens of card numbers. Never shows its bytes.

    Args:
        key: at least 32 random bytes.

    Example:
        >>> key = CardKey(bytes(range(32)))
        >>> key.tokenize("0-4111-1111-1111-1111") == key.tokenize("0-4111111111111111")
        True
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.id = self._hash(_KEY_ID_TEXT).hex()[:8]  # says which key, and nothing of it

    def token(self, digits: str) -> str:
        """`card_<key id>_<32 letters>`: HMAC-SHA-256 of the digits, cut to 128 bits."""
        tag = self._hash(_TAG_TEXT + digits.encode())[:_TAG_BYTES].hex().translate(_AS_LETTERS)
        return f"{TOKEN_START}{self.id}_{tag}"

    def tokenize(self, text: str) -> str:
        """The text with a token in place of each card number, however its digits are grouped."""
        return replace_card_numbers(text, self.token)

    def __repr__(self) -> str:
        return f"CardKey(id={self.id})"

    def _hash(self, text: bytes) -> bytes:
        return hmac.digest(self._key, text, "sha256")


def read_card_key(environment: Mapping[str, str] = os.environ) -> CardKey | None:
    """The key of PANTHER_CARD_KEY; None where it is not set.

    Raises:
        ConfigurationError: neither hex nor base64, shorter than 32 bytes, or of the kind that stands in examples.
    """
    text = environment.get(KEY_VARIABLE)
    if text is None:
        return None
    key = _decode(text.strip())
    if key is None:
        raise ConfigurationError(f"{KEY_VARIABLE} is neither hex nor base64. {HOW_TO_SET}.")
    if len(key) < _FEWEST_BYTES:
        raise ConfigurationError(
            f"{KEY_VARIABLE} holds {len(key)} bytes; at least {_FEWEST_BYTES} are needed. {HOW_TO_SET}."
        )
    if _is_guessable(text, key):
        raise ConfigurationError(f"{KEY_VARIABLE} is a known example, a text or a pattern, not random. {HOW_TO_SET}.")
    return CardKey(key)


def _decode(text: str) -> bytes | None:
    if re.fullmatch(r"(?:[0-9a-fA-F]{2})*", text):
        return bytes.fromhex(text)
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except ValueError:  # a letter outside ASCII, or what is no base64
        return None


def _is_guessable(text: str, key: bytes) -> bool:
    steps = {(after - before) % 256 for before, after in pairwise(key)}
    is_text = all(32 <= byte < 127 for byte in key)
    is_named = any(word in text.lower() for word in _KNOWN_WORDS)
    return is_named or is_text or min(len(set(key)), len(steps)) < _FEWEST_KINDS
