"""When: the column or columns of an event's time, or of its order, and where time is split."""

from datetime import timedelta

import polars as pl

from panther_pipeline.ledger.cells import take_cells, text_of
from panther_pipeline.ledger.columns import TIME_SEPARATOR
from panther_pipeline.ledger.draft.choice import PLACEHOLDER, Choice, Profiles, listed, rank, rivals, says
from panther_pipeline.ledger.draft.profile import ColumnProfile
from panther_pipeline.ledger.draft.times import clock_format, count_steps_back, parse

_TIME = (
    "date|datetime|time|timestamp|ts|datum|zeit|when|booked|posted|posting|created|buchungstag|buchungsdatum|"
    "transaktionsdatum|epoch|fecha|data|day|at"
)
_BEST_TIME = "buchungstag|buchungsdatum|booking|booked|transaction|trans|tx|event|invoice|purchase|timestamp|created"
_OTHER_TIME = (
    "birth|geburt|geburtsdatum|dob|valuta|valutadatum|wertstellung|value|settle|settlement|settled|expiry|expires|"
    "expiration|valid|open|opened|issued|due|updated|modified|start|end|open"
)
_COUNT = "step|day|days|week|hour|hours|period|tick"
_ORDER = "order|rank|position|pos|seq|sequence|index|step|nr"
_PIECES = {"%Y": "year|jahr", "%m": "month|monat", "%d": "day|tag"}
_RANGES = {"%Y": (1900, 2100), "%m": (1, 12), "%d": (1, 31)}
_OPEN_END = "2100-12-31"


def choose_time(rows: pl.DataFrame, profiles: Profiles, *, is_spread: bool) -> Choice:
    """The event's time: one column, pieces of one, a count of days or seconds, or none."""
    pieces = _find_pieces(profiles)
    if pieces:
        return _finish(rows, *pieces, [f"in pieces: {', '.join(pieces[0])}"], [], is_spread=is_spread)
    ranked = rank({name: p for name, p in profiles.items() if p.time}, _score_time)
    if not ranked:
        return _choose_count(rows, profiles, is_spread=is_spread)
    p = profiles[ranked[0].column]
    columns, format, unsure = [p.name], p.time.format, []
    if rivals(ranked, within=10):
        unsure.append(f"the time could also be {', '.join(rivals(ranked, within=10))}")
    if p.time.alternative:
        format, note = _which_way(rows[p.name], p)
        unsure.append(note)
    clock = next((c for c in profiles.values() if c.is_clock and c.name != p.name), None)
    if not p.time.has_clock and clock and p.dtype == "text" and not p.time.has_zone:
        columns.append(clock.name)
        format = f"{format} {clock_format(text_of(rows[clock.name]).drop_nulls())}" if format else None
    if p.time.format and p.time.format.startswith("epoch") and not says(p.name, _TIME):
        unsure.append("these whole numbers are taken as a count from 1970; an id may look the same")
    has_zone = p.time.has_zone
    return _finish(rows, columns, format, [p.seen()], unsure, is_spread=is_spread, has_zone=has_zone)


def _score_time(p: ColumnProfile) -> tuple[float, str] | None:
    if p.share_empty > 0.3 or p.num_distinct < 2:
        return None
    score = 2 + (2 if says(p.name, _TIME) else 0) + (1 if says(p.name, _BEST_TIME) else 0) + p.time.has_clock
    score -= 3 if says(p.name, _OTHER_TIME) else 0
    is_count = (p.time.format or "").startswith("epoch") or p.dtype == "integer"
    if is_count and not says(p.name, _TIME):
        score -= 3.5 if says(p.name, "id|no|number|nr|phone|account|card") else 1
    return score - 2 * p.share_empty, "read as a time"


def _which_way(column: pl.Series, p: ColumnProfile) -> tuple[str, str]:
    """Day before month, or month before day: the reading in which the file is more in order of time."""
    first, second = p.time.format, p.time.alternative
    back = {format: count_steps_back(parse(column, format)) for format in (first, second)}
    better, other = (second, first) if back[second] < back[first] else (first, second)
    why = f"from row to row it goes back {back[better]:,} times, {other} {back[other]:,} times"
    return better, f"day and month may be swapped: no day above 12 was seen. {better} is taken ({why})"


def _find_pieces(profiles: Profiles) -> tuple[list[str], str] | None:
    columns = []
    for code, names in _PIECES.items():
        low, high = _RANGES[code]
        fits = [
            p for p in profiles.values()
            if says(p.name, names) and p.is_whole and low <= p.number.lowest and p.number.highest <= high
        ]  # fmt: skip
        if not fits:
            return None
        columns.append(fits[0].name)
    clock = next((p for p in profiles.values() if p.is_clock), None)
    if not clock:
        return columns, "%Y %m %d"
    return [*columns, clock.name], f"%Y %m %d {clock_format(pl.Series(list(clock.top)))}"


