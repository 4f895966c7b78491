"""How a delimited text file is written: the options of a catalog entry, and the limits that hold for all files."""

import codecs
import re
from typing import Literal

from pydantic import Field, model_validator

from panther_pipeline.config import Config

MAX_LINE_BYTES = 1 << 20  # longer than any row of payments; a file without line ends must not fill the memory
MAX_FIELD_BYTES = 1 << 16
UNIT_SEPARATOR = b"\x1f"  # stands in for a separator of several bytes, since parsers take one byte only


class DelimitedFormat(Config):
    """Separator, quotes, encoding, header and line ends of a delimited text file."""

    separator: str = ","  # one character or several, such as "::"
    quote: str | None = '"'  # one ASCII character around text that holds the separator; null = no quoting
    encoding: str = "utf-8"  # any text encoding of Python, such as latin-1, cp1250, utf-16
    header: Literal[True] | list[str] = True  # true = the first line; names for a file without a header line
    final_line_end: Literal["required", "optional"] = "required"  # required: the file may have been cut within a value
    quoted_line_breaks: int = Field(default=0, ge=0, le=1000)  # most further lines that a quoted text may go on over

    @model_validator(mode="after")
    def _check(self) -> "DelimitedFormat":
        faults = [*_separator_faults(self.separator), *_quote_faults(self.quote, self.separator)]
        if not _is_text_encoding(self.encoding):
            faults.append(f"encoding: {self.encoding!r} is unknown; use for example utf-8, latin-1, cp1250 or utf-16")
        if self.header is not True and not self.header:
            faults.append("header: [] names no column; use true if the first line holds the names")
        if self.quoted_line_breaks and self.quote is None:
            faults.append("quoted_line_breaks needs a quote character; set quote, or quoted_line_breaks: 0")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def separator_byte(self) -> bytes:
        """The separator as parsers see it."""
        return UNIT_SEPARATOR if self.replaces_separator else self.separator.encode()

    @property
    def replaces_separator(self) -> bool:
        return len(self.separator.encode()) > 1

    @property
    def quote_byte(self) -> bytes | None:
        return self.quote.encode() if self.quote else None

    @property
    def is_utf8(self) -> bool:
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig")


def field_pattern(separator: bytes, quote: bytes) -> bytes:
    """Regular expression of one field: quoted as a whole with inner quotes doubled, or without any quote."""
    return rb"(?:%b(?:[^%b]|%b%b)*+%b(?!%b)|[^%b%b]*+)" % (*[re.escape(quote)] * 7, re.escape(separator))


def _separator_faults(separator: str) -> list[str]:
    if not separator or set(separator) & set("\r\n\0"):
        return [f"separator: {separator!r} must be one or more characters, none of them a line end or NUL"]
    return []


def _quote_faults(quote: str | None, separator: str) -> list[str]:
    if quote is None:
        return []
    if len(quote) != 1 or not quote.isascii() or not quote.isprintable() or quote.isspace():
        return [f"quote: {quote!r} must be one visible ASCII character, or null for files without quoting"]
    return [f"quote: {quote!r} is part of the separator {separator!r}"] if quote in separator else []


def _is_text_encoding(name: str) -> bool:
    try:
        return "a,1\n".encode(name).decode(name) == "a,1\n"
    except (LookupError, UnicodeError):
        return False
