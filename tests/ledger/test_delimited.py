"""What a delimited file becomes: cells as they stand in it, lines with their reasons, errors that help."""

import csv
import functools
import gzip
import io
import random
import runpy
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger import delimited
from panther_pipeline.ledger.delimited import DelimitedSource
from panther_pipeline.ledger.delimited_format import DelimitedFormat
from panther_pipeline.ledger.delimited_lines import read_line_blocks
from panther_pipeline.ledger.source import BATCH_ROWS, SourceAccount, locate_row

HOSTILE_FILES = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "hostile_csv.py"))["HOSTILE_FILES"]
SMALL_FILES = [case for case in HOSTILE_FILES if len(case.data) < 200_000 and not case.refused]


@pytest.fixture
def make_source(tmp_path):
    def make(*contents: bytes, **options) -> DelimitedSource:
        files = [tmp_path / f"part_{i}.csv" for i in range(len(contents))]
        for path, content in zip(files, contents, strict=True):
            path.write_bytes(content)
        return DelimitedSource(files[::-1], name="payments", format=DelimitedFormat(**options))

    return make


def read(source, columns=("id", "amount")):
    account = SourceAccount()
    batches = list(source.batches(list(columns), account))
    return pl.concat([b.rows for b in batches]), pl.concat([b.rejects for b in batches]), account


def test_cells_come_out_as_they_stand_in_the_file(make_source):
    cells = ["007", "NA", " x ", "1e999", "12345678901234567890123", "é", '"a,""b"', "\t", "0x10", "-0", "1_000", "#c"]
    rows, rejects, _ = read(make_source("\n".join(["id,amount", *(f"{cell},1" for cell in cells), ""]).encode()))
    assert rows["id"].to_list() == [cell if cell[0] != '"' else 'a,"b' for cell in cells]
    assert rejects.is_empty()


def test_columns_come_in_the_order_asked_for(make_source):
    rows, _, _ = read(make_source(b"id,shop,amount\n1,s,2\n"), ["amount", "id"])
    assert rows.to_dicts() == [{"source_row": 1, "amount": "2", "id": "1"}]


def test_files_are_read_in_order_and_numbered_through(make_source):
    source = make_source(b"id,amount\n1,1\n\n", b"id,amount\n2,2\nx\n3,3\n")
    rows, rejects, account = read(source)
    assert rows["source_row"].to_list() == [1, 4, 6]
    assert rejects.rows() == [(5, "wrong_number_of_fields", None, "x")]
    assert [(f.file, f.first_row, f.lines, f.blank) for f in account.files] == [
        ("part_0.csv", 0, 3, 1),
        ("part_1.csv", 3, 4, 0),
    ]
    assert locate_row(account.as_json(), 5) == ("part_1.csv", 3)
    assert source.original_lines([6, 0, 5, 5]) == ["3,3", "id,amount", "x", "x"]


def test_original_lines_are_masked_and_cut(make_source):
    long = b"9" * 1999 + b" 4111 1111 1111 1111" + b"z" * 9000
    source = make_source(b"id,amount\n4111111111111111,2\n\xff,\x01\n" + b"a" * 1990 + long + b"\n")
    assert source.original_lines([1, 2]) == ["[masked],2", "\\xff,\x01"]
    assert source.original_lines([3]) == [("a" * 1990 + "[masked]zz")[:2000]]


def test_excerpt_never_shows_the_rest_of_a_long_number(make_source):
    line = b"1" * 392 + b"x4111111111111111"  # the excerpt is cut after 400 bytes, within the second number
    [[_, _, _, shown]] = read(make_source(b"id,amount\n" + line + b"\n"))[1].rows()
    assert shown == "[masked]x"


def test_original_lines_refuse_a_file_that_has_shrunk(make_source):
    source = make_source(b"id,amount\n1,2\n")
    with pytest.raises(SourceError, match=r"part_0.csv.* ends after 2 lines, but line 9 .* Run again"):
        source.original_lines([1, 8])