def _choose_count(rows: pl.DataFrame, profiles: Profiles, *, is_spread: bool) -> Choice:
    def score(p: ColumnProfile) -> tuple[float, str] | None:
        if not p.is_whole or p.number.lowest < 0 or p.number.highest > 40_000 or p.num_filled < p.num_rows:
            return None
        return (2, "counts days or hours") if says(p.name, _COUNT) and p.rows_per_value >= 2 else None

    ranked = rank(profiles, score)
    if not ranked:
        return Choice(
            value={"column": PLACEHOLDER, "format": None, "zone": "UTC", "earliest": "1970-01-01", "latest": _OPEN_END},
            unsure=[
                f"no column looks like a time: choose one of {listed(list(profiles))}",
                "or, if only the order of a user's events is known: event_time: {order: <column of whole numbers>}",
            ],
        )
    p = profiles[ranked[0].column]
    unit = "epoch_h" if says(p.name, "hours?") else "epoch_d"
    unsure = [
        f"{p.name} counts from {p.number.lowest:.0f} to {p.number.highest:.0f}: days (epoch_d)? Hours are epoch_h. "
        f"If it is only an order: event_time: {{order: {p.name}}}"
    ]
    return _finish(rows, [p.name], unit, [p.seen()], unsure, is_spread=is_spread, has_zone=True)


def choose_order(rows: pl.DataFrame, profiles: Profiles, users: pl.Series) -> Choice | None:
    """A column that numbers the events of each user, for a ledger without times."""
    for p in profiles.values():
        if not (says(p.name, _ORDER) and p.is_whole and p.number.lowest >= 0 and p.num_filled == p.num_rows):
            continue
        if says(p.name, "id") or p.is_unique:
            continue
        if not pl.DataFrame({"user": users, "order": rows[p.name]}).is_duplicated().any():
            unsure = ["there is no time, only an order within each user: nothing that needs time gaps or dates works"]
            return Choice(value={"order": p.name}, seen=[p.seen(), "no value twice for one user"], unsure=unsure)
    return None


def _finish(
    rows: pl.DataFrame, columns: list[str], format: str | None, seen: list[str], unsure: list[str], *,
    is_spread: bool, has_zone: bool = False,
) -> Choice:  # fmt: skip
    times = read_sample_times(rows, columns, format).drop_nulls()
    # Rows far outside, such as 1900-01-01 or 2099-12-31, are quarantined; a year's ends leave room for the rest.
    low, high = times.quantile(0.0005, "lower"), times.quantile(0.9995, "higher")
    latest = f"{high.year}-12-31" if is_spread else _OPEN_END
    if has_clock(times) and not has_zone:
        unsure = [
            *unsure,
            "zone: the file states none. UTC reads the times as they stand; name the zone if hours matter",
        ]
    if not is_spread:
        unsure = [*unsure, "only the start of the file was read: set latest to the last day that is expected"]
    value = {
        "column": columns[0] if len(columns) == 1 else columns, "format": format, "zone": "UTC",
        "earliest": f"{low.year}-01-01", "latest": latest,
    }  # fmt: skip
    return Choice(value=value, seen=[*seen, f"from {low:%Y-%m-%d %H:%M} to {high:%Y-%m-%d %H:%M}"], unsure=unsure)


def has_clock(times: pl.Series) -> bool:
    """Whether times have hours and minutes, not days alone."""
    times = times.drop_nulls()
    return bool((times.dt.truncate("1d") != times).any())


def read_sample_times(rows: pl.DataFrame, columns: list[str], format: str | None) -> pl.Series:
    return parse(take_cells(rows, columns, separator=TIME_SEPARATOR), format).rename("time")


def leave_last_out() -> Choice:
    """The split of a ledger that knows only the order of a user's events."""
    value = {"protocol": "leave_last_out", "train_end": None, "valid_end": None}
    return Choice(
        value=value, seen=["without times: of every user the newest event is the test, the one before validates"]
    )


def choose_splits(times: pl.Series, *, is_spread: bool) -> Choice:
    """70 % of the rows for training, 15 % for validation, the rest for the test; cut at midnight where possible."""
    times = times.drop_nulls()
    if times.is_empty():
        value = {"protocol": "time", "train_end": "2000-01-01", "valid_end": "2000-01-02"}
        return Choice(value=value, unsure=["without times these two dates mean nothing: state your own"])
    unsure = [] if is_spread else ["only the start of the file was read: move both"]
    train, valid = times.quantile(0.7, "nearest"), times.quantile(0.85, "nearest")
    train_day, valid_day = (t.replace(hour=0, minute=0, second=0, microsecond=0) for t in (train, valid))
    if times.min() < train_day < valid_day <= times.max():
        train, valid, form = train_day, valid_day, "%Y-%m-%d"
    else:
        form = "%Y-%m-%dT%H:%M:%S"
        unsure.append("there are too few days to cut at midnight")
        valid = max(valid, train + timedelta(seconds=1))
    shares = [(times < train).mean(), ((times >= train) & (times < valid)).mean(), (times >= valid).mean()]
    value = {"protocol": "time", "train_end": train.strftime(form), "valid_end": valid.strftime(form)}
    return Choice(value=value, seen=["of the rows: " + " / ".join(f"{share:.0%}" for share in shares)], unsure=unsure)
