"""The first line of a delimited file: column names, or the reason why the file is not what the catalog says."""

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from panther_pipeline.cards.numbers import mask_card_numbers
from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.delimited_format import MAX_LINE_BYTES, UNIT_SEPARATOR, DelimitedFormat, field_pattern
from panther_pipeline.ledger.delimited_lines import read_line_blocks

_USUAL_SEPARATORS = {",": "','", ";": "';'", "\t": 'a tab ("\\t")', "|": "'|'"}
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Header(NamedTuple):
    """Column names and the line they came from."""

    names: list[str]
    line: bytes | None  # as in the blocks, without line end; None if the names come from the catalog
    num_bytes: int  # of the line with its line end


def read_header(path: Path, format: DelimitedFormat) -> Header:
    """Names of the columns, checked; reads the start of the file only.

    Raises:
        SourceError: the file is empty, has no line but the header, or its header is damaged, or has columns that are
            empty or doubled, or was plainly written with another separator; names file, line and byte or column.
    """
    with closing(read_line_blocks(path, format, block_bytes=2 * MAX_LINE_BYTES)) as blocks:
        start = next(blocks, b"")
        is_whole_file = next(blocks, None) is None
    if not start.strip():
        raise SourceError(f"{path}, byte 0: the file is empty. Remove it from the source, or export it again.")
    if format.header is not True:
        return Header(_check_names(path, list(format.header)), None, 0)
    line, end, rest = start.partition(b"\n")
    content = line.removesuffix(b"\r")
    names = _check_names(path, _split_header(path, content, format))
    if is_whole_file and not rest.strip():
        raise SourceError(
            f"{path}, line 1: the file has no line after the header. Remove it from the source, or export it again."
        )
    return Header(names, content, len(line + end))


def read_headers(paths: Sequence[Path], format: DelimitedFormat) -> list[Header]:
    """The headers of files that belong together.

    Raises:
        SourceError: as `read_header`; or a file's columns differ from those of the first file, and which.
    """
    headers = [read_header(path, format) for path in paths]
    for path, header in zip(paths, headers, strict=True):
        if header.names != headers[0].names:
            raise SourceError(
                f"{path}, line 1: its columns differ from those of {paths[0]}: "
                f"{_difference(header.names, headers[0].names)}. "
                "Files of one source need the same columns in the same order."
            )
    return headers


def _difference(names: list[str], expected: list[str]) -> str:
    missing = [name for name in expected if name not in names]
    more = [name for name in names if name not in expected]
    if not missing and not more:
        i = next(i for i, (name, other) in enumerate(zip(names, expected, strict=True)) if name != other)
        return f"column {i + 1} is '{names[i]}', not '{expected[i]}'"
    return "; ".join([f"{n!r} is missing" for n in missing[:5]] + [f"{n!r} is not expected" for n in more[:5]])


def _split_header(path: Path, line: bytes, format: DelimitedFormat) -> list[str]:
    if len(line) > MAX_LINE_BYTES:
        raise SourceError(
            f"{path}, line 1: there is no line end in the first {MAX_LINE_BYTES} bytes, so this is no table of text. "
            "Check filepath in the catalog, or export the file again."
        )
    if control := _CONTROL.search(line.replace(format.separator_byte, b"")):
        raise SourceError(
            f"{path}, line 1, byte {control.start()}: the header holds the control character 0x{control[0].hex()}; it "
            "must be text. A file full of NUL is often UTF-16: declare it with `encoding: utf-16`."
        )
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path}, line 1, byte {error.start}: the header is not valid {format.encoding}. "
            "Declare the encoding it has, for example `encoding: latin-1`."
        ) from error
    names = split_record(line, format)
    if names is None:
        raise SourceError(
            f"{path}, line 1: a quote in the header is not closed or stands within a name. Correct the header, or set "
            "`quote` in the catalog."
        )
    _refuse_other_separator(path, names, format)
    return names


def split_record(record: bytes, format: DelimitedFormat) -> list[str] | None:
    """The fields of one record, without any guess; None if its quotes are wrong."""
    separator, quote = format.separator_byte, format.quote_byte
    if quote is None or quote not in record:
        fields = record.split(separator)
    else:
        field = field_pattern(separator, quote)
        if not re.fullmatch(rb"%b(?:%b%b)*" % (field, re.escape(separator), field), record):
            return None
        fields = [match[1] for match in re.finditer(rb"(?:^|%b)(%b)" % (re.escape(separator), field), record)]
        fields = [f[1:-1].replace(quote * 2, quote) if f.startswith(quote) else f for f in fields]
    if format.replaces_separator:
        fields = [field.replace(UNIT_SEPARATOR, format.separator.encode()) for field in fields]
    return [field.decode("utf-8") for field in fields]


def _refuse_other_separator(path: Path, names: list[str], format: DelimitedFormat) -> None:
    others = {key: shown for key, shown in _USUAL_SEPARATORS.items() if key not in format.separator and key in names[0]}
    if len(names) == 1 and others:
        likely = max(others, key=names[0].count)
        raise SourceError(
            f"{path}, line 1: with separator {format.separator!r} the header is one column, "
            f"{mask_card_numbers(names[0])[:80]!r}; "
            f"did you mean separator {others[likely]}? Set `separator` in the catalog."
        )


def _check_names(path: Path, names: list[str]) -> list[str]:
    faults = [f"column {i} has no name" for i, name in enumerate(names, start=1) if not name.strip()]
    faults += [f"{name!r} stands there {n} times" for name, n in Counter(names).items() if n > 1 and name.strip()]
    if faults:
        raise SourceError(
            f"{path}, line 1: {'; '.join(faults[:5])}. Every column needs a name of its own: correct the header, or "
            "remove a separator at its end."
        )
    return names
