"""From simulated payments to the text table a bank would export, with the flaws of a real one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from panther_pipeline.ledger.simulator import behaviour as b
from panther_pipeline.ledger.simulator.clock import DAY_S
from panther_pipeline.ledger.simulator.config import SimulationConfig
from panther_pipeline.ledger.simulator.population import Population

# reason → (column, text found there instead)
BROKEN = {
    "missing_customer": ("customer_id", ""),
    "unparsable_time": ("booked_at", "2024-13-45 27:61:00"),
    "non_numeric_amount": ("amount", "12,3x"),
    "nan_amount": ("amount", "NaN"),
    "infinite_amount": ("amount", "inf"),
    "far_future": ("booked_at", "2199-01-01 00:00:00"),
    "missing_id": ("transaction_id", ""),
    "unknown_label": ("is_fraud", "maybe"),
}
DUPLICATE = "duplicate"


@dataclass(kw_only=True)
class Flaws:
    """Which rows of the clean table are broken, and which are written twice."""

    reason_N: np.ndarray  # uint8: 0 = healthy, otherwise 1 + position in BROKEN
    copies_N: np.ndarray  # 1, or 2 for a duplicated row


def draw_flaws(config: SimulationConfig, num_rows: int, rng: np.random.Generator) -> Flaws:
    """Pick broken rows and duplicates; no row is both."""
    draw = rng.random(num_rows)
    is_broken = draw < config.broken_row_share
    reason_N = np.where(is_broken, rng.integers(1, len(BROKEN) + 1, num_rows), 0).astype(np.uint8)
    is_twice = ~is_broken & (draw < config.broken_row_share + config.duplicate_share)
    return Flaws(reason_N=reason_N, copies_N=1 + is_twice)


def _pick(names: Sequence[str], ix: np.ndarray) -> pl.Series:
    return pl.Series(names, dtype=pl.Utf8).gather(pl.Series(np.ascontiguousarray(ix, dtype=np.uint32)))


def format_times(config: SimulationConfig, time_s: np.ndarray) -> pl.Series:
    """'2024-03-01 13:22:05' for seconds since the first day: two gathers beat a formatter call per row."""
    days = [(config.start_date + timedelta(days=day)).isoformat() for day in range(config.num_days)]
    clock = [f" {s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}" for s in range(DAY_S)]
    return _pick(days, time_s // DAY_S) + _pick(clock, time_s % DAY_S)


def format_amounts(cents: np.ndarray) -> pl.Series:
    """'-12.34' for -1234."""
    absolute = np.abs(cents)
    whole = pl.Series(absolute // 100).cast(pl.Utf8)
    fraction = _pick([f".{c:02d}" for c in range(100)], absolute % 100)
    return _pick(["", "-"], cents < 0) + whole + fraction


def customer_names(num_users: int) -> pl.Series:
    """Customer ids in order of user number."""
    return pl.Series([f"C{n:07d}" for n in range(num_users)], dtype=pl.Utf8)


def format_profiles(populations: Sequence[Population], num_users: int) -> pl.DataFrame:
    """One row per customer, all text."""
    columns = {
        "age_band": ("age_U", b.AGE_BANDS),
        "region": ("region_U", b.REGIONS),
        "card_brand": ("brand_U", b.CARD_BRANDS),
        "income_band": ("income_U", b.INCOME_BANDS),
    }
    picked = {
        name: _pick(names, np.concatenate([getattr(p, field) for p in populations]))
        for name, (field, names) in columns.items()
    }
    return pl.DataFrame({"customer_id": customer_names(num_users), **picked})


def format_transactions(config: SimulationConfig, rows: dict[str, np.ndarray], flaws: Flaws) -> pl.DataFrame:
    """The export: all text, in order of booking, broken rows broken, duplicates doubled.

    Args:
        config: the simulation.
        rows: columns (N,) by time: user_ix, time_s, cents, category, channel, merchant, currency, code.
        flaws: which rows to break or double.
    """
    currencies = [b.HOME_CURRENCY, *b.ABROAD]
    num_merchants = int(rows["merchant"].max(initial=0)) + 1
    table = pl.DataFrame(
        {
            "transaction_id": "T" + pl.int_range(len(rows["time_s"]), eager=True).cast(pl.Utf8).str.zfill(10),
            "customer_id": _pick(customer_names(config.num_users), rows["user_ix"]),
            "booked_at": format_times(config, rows["time_s"]),
            "amount": format_amounts(rows["cents"]),
            "currency": _pick(currencies, rows["currency"]),
            "category": _pick(b.CATEGORIES, rows["category"]),
            "channel": _pick(b.CHANNELS, rows["channel"]),
            "merchant_id": _pick([f"M{m:06d}" for m in range(num_merchants)], rows["merchant"]),
            "is_fraud": _pick(["0", "1"], rows["code"] != b.LEGITIMATE),
        }
    )
    for number, (column, text) in enumerate(BROKEN.values(), start=1):
        hit = pl.Series(flaws.reason_N == number)
        table = table.with_columns(pl.when(hit).then(pl.lit(text)).otherwise(pl.col(column)).alias(column))
    return table[np.repeat(np.arange(table.height), flaws.copies_N)]
