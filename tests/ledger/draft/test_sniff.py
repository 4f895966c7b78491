"""How files are written is told from their bytes."""

import gzip

import pytest

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.draft import blocks as blocks_module
from panther_pipeline.ledger.draft.blocks import read_text_blocks
from panther_pipeline.ledger.draft.sample import read_sample
from panther_pipeline.ledger.draft.sniff import kind_of, sniff_text

TABLE = "id{0}day{0}amount{0}what\n" + "".join(
    f"{{1}}u{i % 7}{{1}}{{0}}2024-01-0{i % 9 + 1}{{0}}{i}.50{{0}}a b\n" for i in range(50)
)


@pytest.fixture
def sniff(tmp_path):
    def sniff(content: str | bytes) -> dict:
        path = tmp_path / "file.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return sniff_text(read_text_blocks(path), path).options

    return sniff


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "::"])
@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_separator_and_quote_are_found(separator, quote, sniff):
    options = sniff(TABLE.format(separator, quote))
    assert options.get("separator", ",") == separator
    assert options.get("quote", '"') == (quote or '"')
    assert options.get("header", True) is True


def test_gzip_is_told_by_content_not_name(sniff):
    assert sniff(gzip.compress(TABLE.format(";", "").encode())) == {"separator": ";"}


@pytest.mark.parametrize(
    ("encoding", "expected"), [("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("latin-1", "latin-1"), ("utf-16", "utf-16")]
)
def test_encoding_is_found(encoding, expected, sniff):
    assert sniff(TABLE.replace("a b", "Müller").format(";", "").encode(encoding)).get("encoding", "utf-8") == expected


def test_file_without_header_gets_numbered_columns(sniff):
    assert sniff("1,2024-01-01,5.00\n2,2024-01-02,6.00\n")["header"] == ["column_1", "column_2", "column_3"]


def test_unnamed_and_doubled_columns_are_named(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text(",day,amount,amount\n" + "".join(f"{i},2024-01-01,{i}.00,1.00\n" for i in range(30)))
    sample = read_sample(path)
    assert sample.format.options["header"] == ["column_1", "day", "amount", "column_4"]
    assert sample.rows.height == 30


def test_quotes_within_texts_turn_quoting_off(sniff):
    assert sniff("id,what\n" + '1,5" pipe\n2,3" pipe\n3,cup\n' * 10)["quote"] is None


def test_texts_over_several_lines_are_counted(sniff):
    options = sniff("id,what,amount\n" + '1,"two\nlines",2.00\n2,one,3.00\n' * 40)
    assert options["quoted_line_breaks"] == 10


def test_last_line_without_line_end_is_accepted(sniff):
    assert sniff("id,amount\n1,2.00\n2,3.00")["final_line_end"] == "optional"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"{\"a\": 1}\n", "is JSON. Convert it"),
        (b"\x28\xb5\x2f\xfd....", "is compressed with zstd. Unpack it"),
        (b"just words\nand more words\n", "no separator"),
        (b"Account 12\nFrom 1\n" + b"id,amount,day\n1,2,3\n" * 30, r"seems to begin in line 3 \('id,amount,day'\)"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused_in_a_sentence(content, said, tmp_path):
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=said):
        read_sample(path)


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(SourceError, match="There is no file"):
        kind_of(tmp_path / "nothing.csv")
    with pytest.raises(SourceError, match="is a folder"):
        kind_of(tmp_path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_large_file_is_read_in_pieces_of_whole_lines(pack, tmp_path, monkeypatch):
    for name, size in {"WHOLE_BYTES": 4000, "_FIRST_BYTES": 1000, "_BLOCK_BYTES": 500, "_NUM_BLOCKS": 5}.items():
        monkeypatch.setattr(blocks_module, name, size)
    lines = [f"{i:06d},{i}.00" for i in range(5000)]
    path = tmp_path / "large.csv"
    path.write_bytes(pack("\n".join(["id,amount", *lines, ""]).encode()))
    blocks = read_text_blocks(path)
    read = b"".join(blocks.pieces).decode().splitlines()[1:]
    assert not blocks.is_whole
    assert set(read) <= set(lines)
    assert 100 < len(read) < 4000
    assert int(read[-1][:6]) > 4800


def test_line_is_masked_before_it_is_cut(sniff):
    row = f"{'x' * 46},4111111111111111,1\n"  # the cut leaves 13 digits
    with pytest.raises(SourceError, match="seems to begin in line 2") as caught:
        sniff("Account 12\n" + row * 30)
    assert "4111" not in str(caught.value)
