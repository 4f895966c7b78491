"""P15: mend the quarantined lines and ingest again: the log equals that of the file that was never broken.

Each fault of a hostile export is planted at known lines. Quarantine must name exactly those lines; they are mended
where it says they stand, in the file itself, or handed in later as a file of their own.
"""

import random

import pytest

NUM_ROWS = 2000
HEADER = "id,user,time,amount,shop,kind"
FAULTS = {
    "cut short": lambda line: line[: len(line) // 2].rstrip(",").rsplit(",", 2)[0],
    "a field too many": lambda line: line + ",x",
    "no user": lambda line: _replace(line, 1, ""),
    "user with a blank": lambda line: _replace(line, 1, " " + line.split(",")[1]),
    "scientific id": lambda line: _replace(line, 0, "4.11111E+15"),
    "no id": lambda line: _replace(line, 0, ""),
    "time of another format": lambda line: _replace(line, 2, "01.02.2024 10:00"),
    "time before all": lambda line: _replace(line, 2, "1850-01-01 00:00:00"),
    "decimal comma": lambda line: _replace(line, 3, '"12,34"'),
    "three decimals": lambda line: _replace(line, 3, "1.005"),
    "no amount": lambda line: _replace(line, 3, ""),
    "not finite": lambda line: _replace(line, 3, "1e999"),
}


def _replace(line: str, column: int, text: str) -> str:
    cells = line.split(",")
    return ",".join([*cells[:column], text, *cells[column + 1 :]])


def write(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, lines in files.items():
        (folder / f"{name}.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    return folder


@pytest.fixture(scope="module")
def clean():
    rng = random.Random(15)
    return [
        f"{i},u{rng.randrange(50)},2024-0{rng.randrange(1, 7)}-01 0{rng.randrange(10)}:00:00,"
        f"{rng.randrange(10**6) / 100:.2f},s{rng.randrange(9)},food"
        for i in range(NUM_ROWS)
    ]


@pytest.fixture(scope="module")
def broken(clean):
    """The file with 180 broken lines, and their numbers in it (from 1, the header being line 1)."""
    where = random.Random(16).sample(range(NUM_ROWS), 15 * len(FAULTS))
    lines = list(clean)
    for n, i in enumerate(where):
        lines[i] = list(FAULTS.values())[n % len(FAULTS)](lines[i])
    return lines, sorted(i + 2 for i in where)


def mend(lines, clean, quarantined):
    """The file with the clean line wherever quarantine says a line is broken."""
    mended = list(lines)
    for line in quarantined["source_line"]:
        if 0 <= line - 2 < NUM_ROWS:
            mended[line - 2] = clean[line - 2]
    return mended


def test_quarantine_names_exactly_the_broken_lines(broken, settle, tmp_path):
    lines, numbers = broken
    settled = settle(write(tmp_path / "broken", payments=lines))
    assert settled.quarantined["source_line"].to_list() == numbers
    assert settled.quarantined["original_line"].to_list() == [lines[n - 2] for n in numbers]
    assert set(settled.quarantined["source_file"]) == {"payments.csv"}
    assert settled.valid_events.height == NUM_ROWS - len(numbers)


@pytest.mark.parametrize("how", ["in the file itself", "in a later file", "in a later file, twice"])
def test_mended_lines_give_the_log_of_the_clean_file(how, clean, broken, settle, digest, tmp_path):
    lines, numbers = broken
    expected = digest(settle(write(tmp_path / "clean", payments=clean)).log)
    damaged = settle(write(tmp_path / "broken", payments=lines))
    assert digest(damaged.log) != expected
    if how == "in the file itself":
        folder = write(tmp_path / "mended", payments=mend(lines, clean, damaged.quarantined))
    else:
        later = [clean[n - 2] for n in damaged.quarantined["source_line"]]
        more = {"repair1": later, "repair2": later} if how.endswith("twice") else {"repair1": later}
        folder = write(tmp_path / "mended", payments=lines, **more)
    settled = settle(folder)
    equal = digest(settled.log) == expected
    print(f"\nP15 {len(numbers) * equal} of {len(numbers)} quarantined lines re-enter {how} / {len(numbers)}")
    assert equal
    assert settled.quarantined.height == len(numbers) * {"in the file itself": 0, "in a later file": 1}.get(how, 2)


def test_guard_notices_a_wrong_line_number(clean, broken, settle, digest, tmp_path, monkeypatch):
    from panther_pipeline.ledger import quarantine

    stock = quarantine._place
    monkeypatch.setattr(
        quarantine, "_place", lambda *a: (p := stock(*a)).with_columns(source_line=p["source_line"] - 1)
    )
    lines, _ = broken
    damaged = settle(write(tmp_path / "broken", payments=lines))
    mended = settle(write(tmp_path / "mended", payments=mend(lines, clean, damaged.quarantined)))
    assert digest(mended.log) != digest(settle(write(tmp_path / "clean", payments=clean)).log)
