"""P16: every instant is exact in int64 microseconds, or quarantined with the reason why it cannot be.

Compared with Python's zone database, from text to the accepted log.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from panther_pipeline.ledger import mapping
from panther_pipeline.ledger.columns import TimeColumn
from panther_pipeline.ledger.values import Reading
from panther_pipeline.tokenizer.columns import read_column

ZONES = [
    "Europe/Berlin", "Europe/London", "Europe/Dublin", "Atlantic/Azores", "America/New_York", "America/St_Johns",
    "America/Santiago", "America/Havana", "Australia/Sydney", "Australia/Lord_Howe", "Pacific/Auckland",
    "Pacific/Chatham",
]  # fmt: skip
SECOND_US = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def settle_times(settle, texts, *, zone="UTC", format=None, earliest="1900-01-01", latest="2199-12-31"):
    time = {"column": "time", "format": format, "zone": zone, "earliest": earliest, "latest": latest}
    table = pl.DataFrame({"time": pl.Series(texts, dtype=pl.String)}).with_columns(
        id=pl.int_range(pl.len()).cast(pl.String),
        user=pl.lit("u"),
        amount=pl.lit("1"),
        shop=pl.lit("s"),
        kind=pl.lit("k"),
    )
    return settle(table, event_time=time)


def outcomes(settle, texts, **changes) -> list[int | str]:
    """Per text: microseconds since 1970, or the reason of quarantine."""
    settled = settle_times(settle, texts, **changes)
    found = dict(zip(settled.faults["source_row"], settled.faults["reason"], strict=True))
    found |= dict(
        zip(settled.valid_events["source_row"], settled.valid_events["event_time"].to_physical(), strict=True)
    )
    return [found[i] for i in range(len(texts))]


def clock_changes(zone: ZoneInfo, year: int = 2024) -> list[datetime]:
    """Instants (UTC) at which the offset changes."""
    start = datetime(year, 1, 1, tzinfo=UTC)
    steps = [start + timedelta(minutes=15) * k for k in range(366 * 96)]
    offsets = [step.astimezone(zone).utcoffset() for step in steps]
    return [steps[k] for k in range(1, len(steps)) if offsets[k] != offsets[k - 1]]


def expected(local: datetime, zone: ZoneInfo) -> int | str:
    early, late = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if early.astimezone(zone).replace(tzinfo=None) != local:
        return "time_nonexistent"
    return "time_ambiguous" if early != late else (early - EPOCH) // timedelta(microseconds=1)


def cases_of(name: str) -> tuple[list[str], list[int | str]]:
    """Local times every 5 minutes, and to the microsecond at the edges, for 4 hours around both clock changes."""
    zone = ZoneInfo(name)
    changes = clock_changes(zone)
    assert len(changes) == 2
    locals_ = []
    for change in changes:
        near = change.astimezone(zone).replace(tzinfo=None)
        grid = [near + timedelta(minutes=5) * k for k in range(-48, 49)]
        locals_ += grid + [t - timedelta(microseconds=1) for t in grid]
    return [t.isoformat(sep=" ", timespec="microseconds") for t in locals_], [expected(t, zone) for t in locals_]


def wrong_cases(settle, name: str) -> tuple[int, int, set[str]]:
    texts, wanted = cases_of(name)
    got = outcomes(settle, texts, zone=name)
    return sum(a != b for a, b in zip(got, wanted, strict=True)), len(wanted), {w for w in wanted if isinstance(w, str)}


def test_both_clock_changes_of_twelve_zones_are_exact(settle):
    wrong = total = 0
    for name in ZONES:
        missed, number, reasons = wrong_cases(settle, name)
        assert reasons == {"time_ambiguous", "time_nonexistent"}
        wrong, total = wrong + missed, total + number
    print(f"\nP16 {total - wrong} of {total} local times around 24 clock changes exact / {total}")
    assert wrong == 0


CASES = [
    ("2024-02-29 23:59:59", None, "UTC", datetime(2024, 2, 29, 23, 59, 59)),
    ("2023-02-29 00:00:00", None, "UTC", "time_unparsable"),
    ("2100-02-29 00:00:00", None, "UTC", "time_unparsable"),  # no leap year
    ("2000-02-29 00:00:00", None, "UTC", datetime(2000, 2, 29)),
    ("1969-07-20 20:17:40", None, "UTC", datetime(1969, 7, 20, 20, 17, 40)),
    ("1969-12-31 23:59:59.999999", None, "UTC", datetime(1969, 12, 31, 23, 59, 59, 999999)),
    ("2100-12-31 23:59:59.000001", None, "UTC", datetime(2100, 12, 31, 23, 59, 59, 1)),
    ("2024-02-29T12:00:00Z", None, "Asia/Tokyo", datetime(2024, 2, 29, 12)),
    ("2024-02-29T12:00:00+05:45", None, "Asia/Tokyo", datetime(2024, 2, 29, 6, 15)),
    ("2024-02-29 12:00", None, "Asia/Tokyo", datetime(2024, 2, 29, 3)),
    ("931107", "%y%m%d", "UTC", datetime(1993, 11, 7)),
    ("931107 23:10:05", "%y%m%d %H:%M:%S", "UTC", datetime(1993, 11, 7, 23, 10, 5)),
    ("51107", "%y%m%d", "UTC", "time_unparsable"),
    ("2002 9 1 06:21", "%Y %m %d %H:%M", "UTC", datetime(2002, 9, 1, 6, 21)),
    ("978300760", "%s", "UTC", datetime(2000, 12, 31, 22, 12, 40)),
    ("31/12/2024 12:30 AM", "%d/%m/%Y %I:%M %p", "UTC", datetime(2024, 12, 31, 0, 30)),
    ("2024-01-01 25:00:00", None, "UTC", "time_unparsable"),
    ("2024-01-01 10:00:60", None, "UTC", "time_unparsable"),
    ("tomorrow", None, "UTC", "time_unparsable"),
    ("", None, "UTC", "missing_time"),
]  # fmt: skip


def test_every_case_of_the_table_is_exact(settle):
    right = 0
    for text, format, zone, wanted in CASES:
        wanted = (
            wanted if isinstance(wanted, str) else (wanted.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
        )
        good = "2024-01-01" if format is None else datetime(2024, 1, 1).strftime(format)
        right += outcomes(settle, [text, good], zone=zone, format=format)[0] == wanted
    print(f"\nP16 {right} of {len(CASES)} cases (leap days, 1969, 2100, offsets, formats) exact / {len(CASES)}")
    assert right == len(CASES)


def test_naive_times_are_refused_without_a_zone():
    with pytest.raises(ValidationError, match=r"zone\n +Field required"):
        TimeColumn(column="t", earliest="2024-01-01", latest="2024-12-31")


def test_times_beyond_tolerance_are_time_travel(settle):
    texts = ["2024-01-01 00:00:00", "2023-12-31 23:59:59.999999", "2024-06-30 23:59:59.999999", "2024-07-01 00:00:00"]
    for zone in ("UTC", "America/New_York"):
        found = outcomes(settle, texts, zone=zone, earliest="2024-01-01", latest="2024-06-30")
        assert [f for f in found if isinstance(f, str)] == ["time_before_earliest", "time_after_latest"]
        assert [isinstance(f, int) for f in found] == [True, False, True, False]


def gaps_us(settle, texts) -> list[int]:
    log = settle_times(settle, texts).log
    gaps = read_column(log, "gap", "gap", "UTC")
    assert gaps.dtype == pl.Int64
    return gaps.to_list()


@pytest.mark.parametrize("year", [1969, 2024, 2100])
def test_events_one_second_apart_give_different_gaps(year, settle):
    steps = np.cumsum([0, 1, 2, 3, 4, 5])
    texts = [(datetime(year, 6, 30, 23, 59, 55) + timedelta(seconds=int(s))).isoformat(sep=" ") for s in steps]
    assert gaps_us(settle, texts) == [-1, *(n * SECOND_US for n in (1, 2, 3, 4, 5))]


def test_guard_notices_floats_of_32_bits(settle, monkeypatch):
    stock = mapping.read_times

    def rounded(column, config):
        reading = stock(column, config)
        values = reading.values.to_physical().cast(pl.Float32).cast(pl.Int64).cast(reading.values.dtype)
        return Reading(values, reading.problem)

    monkeypatch.setattr(mapping, "read_times", rounded)
    assert wrong_cases(settle, ZONES[0])[0] > 0
    assert gaps_us(settle, ["2024-01-01 00:00:00", "2024-01-01 00:00:01"]) != [-1, SECOND_US]


def test_guard_notices_a_guess_at_ambiguous_times(settle, monkeypatch):
    stock = mapping.read_times
    guess = {"zone": "UTC"}  # the sabotage: local times taken for UTC
    monkeypatch.setattr(mapping, "read_times", lambda column, config: stock(column, config.model_copy(update=guess)))
    assert wrong_cases(settle, ZONES[0])[0] > 0
