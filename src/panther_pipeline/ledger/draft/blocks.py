"""A bounded part of a text file, spread over all of it: whole lines, whatever the size of the file."""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from panther_pipeline.errors import SourceError

WHOLE_BYTES = 48 << 20  # a file up to this size is read as a whole
_FIRST_BYTES = 4 << 20
_BLOCK_BYTES = 1 << 20
_NUM_BLOCKS = 28  # of a longer one: the first 4 MB, and 28 blocks of 1 MB spread over it
_GZIP = b"\x1f\x8b"
_MOST_INFLATED = 1 << 30  # a gzip file cannot be jumped in: of a longer one only the first GB is looked at
_KEPT_EVERY = 8  # blocks, after WHOLE_BYTES


@dataclass(frozen=True, kw_only=True)
class TextBlocks:
    """Pieces of a file in file order, each of whole lines (but for a file that is read as a whole)."""

    pieces: list[bytes]
    is_whole: bool
    is_spread: bool  # the pieces reach to the end of the file
    ends_with_line_end: bool | None  # null = its end was not read

    @property
    def start(self) -> bytes:
        return self.pieces[0]


def read_text_blocks(path: Path) -> TextBlocks:
    """The file as a whole if it is small, else pieces of it.

    Raises:
        SourceError: the file cannot be read or inflated.
    """
    try:
        with path.open("rb") as file:
            is_gzip = file.read(2) == _GZIP
            file.seek(0)
            if is_gzip:
                with gzip.open(file) as inflated:
                    return _stream(inflated)
            return _jump(file, path.stat().st_size)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path} cannot be read: {error}. Check that it is complete.") from error


def _jump(file: BinaryIO, size: int) -> TextBlocks:
    if size <= WHOLE_BYTES:
        return _whole(file.read())
    pieces = [_cut_end(file.read(_FIRST_BYTES))]
    step = (size - _FIRST_BYTES - _BLOCK_BYTES) / (_NUM_BLOCKS - 1)
    for i in range(_NUM_BLOCKS):
        file.seek(_FIRST_BYTES + round(i * step))
        block = file.read(_BLOCK_BYTES)
        is_last = i == _NUM_BLOCKS - 1
        pieces.append(_cut_start(block) if is_last else _cut_end(_cut_start(block)))
    return TextBlocks(pieces=pieces, is_whole=False, is_spread=True, ends_with_line_end=pieces[-1].endswith(b"\n"))


def _stream(file: BinaryIO) -> TextBlocks:
    start = file.read(WHOLE_BYTES + 1)
    if len(start) <= WHOLE_BYTES:
        return _whole(start)
    pieces, inflated, number, block = [_cut_end(start)], len(start), 0, b""
    while inflated < _MOST_INFLATED and (block := file.read(_BLOCK_BYTES)):
        inflated, number = inflated + len(block), number + 1
        if number % _KEPT_EVERY == 0:
            pieces.append(_cut_end(_cut_start(block)))
    return TextBlocks(pieces=pieces, is_whole=False, is_spread=not block, ends_with_line_end=None)


def _whole(content: bytes) -> TextBlocks:
    return TextBlocks(pieces=[content], is_whole=True, is_spread=True, ends_with_line_end=content.endswith(b"\n"))


def _cut_start(block: bytes) -> bytes:
    return block[block.find(b"\n") + 1 :]


def _cut_end(block: bytes) -> bytes:
    return block[: block.rfind(b"\n") + 1]
