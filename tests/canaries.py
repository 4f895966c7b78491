"""Card numbers that belong to nobody, planted to be looked for."""

import random
from pathlib import Path

import polars as pl

_SCHEMES = [("4", 16), ("4", 13), ("4", 19), ("51", 16), ("55", 16), ("2221", 16), ("34", 15), ("37", 15), ("36", 14),
            ("6011", 16), ("3528", 16), ("62", 17), ("62", 18)]  # fmt: skip
_NO_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
_SPELLINGS = {
    13: (4, 4, 5), 14: (4, 6, 4), 15: (4, 6, 5), 16: (4, 4, 4, 4), 17: (4, 4, 4, 5), 18: (6, 6, 6), 19: (4, 4, 4, 4, 3),
}  # fmt: skip


def make_canaries(num: int, seed: int = 39) -> list[str]:
    """Different numbers with a valid check digit, of every length and scheme."""
    rng = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < num:
        prefix, length = _SCHEMES[len(found) % len(_SCHEMES)]
        digits = prefix + "".join(str(rng.randrange(10)) for _ in range(length - len(prefix) - 1))
        found[with_check_digit(digits)] = None
    return list(found)


def with_check_digit(digits: str) -> str:
    """The digits and the one that makes them valid."""
    doubled = [int(d) * 2 if i % 2 == 0 else int(d) for i, d in enumerate(reversed(digits))]
    return digits + str(-sum(sum(divmod(d, 10)) for d in doubled) % 10)


def spell(canary: str, how: int) -> str:
    """The number as people write it: plain, or in groups with a blank, '-' or '.' between."""
    separator = ("", " ", "-", ".")[how % 4]
    groups, start = [], 0
    for length in _SPELLINGS[len(canary)]:
        groups.append(canary[start : start + length])
        start += length
    return separator.join(groups)


def seen_in(content: bytes | str, canaries: list[str]) -> set[str]:
    """Those whose digits stand in a content in their order, whatever stands between them."""
    content = content.encode() if isinstance(content, str) else content
    digits = content.translate(None, _NO_DIGITS).decode()
    by_length: dict[int, set[str]] = {}
    for canary in canaries:
        by_length.setdefault(len(canary), set()).add(canary)
    return {
        digits[i : i + length]
        for length, those in by_length.items()
        for i in range(len(digits) - length + 1)
        if digits[i : i + length] in those
    }


def scan(folder: Path, canaries: list[str]) -> dict[str, set[str]]:
    """Every file below a folder, its name included, that holds any: as bytes, and Parquet also by its values."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        seen = seen_in(name, canaries) | seen_in(path.read_bytes(), canaries)
        if path.suffix == ".parquet":
            table = pl.read_parquet(path)
            nested = [column for column, kind in table.schema.items() if kind.is_nested()]
            seen |= seen_in(table.with_columns(pl.col(nested).cast(pl.String, strict=False)).write_csv(), canaries)
        if seen:
            found[name] = seen
    return found
