"""The structure of a block of delimited text, found on its bytes: records, and the reason why one is no row.

Nothing is parsed here: a record that is called a row has as many fields as the header and quotes that open at a field's
start and close at its end, so that any parser must agree about its cells.
"""

import re
from functools import cached_property
from typing import NamedTuple

import numpy as np

from panther_pipeline.ledger.delimited_format import MAX_FIELD_BYTES, MAX_LINE_BYTES, field_pattern
from panther_pipeline.ledger.reasons import Reason

# Letters of shapes: L physical lines, R records, M marks (separators, quotes, line ends).
ROW, BLANK = 0, 1
_REASONS = [
    Reason.LINE_TOO_LONG,
    Reason.UNTERMINATED_LAST_LINE,
    Reason.NOT_IN_ENCODING,
    Reason.CONTROL_CHARACTER,
    Reason.REPEATED_HEADER,
    Reason.UNCLOSED_QUOTE,
    Reason.STRAY_QUOTE,
    Reason.WRONG_NUMBER_OF_FIELDS,
]
_CODES = {reason: code for code, reason in enumerate(_REASONS, start=2)}
_LF, _CR, _TAB, _SPACE, _DEL = b"\n\r\t \x7f"


class Layout(NamedTuple):
    """What a block is compared with."""

    separator: int
    quote: int | None
    num_fields: int
    header: bytes | None  # the header's line without its line end, to find it again among the rows
    most_breaks: int  # line ends that the quoted text of one record may hold

    @property
    def record_pattern(self) -> re.Pattern[bytes]:
        """A whole record, of however many lines."""
        separator, quote = bytes([self.separator]), bytes([self.quote or 0])
        field = field_pattern(separator, quote)
        return re.compile(rb"%b(?:%b%b){%d}" % (field, re.escape(separator), field, self.num_fields - 1))


class Records(NamedTuple):
    """The records of a block; record r is bytes starts_R[r] to ends_R[r], its line end excluded."""

    starts_R: np.ndarray
    ends_R: np.ndarray
    first_line_R: np.ndarray  # which physical line of the block it begins with
    codes_R: np.ndarray  # ROW, BLANK, or what `reason_of` names
    num_lines: int
    has_quotes: bool
    num_bytes: int  # what lies behind belongs to a record that is not complete yet


def reason_of(code: int) -> Reason:
    return _REASONS[code - 2]


def scan_block(block: bytes, layout: Layout, *, is_last: bool, is_terminated: bool = True) -> Records:
    """Find the records of a block and judge each.

    Args:
        block: whole physical lines; the last one ends in a line end, real or added.
        layout: what the file looks like.
        is_last: no further block follows, so a record that is not complete never will be.
        is_terminated: false if the last line end was added, and the file should have had one.
    """
    return _Scan(block, layout, is_last, is_terminated).run()


