"""How a file is written: kind, compression, encoding, separator, quotes, header. Told from its bytes, not its name."""

import codecs
import csv
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from panther_pipeline.cards.numbers import mask_card_numbers
from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.delimited_format import UNIT_SEPARATOR
from panther_pipeline.ledger.draft.blocks import TextBlocks

SEPARATORS = (",", ";", "\t", "|", "::")
_MAGIC = {b"PAR1": "parquet", b"PK\x03\x04": "excel", b"\xd0\xcf\x11\xe0": "excel"}
_UNREADABLE = {
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
}
_LINES = 2000  # looked at for the separator
_CONSISTENT = 0.9  # share of lines that must have the same number of fields
_FAULTY = "columns without a name, or with the same"
_MOST_LINE_BREAKS = 20  # more within one text: a quote that was never closed
_VALUE = re.compile(r"[-+]?[$€£]?[0-9][0-9.,:/ -]*|")  # a number, a date, a time, nothing: no name of a column


@dataclass(frozen=True, kw_only=True)
class FileFormat:
    """What a catalog entry has to say of a file."""

    kind: Literal["delimited", "parquet", "excel"]
    options: dict[str, Any] = field(default_factory=dict)  # of DelimitedDataset, only those that differ from usual
    seen: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    has_faulty_header: bool = False  # columns are named by the options, and the header is a row that is quarantined


def kind_of(path: Path) -> str:
    """delimited, parquet or excel, from the first bytes.

    Raises:
        SourceError: there is no such file, it is empty, or of a kind that nothing here reads; says what to do.
    """
    if path.is_dir():
        raise SourceError(f"{path} is a folder. Name one of its files; the catalog can then be given a pattern.")
    if not path.is_file():
        raise SourceError(f"There is no file {path}. Check the path.")
    with path.open("rb") as file:
        start = file.read(4096)
    if not start.strip():
        raise SourceError(f"{path} is empty. Export it again.")
    for magic, what in _UNREADABLE.items():
        if start.startswith(magic):
            raise SourceError(f"{path} is {what}. Unpack it, or pack it with gzip.")
    if start.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] in (b"{", b"["):
        raise SourceError(f"{path} is JSON. Convert it to Parquet or CSV first, one row per transaction.")
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), "delimited")


def sniff_text(blocks: TextBlocks, path: Path) -> FileFormat:
    """Separator, quotes, encoding and header of a delimited file.

    Raises:
        SourceError: it is no table, or the table does not begin in the first line.
    """
    encoding, unsure = _encoding_of(blocks)
    text = _decode(blocks.start, encoding)
    is_cut = not blocks.is_whole or not text.endswith("\n")
    lines = [line for line in text[: 4 << 20].splitlines() if line.strip()][: _LINES + 1]
    lines = lines[:-1] if is_cut and len(lines) > 2 else lines
    separator = _separator_of(lines, path)
    quote, seen = _quote_of(lines, separator)
    _refuse_preamble(lines, separator, quote, path)
    header, header_unsure = _header_of(lines, separator, quote)
    options: dict[str, Any] = {"separator": separator, "quote": quote, "encoding": encoding, "header": header}
    breaks = _line_breaks(text, separator, quote) if quote else 0
    if breaks:
        options["quoted_line_breaks"] = max(10, breaks)
        seen.append(f"texts in quotes that go on over {breaks} further lines")
    if blocks.ends_with_line_end is False:
        options["final_line_end"] = "optional"
        unsure.append("the last line has no line end: accepted here (final_line_end), but the file may have been cut")
    usual = {"separator": ",", "quote": '"', "encoding": "utf-8", "header": True}
    options = {key: value for key, value in options.items() if key not in usual or usual[key] != value}
    is_faulty = any(_FAULTY in note for note in header_unsure)
    unsure = [*unsure, *header_unsure]
    return FileFormat(kind="delimited", options=options, seen=seen, unsure=unsure, has_faulty_header=is_faulty)


def _encoding_of(blocks: TextBlocks) -> tuple[str, list[str]]:
    if blocks.start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", []
    if all(_is_utf8(piece) for piece in blocks.pieces):
        return "utf-8", []
    windows = any(re.search(rb"[\x80-\x9f]", piece) for piece in blocks.pieces)
    encoding, others = ("cp1252", "cp1250, cp1251, cp437") if windows else ("latin-1", "cp1250, iso-8859-2, cp1251")
    return encoding, [f"it is not UTF-8; read as {encoding}. If letters with accents look wrong, try {others}"]