@pytest.mark.parametrize("case", SMALL_FILES, ids=lambda case: case.name)
@pytest.mark.parametrize("block_bytes", [16, 37])
def test_block_borders_change_nothing(case, block_bytes, tmp_path, monkeypatch):
    path = tmp_path / "payments.csv"
    path.write_bytes(case.data)
    source = DelimitedSource([path], name="payments", format=DelimitedFormat(**case.options))
    whole = read(source, ["user_id"])
    lines = source.original_lines(range(whole[2].files[0].lines))
    monkeypatch.setattr(delimited, "read_line_blocks", functools.partial(read_line_blocks, block_bytes=block_bytes))
    blocks = read(source, ["user_id"])
    assert_frame_equal(whole[0], blocks[0])
    assert_frame_equal(whole[1], blocks[1])
    assert whole[2] == blocks[2]
    assert source.original_lines(range(len(lines))) == lines


@pytest.mark.parametrize("seed", range(20))
def test_what_a_csv_writer_wrote_comes_back(seed, make_source, monkeypatch):
    rng = random.Random(seed)
    breaks = 9 if seed % 2 else 0
    pieces = ["a", '"', ",", " ", "é", "\t", "7", "''", *(["\n", "\r\n"] if breaks else [])]
    cells = [["".join(rng.choices(pieces, k=rng.randrange(4))) for _ in range(3)] for _ in range(300)]
    cells = [row for row in cells if "".join(row).strip()]
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator=rng.choice(["\n", "\r\n"]))
    writer.writerows([["id", "amount", "shop"], *cells])
    read_small = functools.partial(read_line_blocks, block_bytes=rng.randrange(64, 4000))
    monkeypatch.setattr(delimited, "read_line_blocks", read_small)
    rows, rejects, account = read(
        make_source(file.getvalue().encode(), quoted_line_breaks=breaks), ["id", "amount", "shop"]
    )
    assert rejects.is_empty()
    assert rows.drop("source_row").fill_null("").rows() == [tuple(row) for row in cells]
    assert account.files[0].lines == file.getvalue().count("\n")


@pytest.mark.parametrize("case", SMALL_FILES, ids=lambda case: case.name)
def test_slow_parser_agrees_with_the_fast_one(case, tmp_path, monkeypatch):
    path = tmp_path / "payments.csv"
    path.write_bytes(case.data)
    source = DelimitedSource([path], name="payments", format=DelimitedFormat(**case.options))
    empty_as_null = [pl.col(name).replace("", None) for name in ("user_id", "amount")]
    fast = read(source, ["user_id", "amount"])[0].with_columns(empty_as_null)
    monkeypatch.setattr(delimited._FileReader, "_parse_fast", lambda *_: pl.DataFrame({"user_id": [], "amount": []}))
    assert_frame_equal(fast, read(source, ["user_id", "amount"])[0])


def test_batches_stay_small_and_hold_every_row(make_source):
    num_rows, num_bad = BATCH_ROWS + 10, 2 * BATCH_ROWS + 5
    source = make_source(b"id,amount\n" + b"1,2\n" * num_rows + b"x\n" * num_bad)
    batches = list(source.batches(["id"], SourceAccount()))
    assert max(max(b.rows.height, b.rejects.height) for b in batches) <= BATCH_ROWS
    numbers = np.concatenate([b.rows["source_row"].to_numpy() for b in batches])
    assert np.array_equal(numbers, np.arange(1, num_rows + 1))
    assert sum(b.rejects.height for b in batches) == num_bad


def test_endless_line_is_held_in_small_pieces(tmp_path):
    path = tmp_path / "payments.csv"
    path.write_bytes(b"id,amount\n1," + b"x" * 30_000_000 + b"\n2,3\n" + b"y" * 5_000_000)
    blocks = list(read_line_blocks(path, DelimitedFormat(), block_bytes=1 << 20))
    assert max(map(len, blocks)) <= (2 << 20) + 1
    rows, rejects, account = read(DelimitedSource([path], name="payments"))
    assert rows.rows() == [(2, "2", "3")]
    assert rejects["problem"].to_list() == ["line_too_long"] * 2
    assert account.files[0].lines == 4


