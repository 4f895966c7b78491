"""A text file as blocks of whole physical lines in UTF-8, whatever its compression, encoding, line ends or size.

Bounded memory for any file: a line longer than MAX_LINE_BYTES is cut, which leaves it long enough to be rejected.
"""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import polars as pl

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.delimited_format import MAX_LINE_BYTES, UNIT_SEPARATOR, DelimitedFormat
from panther_pipeline.ledger.values import mask_long_numbers

BLOCK_BYTES = 8 << 20
_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_OTHER_KINDS = {
    _GZIP: "gzip within gzip",
    b"PK\x03\x04": "a zip archive or an Excel file",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"PAR1": "a Parquet file",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
}
_RATIO_FREE_BYTES = 10_000_000  # of output, before the ratio is looked at
_MOST_INFLATION = 100
_SWAP_CR_LF = bytes.maketrans(b"\r\n", b"\n\r")
_STRAY_UNIT_SEPARATOR = b"\x1e"  # as bad a control character as the one it replaces


def read_line_blocks(path: Path, format: DelimitedFormat, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Blocks of about `block_bytes` that end at a line end, but for the last one if the file does not.

    Line ends are `\\n` in what comes out; a `\\r` before it is left there. In a file whose first line ends in a lone
    `\\r` the two are exchanged, so that a `\\n` within a line is seen as the stray control character that it is.

    Raises:
        SourceError: the file cannot be opened or inflated, or is of another kind; names file and byte.
    """
    most_bytes = MAX_LINE_BYTES * len(format.separator.encode())  # so that it is too long with shorter separators, too
    try:
        chunks = _normalise_line_ends(_as_utf8(path, format, block_bytes))
        for block in _cut_at_lines(chunks, most_bytes):
            yield _with_one_byte_separator(block, format)
    except OSError as error:
        reason = error.strerror or error
        raise SourceError(f"{path} cannot be read: {reason}. Check the path and who may read it.") from error


def show_lines(lines: list[bytes], format: DelimitedFormat, most_bytes: int) -> pl.Series:
    """Lines as they may be shown: decoded, long numbers masked, cut after about `most_bytes`."""
    return mask_long_numbers(pl.Series([_show_line(line, format, most_bytes) for line in lines], dtype=pl.String))


def _show_line(line: bytes, format: DelimitedFormat, most_bytes: int) -> str:
    if len(line) > most_bytes:  # a number that the cut goes through would be too short to be masked
        line = line[:most_bytes].rstrip(b"0123456789 -.\\")
    if format.replaces_separator:
        line = line.replace(UNIT_SEPARATOR, format.separator.encode())
    if format.is_utf8:
        return line.decode("utf-8", errors="backslashreplace")
    text = line.decode("utf-8", errors="surrogatepass" if len(line) < most_bytes - 1 else "replace")
    return text.encode("utf-8", errors="backslashreplace").decode()


def _raw_chunks(path: Path, block_bytes: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        if file.peek(2)[:2] == _GZIP:
            yield from _inflate(path, file, block_bytes)
        else:
            while chunk := file.read(block_bytes):
                yield chunk


def _inflate(path: Path, file: BinaryIO, block_bytes: int) -> Iterator[bytes]:
    num_bytes = 0
    with gzip.GzipFile(fileobj=file) as inflated:
        while True:
            try:
                chunk = inflated.read(block_bytes)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise SourceError(
                    f"{path}: the gzip file is damaged or cut short near byte {file.tell()} of "
                    f"{path.stat().st_size} ({error}). Copy or download it again."
                ) from error
            num_bytes += len(chunk)
            if num_bytes > _RATIO_FREE_BYTES and num_bytes > _MOST_INFLATION * file.tell():
                raise SourceError(
                    f"{path}: {file.tell()} bytes of gzip have become {num_bytes} bytes; more than "
                    f"{_MOST_INFLATION} : 1 is refused, since no ledger is that repetitive. "
                    "Decompress the file yourself if it is sound."
                )
            if not chunk:
                return
            yield chunk


def _as_utf8(path: Path, format: DelimitedFormat, block_bytes: int) -> Iterator[bytes]:
    """Chunks in UTF-8 without byte order mark; bytes that are not valid in the encoding stay invalid in UTF-8."""
    chunks = _check_kind(path, format, _raw_chunks(path, block_bytes))
    if not format.is_utf8:
        chunks = _transcode(path, chunks, format.encoding)
    for i, chunk in enumerate(chunks):
        yield chunk.removeprefix(codecs.BOM_UTF8) if i == 0 else chunk


def _check_kind(path: Path, format: DelimitedFormat, chunks: Iterator[bytes]) -> Iterator[bytes]:
    for i, chunk in enumerate(chunks):
        if i == 0:
            _refuse_other_kinds(path, format, chunk[:8])
        yield chunk


def _refuse_other_kinds(path: Path, format: DelimitedFormat, start: bytes) -> None:
    for magic, kind in _OTHER_KINDS.items():
        if start.startswith(magic):
            raise SourceError(
                f"{path}, byte 0: the file is {kind}, not delimited text, plain or gzip. "
                "Unpack it, or read it with the dataset of its kind."
            )
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if start.startswith(mark) and not codecs.lookup(format.encoding).name.startswith(encoding):
            raise SourceError(
                f"{path}, byte 0: the file starts with the mark of {encoding}, but encoding is '{format.encoding}'. "
                f"Set `encoding: {encoding}` in the catalog."
            )
    if start.startswith(codecs.BOM_UTF8) and not format.is_utf8:
        raise SourceError(
            f"{path}, byte 0: the file starts with the mark of utf-8, but encoding is '{format.encoding}'. "
            "Set `encoding: utf-8` in the catalog."
        )


def _transcode(path: Path, chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)("panther.keep_invalid")
    for chunk in chain(chunks, [None]):
        try:
            text = decoder.decode(chunk or b"", final=chunk is None)
        except UnicodeError as error:  # not of some bytes, which are kept, but of the file
            raise SourceError(
                f"{path}, byte 0: the file is not {encoding}: {error}. Declare the encoding it has; "
                "for UTF-16 without a mark at its start that is utf-16-le (most often) or utf-16-be."
            ) from error
        if text:
            yield text.encode("utf-8", "surrogatepass")


def _keep_invalid(error: UnicodeError) -> tuple[str, int]:
    """Bytes that do not decode become lone surrogates, which are not valid in UTF-8 either."""
    assert isinstance(error, UnicodeDecodeError)
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error("panther.keep_invalid", _keep_invalid)


def _normalise_line_ends(chunks: Iterator[bytes]) -> Iterator[bytes]:
    head, is_swapped = b"", None
    for chunk in chunks:
        if is_swapped is None:
            head += chunk
            if not _shows_line_end(head):
                continue
            chunk, is_swapped = head, _ends_in_lone_cr(head)
        yield chunk.translate(_SWAP_CR_LF) if is_swapped else chunk
    if is_swapped is None and head:
        yield head.translate(_SWAP_CR_LF) if _ends_in_lone_cr(head) else head


def _shows_line_end(head: bytes) -> bool:
    return b"\n" in head or b"\r" in head[:-1] or len(head) > MAX_LINE_BYTES


def _ends_in_lone_cr(head: bytes) -> bool:
    first = head.find(b"\r")
    return first >= 0 and b"\n" not in head[: first + 2]


def _cut_at_lines(chunks: Iterator[bytes], most_bytes: int) -> Iterator[bytes]:
    begun = b""  # the start of a line that goes on in the next chunk
    for chunk in chunks:
        end = chunk.rfind(b"\n") + 1
        if end == 0:
            begun = (begun + chunk)[: most_bytes + 1]
            continue
        yield begun + chunk[:end]
        begun = chunk[end : end + most_bytes + 1]
    if begun:
        yield begun


def _with_one_byte_separator(block: bytes, format: DelimitedFormat) -> bytes:
    if not format.replaces_separator:
        return block
    return block.replace(UNIT_SEPARATOR, _STRAY_UNIT_SEPARATOR).replace(format.separator.encode(), UNIT_SEPARATOR)