def _is_utf8(piece: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(piece)  # incremental: the last character may be cut
    except UnicodeDecodeError:
        return False
    return True


def _decode(content: bytes, encoding: str) -> str:
    return content.decode(encoding, errors="replace").removeprefix("\ufeff")


def split_lines(lines: list[str], separator: str, quote: str | None) -> list[list[str]]:
    """The fields of each record; a text in quotes may go on over several lines."""
    if len(separator) > 1:
        lines, separator = [line.replace(separator, UNIT_SEPARATOR.decode()) for line in lines], UNIT_SEPARATOR.decode()
    quoting = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    return list(csv.reader((line + "\n" for line in lines), delimiter=separator, **quoting))


def _separator_of(lines: list[str], path: Path) -> str:
    found = {}
    for separator in SEPARATORS:
        best = max((_consistency(lines, separator, quote) for quote in ('"', "'", None)), default=(0.0, 1))
        if best[1] > 1 and best[0] >= _CONSISTENT:
            found[separator] = best[1]
    if not found:
        raise SourceError(
            f"{path}: no separator ({', '.join(map(repr, SEPARATORS))}) cuts its lines into the same number of fields. "
            "Look at the file: it may be no table, or have another separator; then write the catalog by hand."
        )
    return max(found, key=found.__getitem__)


def _consistency(lines: list[str], separator: str, quote: str | None) -> tuple[float, int]:
    """Share of lines in records with the usual number of fields, and that number."""
    try:
        records = split_lines(lines, separator, quote)
    except csv.Error:  # a quote that is never closed
        return 0.0, 1
    num_lines = [1 + sum(field.count("\n") for field in record) for record in records]
    counts: Counter[int] = Counter()
    for record, height in zip(records, num_lines, strict=True):
        counts[len(record)] += height if height <= _MOST_LINE_BREAKS else 0
    width, usual = counts.most_common(1)[0]
    return usual / len(lines), width


def _quote_of(lines: list[str], separator: str) -> tuple[str | None, list[str]]:
    fields = [field.strip() for line in lines for field in line.split(separator)]
    wrapped = {q: sum(len(f) > 1 and f.startswith(q) and f.endswith(q) for f in fields) for q in "\"'"}
    if wrapped["'"] and not wrapped['"'] and _consistency(lines, separator, "'")[0] >= _CONSISTENT:
        return "'", ["texts in single quotes"]
    if not wrapped['"'] and any('"' in field for field in fields):
        with_quotes, without = (_consistency(lines, separator, quote) for quote in ('"', None))
        if without[0] >= with_quotes[0]:
            return None, ['quotes (") stand within texts and not around them: quote is off']
    return '"', []


def _refuse_preamble(lines: list[str], separator: str, quote: str | None, path: Path) -> None:
    widths = [len(fields) for fields in split_lines(lines, separator, quote)]
    width = Counter(widths).most_common(1)[0][0]
    if widths[0] != width:
        first = widths.index(width)
        raise SourceError(
            f"{path}: most lines have {width} fields, the first has {widths[0]}. The table seems to begin in line "
            f"{first + 1} ({mask_card_numbers(lines[first])[:60]!r}). Remove what stands before it, or mend the header."
        )


def _header_of(lines: list[str], separator: str, quote: str | None) -> tuple[Any, list[str]]:
    rows = split_lines(lines[:200], separator, quote)
    first, rest = rows[0], rows[1:]
    names = [f"column_{i}" for i in range(1, len(first) + 1)]
    if any(_VALUE.fullmatch(cell.strip()) and cell.strip() for cell in first):
        return names, ["the first line looks like data, so columns are numbered: give them names"]
    if len(set(first)) < len(first) or not all(cell.strip() for cell in first):
        return _mend_names(first), [
            f"{_FAULTY}: all are named here, and the header is a row that is quarantined. Better: mend the header"
        ]
    if not rest:
        return True, []
    columns = [[row[i] for row in rest if i < len(row)] for i in range(len(first))]
    if any(first[i] in column for i, column in enumerate(columns)):
        return names, ["the first line looks like data (its values come again below), so columns are numbered"]
    if not any(sum(bool(_VALUE.fullmatch(cell.strip())) for cell in column) > len(column) / 2 for column in columns):
        return True, ["the first line is taken as names of columns, though all columns are text"]
    return True, []


def _mend_names(names: list[str]) -> list[str]:
    mended: list[str] = []
    for i, name in enumerate(names, start=1):
        mended.append(name if name.strip() and name not in mended else f"column_{i}")
    return mended


def _line_breaks(text: str, separator: str, quote: str) -> int:
    if len(separator) > 1:
        return 0
    text = text[: 2 << 20]
    reader = csv.reader(text[: text.rfind("\n")].splitlines(keepends=True), delimiter=separator, quotechar=quote)
    try:
        breaks = [sum(field.count("\n") for field in record) for record in reader]
    except csv.Error:
        return 0
    most = max(breaks[:-1], default=0)
    return most if most <= _MOST_LINE_BREAKS else 0
