"""How bins and categories are written in a token's name."""

from itertools import pairwise

from panther_pipeline.tokenizer.config import SEPARATOR

WILDCARD_LABEL = "*"
OTHER_LABEL = "(other)"
UNKNOWN_LABEL = "(unknown)"
_RESERVED = (WILDCARD_LABEL, OTHER_LABEL, UNKNOWN_LABEL, "[PAD]", "[UNK]")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DURATIONS_S = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def category_label(value: str) -> str:
    r"""The value itself, escaped where it could be mistaken for the name's own signs.

    Example:
        >>> category_label("food|drink"), category_label("*"), category_label("rent")
        ('food\\|drink', '\\*', 'rent')
    """
    text = value.replace("\\", "\\\\").replace(SEPARATOR, "\\" + SEPARATOR)
    return "\\" + text if value in _RESERVED else text


def bin_labels(source: str, edges: list[int] | list[float]) -> list[str]:
    """One label per bin; `edges` separate the bins, so there is one bin more than edges.

    Example:
        >>> bin_labels("amount", [0, 5000, 10050])
        ['<0', '0-50', '50-100.50', '100.50+']
        >>> bin_labels("hour", [6, 22]), bin_labels("weekday", [5])
        (['0-6h', '6-22h', '22-24h'], ['mon-fri', 'sat-sun'])
        >>> bin_labels("gap", [0, 600_000_000])
        ['first', '<10m', '10m+']
    """
    if not edges:
        return ["any"]
    if source == "hour":
        bounds = [0, *edges, 24]
        return [f"{low}-{high}h" for low, high in pairwise(bounds)]
    if source == "weekday":
        bounds = [0, *edges, 7]
        return [_days(int(low), int(high) - 1) for low, high in pairwise(bounds)]
    if source == "gap":
        return ["first", *_intervals(list(edges[1:]), _duration)]
    return _intervals(list(edges), _money if source == "amount" else _number)


def _intervals(edges: list, write) -> list[str]:
    if not edges:
        return ["any"]
    # A dash between negative numbers cannot be told from a sign.
    inner = [f"{write(a)}{'..' if a < 0 else '-'}{write(b)}" for a, b in pairwise(edges)]
    return [f"<{write(edges[0])}", *inner, f"{write(edges[-1])}+"]


def _money(cents: int) -> str:
    sign, (major, minor) = "-" if cents < 0 else "", divmod(abs(cents), 100)
    return f"{sign}{major}.{minor:02d}" if minor else f"{sign}{major}"


def _number(value: float) -> str:
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def _duration(us: int) -> str:
    seconds = us / 1_000_000
    unit_s, unit = next(((size, name) for size, name in _DURATIONS_S if seconds >= size), (1, "s"))
    return f"{_number(seconds / unit_s)}{unit}"


def _days(first: int, last: int) -> str:
    return _DAYS[first] if first == last else f"{_DAYS[first]}-{_DAYS[last]}"