def test_line_of_white_space_cut_at_the_limit_is_not_blank(make_source, monkeypatch):
    monkeypatch.setattr(delimited, "read_line_blocks", functools.partial(read_line_blocks, block_bytes=1 << 16))
    white = b" " * 2_000_000
    _, rejects, account = read(make_source(b"id,amount\n1,1\n" + white + b"7,7" + white + b"\n"))
    assert rejects["problem"].to_list() == ["line_too_long"]
    assert account.files[0].blank == 0


def test_gzip_of_many_members_is_read_whole(make_source):
    source = make_source(gzip.compress(b"id,amount\n1,2\n") + gzip.compress(b"3,4\n"))
    assert read(source)[0].rows() == [(1, "1", "2"), (2, "3", "4")]


def test_single_column_keeps_blank_lines_apart_from_empty_cells(make_source):
    rows, rejects, account = read(make_source(b'id\n1\n\n""\n "" \n'), ["id"])
    assert rows["id"].replace("", None).to_list() == ["1", None]
    assert rejects["problem"].to_list() == ["stray_quote"]
    assert account.files[0].blank == 1


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (b"id,value\n1,2\n", r"part_1.csv, line 1: .*part_0.csv: 'amount' is missing; 'value' is not expected"),
        (b"amount,id\n1,2\n", r"part_1.csv, line 1: .*column 1 is 'amount', not 'id'"),
        (b"id,amount,more\n1,2,3\n", r"part_1.csv, line 1: .*'more' is not expected"),
    ],
)
def test_files_with_other_columns_are_refused(make_source, second, message):
    source = make_source(b"id,amount\n1,2\n", second)
    with pytest.raises(SourceError, match=message):
        source.column_names()
    with pytest.raises(SourceError, match=message):
        next(source.batches(["id"], SourceAccount()))


def test_missing_column_is_refused_with_the_header(make_source):
    with pytest.raises(SourceError, match=r"no column \['when'\]; the header has \['id', 'amount'\]"):
        read(make_source(b"id,amount\n1,2\n"), ["id", "when"])


def test_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(SourceError, match=r"gone.csv cannot be read: No such file"):
        DelimitedSource([tmp_path / "gone.csv"], name="payments").column_names()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id;amount\n1;2\n", "did you mean separator ';'"),
        (b"id|amount|b,c\n1|2|3\n", None),
        (b'id,"amount\n1,2\n', "a quote in the header is not closed"),
        (b"id,\xe9\n1,2\n", "line 1, byte 3: the header is not valid utf-8"),
        (b"x" * 2_000_000, "no line end in the first"),
        (b"\x28\xb5\x2f\xfdabc", "compressed with zstd"),
    ],
)
def test_header_that_cannot_be_right_is_refused(make_source, content, message):
    source = make_source(content)
    if message is None:
        assert source.column_names() == ["id|amount|b", "c"]
        return
    with pytest.raises(SourceError, match=message):
        source.column_names()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"separator": ""}, "separator: ''"),
        ({"separator": "\n"}, "none of them a line end"),
        ({"quote": "::"}, "one visible ASCII character"),
        ({"quote": ";", "separator": ";"}, "is part of the separator"),
        ({"encoding": "utf-9"}, "encoding: 'utf-9' is unknown"),
        ({"encoding": "rot13"}, "encoding: 'rot13' is unknown"),
        ({"header": []}, "names no column"),
        ({"quote": None, "quoted_line_breaks": 2}, "needs a quote character"),
        ({"seperator": ";"}, "did you mean 'separator'"),
        ({"separator": "", "encoding": "x"}, "separator: .*encoding: "),
    ],
)
def test_format_that_contradicts_itself_is_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        DelimitedFormat(**options)


def test_header_is_masked_before_it_is_cut(tmp_path):
    (tmp_path / "a.csv").write_text(f"{'x' * 66}4111111111111111;b\n1;2\n")  # the cut leaves 14 digits
    with pytest.raises(SourceError, match="did you mean separator ';'") as caught:
        DelimitedSource([tmp_path / "a.csv"], name="payments").column_names()
    assert "4111" not in str(caught.value)