class _Scan:
    """One block; each step fills in codes, the most important reason last, so that it is what remains."""

    def __init__(self, block: bytes, layout: Layout, is_last: bool, is_terminated: bool) -> None:
        self.block, self.layout, self.is_last, self.is_terminated = block, layout, is_last, is_terminated
        self.bytes = np.frombuffer(block, dtype=np.uint8)
        self.has_quotes = layout.quote is not None and bytes([layout.quote]) in block

    def run(self) -> Records:
        self._find_marks()
        self._find_records()
        self.codes_R = np.zeros(len(self.ends_R), dtype=np.int8)
        self._mark(self.num_fields_R != self.layout.num_fields, Reason.WRONG_NUMBER_OF_FIELDS)
        if self.has_quotes:
            self._mark_quotes()
        self._mark_repeated_header()
        self._mark_control_characters()
        self._mark_undecodable()
        if not self.is_terminated and len(self.codes_R):
            self.codes_R[-1] = _CODES[Reason.UNTERMINATED_LAST_LINE]
        self._mark_too_long()
        self._mark_blank()
        return Records(
            self.starts_R, self.ends_R, self.first_line_R, self.codes_R, self.num_lines, self.has_quotes, self.num_bytes
        )

    def _find_marks(self) -> None:
        is_mark = self.bytes == _LF
        is_mark |= self.bytes == self.layout.separator
        if self.has_quotes:
            is_mark |= self.bytes == self.layout.quote
        self.at_M = np.flatnonzero(is_mark)
        self.kind_M = self.bytes[self.at_M]
        self.line_mark_L = np.flatnonzero(self.kind_M == _LF)

    def _find_records(self) -> None:
        """Records are lines, but for quoted text that goes on over several."""
        num_lines = len(self.line_mark_L)
        goes_on_L = np.zeros(num_lines, dtype=bool)
        if self.has_quotes:
            seen_M = np.cumsum(self.kind_M == self.layout.quote)
            if self.layout.most_breaks:
                goes_on_L, num_lines = self._join_lines(np.diff(seen_M[self.line_mark_L], prepend=0) % 2 == 1)
        self.num_lines = num_lines
        last_line_R = np.flatnonzero(~goes_on_L[:num_lines])
        self.first_line_R = np.concatenate([[0], last_line_R[:-1] + 1]).astype(np.int64)[: len(last_line_R)]
        mark_R = self.line_mark_L[last_line_R]
        self.ends_R = self.at_M[mark_R]
        self.num_bytes = int(self.ends_R[-1]) + 1 if len(self.ends_R) else 0
        self.starts_R = np.concatenate([[0], self.ends_R[:-1] + 1]).astype(np.int64)[: len(mark_R)]
        self._count_fields(mark_R, seen_M if self.has_quotes else None)

    def _count_fields(self, mark_R: np.ndarray, seen_M: np.ndarray | None) -> None:
        if seen_M is None:
            self.is_border_M = None  # every mark is a border between fields
            self.num_fields_R = np.diff(mark_R, prepend=-1)
            return
        num_marks = int(mark_R[-1]) + 1 if len(mark_R) else 0
        self.at_M, self.kind_M, seen_M = self.at_M[:num_marks], self.kind_M[:num_marks], seen_M[:num_marks]
        quotes_before_R = np.concatenate([[0], seen_M[mark_R]])
        self.record_M = np.repeat(np.arange(len(mark_R)), np.diff(mark_R, prepend=-1))
        self.inside_M = (seen_M - quotes_before_R[self.record_M]) % 2 == 1  # at a quote: it opens
        self.is_odd_R = np.diff(quotes_before_R) % 2 == 1
        is_separator_M = (self.kind_M == self.layout.separator) & ~self.inside_M
        self.is_border_M = is_separator_M.copy()
        self.is_border_M[mark_R] = True
        self.num_fields_R = np.diff(np.cumsum(is_separator_M)[mark_R], prepend=0) + 1

    def _join_lines(self, is_odd_L: np.ndarray) -> tuple[np.ndarray, int]:
        """Which lines go on in the next one, and how many lines make complete records.

        A line with an open quote is joined with the next line that closes it only if what comes out is a whole record;
        otherwise it stands alone and nothing is swallowed.
        """
        ends_L = self.at_M[self.line_mark_L]
        goes_on_L = np.zeros(len(ends_L), dtype=bool)
        pattern, odd, i = self.layout.record_pattern, np.flatnonzero(is_odd_L).tolist(), 0
        while i < len(odd):
            first = odd[i]
            start = int(ends_L[first - 1]) + 1 if first else 0
            if i + 1 == len(odd):
                is_near = len(ends_L) - 1 - first < self.layout.most_breaks and len(self.block) - start < MAX_LINE_BYTES
                return goes_on_L, (first if is_near and not self.is_last else len(ends_L))
            last = odd[i + 1]
            is_near = last - first <= self.layout.most_breaks and ends_L[last] - start <= MAX_LINE_BYTES
            if is_near and pattern.fullmatch(self.block[start : ends_L[last]].removesuffix(b"\r")):
                goes_on_L[first:last] = True
                i += 1
            i += 1
        return goes_on_L, len(ends_L)

    def _mark(self, is_bad_R: np.ndarray, reason: Reason) -> None:
        self.codes_R[is_bad_R] = _CODES[reason]

    def _mark_quotes(self) -> None:
        """A quote opens behind a separator or a line's start and closes before a separator or a line's end."""
        is_quote_M = self.kind_M == self.layout.quote
        at, opens, record = self.at_M[is_quote_M], self.inside_M[is_quote_M], self.record_M[is_quote_M]
        before = np.where(at > 0, self.bytes[at - 1], _LF)
        behind = self.bytes[at + 1]  # there is one: a block ends in a line end
        behind[(behind == _CR) & (at + 1 == self.contents_end_R[record])] = _LF
        neighbour = np.where(opens, before, behind)
        is_fine = (neighbour == self.layout.separator) | (neighbour == _LF) | (neighbour == self.layout.quote)
        self._mark(np.unique(record[~is_fine]), Reason.STRAY_QUOTE)
        self._mark(self.is_odd_R, Reason.UNCLOSED_QUOTE)

    @cached_property
    def contents_end_R(self) -> np.ndarray:
        """Where a record's text ends: before `\\n` or `\\r\\n`."""
        is_cr_R = (self.bytes[np.maximum(self.ends_R - 1, 0)] == _CR) & (self.ends_R > self.starts_R)
        return self.ends_R - is_cr_R

    def _mark_repeated_header(self) -> None:
        header = self.layout.header
        if header is None:
            return
        alike = np.flatnonzero(self.contents_end_R - self.starts_R == len(header))
        for i, byte in enumerate(header):
            if not len(alike):
                return
            alike = alike[self.bytes[self.starts_R[alike] + i] == byte]
        self._mark(alike, Reason.REPEATED_HEADER)

    def _mark_control_characters(self) -> None:
        is_control = self.bytes < _SPACE
        is_control |= self.bytes == _DEL
        num_line_ends = len(self.line_mark_L) + np.count_nonzero(self.contents_end_R < self.ends_R)
        if np.count_nonzero(is_control) == num_line_ends:
            return  # the usual case, at a tenth of the cost
        at = np.flatnonzero(is_control)
        byte = self.bytes[at]
        is_line_end = (byte == _CR) & (self.bytes[np.minimum(at + 1, len(self.bytes) - 1)] == _LF)
        at = at[(byte != _LF) & (byte != _TAB) & (byte != self.layout.separator) & ~is_line_end]
        self._mark(self._records_at(at), Reason.CONTROL_CHARACTER)

    def _mark_undecodable(self) -> None:
        if self.block.isascii() or _decodes(self.block):
            return
        for r in self._records_at(np.flatnonzero(self.bytes > _DEL)):
            if not _decodes(self.block[self.starts_R[r] : self.ends_R[r]]):
                self.codes_R[r] = _CODES[Reason.NOT_IN_ENCODING]

    def _mark_too_long(self) -> None:
        lengths_R = self.ends_R - self.starts_R
        if not len(lengths_R) or lengths_R.max() <= MAX_FIELD_BYTES:
            return
        borders = self.at_M if self.is_border_M is None else self.at_M[self.is_border_M]
        wide = borders[np.diff(borders, prepend=-1) > MAX_FIELD_BYTES + 1]
        self._mark(self._records_at(wide), Reason.LINE_TOO_LONG)
        self._mark(lengths_R > MAX_LINE_BYTES, Reason.LINE_TOO_LONG)

    def _mark_blank(self) -> None:
        """Empty lines and lines of white space; a line of separators is a row, if a useless one."""
        self.codes_R[self.contents_end_R == self.starts_R] = BLANK
        first_R = self.bytes[self.starts_R]
        is_whole_R = self.codes_R != _CODES[Reason.LINE_TOO_LONG]  # what was cut off may not be white
        maybe_R = is_whole_R & (self.num_fields_R == 1) & ((first_R == _SPACE) | (first_R == _TAB))
        for r in np.flatnonzero(maybe_R):
            if not self.block[self.starts_R[r] : self.ends_R[r]].strip(b" \t\r"):
                self.codes_R[r] = BLANK

    def _records_at(self, at: np.ndarray) -> np.ndarray:
        """The records that these bytes lie in, each once."""
        records = np.unique(np.searchsorted(self.ends_R, at))
        return records[records < len(self.ends_R)]


def _decodes(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
