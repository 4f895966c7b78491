"""How a column writes its numbers: currency sign, decimal sign, thousands."""

import re
from dataclasses import dataclass

import polars as pl

MOSTLY = 0.98  # share of values that must follow a way of writing; the rest is for quarantine
CURRENCIES = [
    "EUR",
    "USD",
    "GBP",
    "CHF",
    "JPY",
    "CNY",
    "CZK",
    "PLN",
    "HUF",
    "SEK",
    "NOK",
    "DKK",
    "RON",
    "BGN",
    "TRY",
    "RUB",
    "UAH",
    "AUD",
    "CAD",
    "NZD",
    "BRL",
    "MXN",
    "ARS",
    "INR",
    "IDR",
    "SGD",
    "HKD",
    "KRW",
    "THB",
    "MYR",
    "PHP",
    "ZAR",
    "NGN",
    "KES",
    "EGP",
    "ILS",
    "AED",
    "SAR",
    "TWD",
    "VND",
    "ISK",
    "CLP",
    "COP",
    "PEN",
]
_PREFIX = rf"^[+-]?\s*([$€£¥₹]|{'|'.join(CURRENCIES)}|R\$|Kč)\s*[+-]?[0-9]"
_STYLES = ((".", ""), (",", ""), (".", ","), (",", "."), (".", " "), (",", " "), (".", "'"), (",", "'"))


@dataclass(frozen=True, kw_only=True)
class NumberStyle:
    """A way of writing numbers, and what the numbers are like."""

    prefix: str = ""
    decimal: str = "."
    thousands: str = ""
    decimals: int = 0  # most behind the decimal sign that are not 0
    share_beyond_cents: float = 0.0  # of values with more than two decimals
    share_with_decimals: float = 0.0
    lowest: float = 0.0
    highest: float = 0.0
    share_negative: float = 0.0
    is_ambiguous: bool = False  # 1.234 could be one and a bit, or more than a thousand

    @property
    def is_whole(self) -> bool:
        return self.decimals == 0


def find_number_style(values: pl.Series, counts: pl.Series) -> NumberStyle | None:
    """The way of writing that nearly all values follow; null when there is none.

    Args:
        values: different texts, without white space around.
        counts: how often each stands in the column.
    """
    prefix = _prefix_of(values)
    plain = values.str.replace(rf"^([+-]?)\s*{re.escape(prefix)}\s*([+-]?)", "${1}${2}") if prefix else values
    fitting = {style: _share(plain.str.contains(_pattern(*style)), counts) for style in _STYLES}
    fitting = {style: share for style, share in fitting.items() if share >= MOSTLY}
    if not fitting:
        return None
    style = _choose(fitting, plain)
    return _describe(plain, counts, prefix, style, is_ambiguous=_is_ambiguous(plain, style))


def describe_numbers(values: pl.Series) -> NumberStyle:
    """The same of a column that is typed as a number."""
    numbers = values.drop_nulls().cast(pl.Float64)
    numbers = numbers.filter(numbers.is_finite())
    if numbers.is_empty():
        return NumberStyle()
    cents = (numbers * 100 - (numbers * 100).round()).abs() > 1e-3
    return NumberStyle(
        decimals=0 if (numbers % 1 == 0).all() else 3 if cents.any() else 2,
        share_beyond_cents=cents.mean(), share_with_decimals=(numbers % 1 != 0).mean(),
        lowest=numbers.min(), highest=numbers.max(), share_negative=(numbers < 0).mean(),
    )  # fmt: skip


def to_numbers(plain: pl.Series, style: NumberStyle) -> pl.Series:
    """Texts of a style as float64, null where they do not follow it."""
    text = plain.str.replace(rf"^([+-]?)\s*{re.escape(style.prefix)}\s*([+-]?)", "${1}${2}") if style.prefix else plain
    text = text.str.replace_all(style.thousands, "", literal=True) if style.thousands else text
    return text.str.replace(style.decimal, ".", literal=True).cast(pl.Float64, strict=False)


def _prefix_of(values: pl.Series) -> str:
    found = values.head(1000).str.extract(_PREFIX).drop_nulls()
    if found.len() < MOSTLY * min(values.len(), 1000):
        return ""
    return found.str.strip_chars().mode().first()


def _pattern(decimal: str, thousands: str) -> str:
    whole = "[0-9]+" if not thousands else f"(?:[0-9]{{1,3}}(?:{re.escape(thousands)}[0-9]{{3}})+|[0-9]{{1,3}})"
    return rf"^[+-]?(?:{whole}(?:{re.escape(decimal)}[0-9]*)?|{re.escape(decimal)}[0-9]+)$"


def _share(fits: pl.Series, counts: pl.Series) -> float:
    return (fits.cast(pl.Float64) * counts).sum() / max(counts.sum(), 1)


def _choose(fitting: dict[tuple[str, str], float], plain: pl.Series) -> tuple[str, str]:
    """The simplest style; one with thousands only where it explains more, or the simple one means three decimals."""
    best = max(fitting.values())
    styles = [style for style in _STYLES if fitting.get(style, 0) >= best - 1e-9]
    simple = styles[0]
    grouped = [style for style in styles if style[1]]
    if not simple[1] and grouped and _is_ambiguous(plain, simple):
        return next((style for style in grouped if style[1] == simple[0]), simple)
    return simple


def _is_ambiguous(plain: pl.Series, style: tuple[str, str]) -> bool:
    """Whether every decimal sign stands before exactly three digits, so that it may group thousands."""
    sign = style[1] or style[0]
    with_sign = plain.filter(plain.str.contains(sign, literal=True))
    if with_sign.is_empty() or sign not in ".,":
        return False
    others = {".": ",", ",": "."}[sign]
    grouped = with_sign.str.contains(rf"^[+-]?[1-9][0-9]{{0,2}}(?:{re.escape(sign)}[0-9]{{3}})+$").all()
    return bool(grouped) and not plain.str.contains(others, literal=True).any()


def _describe(
    plain: pl.Series, counts: pl.Series, prefix: str, style: tuple[str, str], *, is_ambiguous: bool
) -> NumberStyle:
    decimal, thousands = style
    numbers = to_numbers(plain, NumberStyle(decimal=decimal, thousands=thousands))
    behind = plain.str.extract(rf"{re.escape(decimal)}([0-9]*)$").fill_null("").str.strip_chars_end("0").str.len_chars()
    written = plain.str.contains(rf"{re.escape(decimal)}[0-9]+$")
    return NumberStyle(
        prefix=prefix, decimal=decimal, thousands=thousands, decimals=behind.max() or 0,
        share_beyond_cents=_share(behind > 2, counts), share_with_decimals=_share(written, counts),
        lowest=numbers.min() or 0.0, highest=numbers.max() or 0.0,
        share_negative=_share((numbers < 0).fill_null(False), counts), is_ambiguous=is_ambiguous,
    )  # fmt: skip
