"""What is known of every counterparty at an instant: quantiles and robust statistics of deviations, activity, frauds.

All windows are [as_of - window, as_of): nothing at the instant itself or after it is seen, and a label counts from when
it became known. Sums are of integers and means of sorted values, so the order of the rows moves no bit.

Shape letters: E events with a counterparty, by time; L their labels, by when they became known.
"""

import numpy as np
import polars as pl

from panther_pipeline.tasks.merchant_risk.config import MerchantRiskConfig
from panther_pipeline.tasks.merchant_risk.deviations import DEVIATIONS, SURPRISE
from panther_pipeline.units import DAY_US

KEY = "counterparty_ix"
ACTIVITY, KNOWN, DEVIATION = "activity_", "known_", "deviation_"  # how the names of features begin
_ACTIVITIES = ["count", "amount", "largest", "users"]


def name_median(config: MerchantRiskConfig) -> str:
    """The one robust statistic that is a detector of its own: the median surprise of the longest window."""
    return f"{DEVIATION}{SURPRISE}_median_{config.longest_days}d"


def name_known_frauds(config: MerchantRiskConfig) -> str:
    """How many frauds became known in the longest window."""
    return f"{KNOWN}frauds_{config.longest_days}d"


class Past:
    """Events and labels in order of time, from which the windows before any instant are cut without a copy."""

    def __init__(self, events: pl.DataFrame) -> None:
        """Sort once.

        Args:
            events: counterparty_ix, time_us, user_ix, cents (null = 0), surprise_z, distance_z; fraud (null = no
                label) and known_us.
        """
        self.events = events.sort("time_us")
        self.labels = events.filter(pl.col("fraud").is_not_null()).select(KEY, "time_us", "fraud", "known_us")
        self.labels = self.labels.sort("known_us")
        self.time_us_E = self.events["time_us"].to_numpy()
        self._known_us_L = self.labels["known_us"].to_numpy()
        self.first_seen = self.events.group_by(KEY, maintain_order=True).agg(pl.col("time_us").min())

    def describe(self, as_of_us: int, config: MerchantRiskConfig) -> pl.DataFrame:
        """Features of every counterparty that had an event before an instant.

        Returns:
            counterparty_ix (ascending) and Float32 features. Counts, amounts (units of the currency) and the share
            of frauds of an empty window are 0; deviations of an empty window, a change against a window that is empty
            or begins before the ledger, and days since a fraud that never was, are null.
        """
        seen = self.first_seen.filter(pl.col("time_us") < as_of_us).select(KEY).sort(KEY)
        tables = [self._describe_window(as_of_us, days, config) for days in config.windows_days]
        tables += [self._count_known(as_of_us, days) for days in config.windows_days]
        tables.append(self._days_since_known_fraud(as_of_us))
        for table in tables:
            seen = seen.join(table, on=KEY, how="left", maintain_order="left")
        counted = pl.col(f"^({ACTIVITY}({'|'.join(_ACTIVITIES)})_[0-9]+d|{KNOWN}(count|frauds|share)_.*)$")
        return seen.with_columns(counted.fill_null(0)).with_columns(pl.all().exclude(KEY).cast(pl.Float32))

    def slice_events(self, start_us: int, end_us: int) -> pl.DataFrame:
        """Events in [start, end)."""
        first, last = np.searchsorted(self.time_us_E, [start_us, end_us])
        return self.events[first:last]

    def _describe_window(self, as_of_us: int, days: int, config: MerchantRiskConfig) -> pl.DataFrame:
        """A window and how it differs from the one before."""
        width_us, suffix = days * DAY_US, f"_{days}d"
        now = summarise(self.slice_events(as_of_us - width_us, as_of_us), config)
        before = summarise(self.slice_events(as_of_us - 2 * width_us, as_of_us - width_us), config)
        # A window that the ledger fills in part would show growth that is none.
        before = before if as_of_us - 2 * width_us >= self.time_us_E[0] else before.clear()
        names = now.columns[1:]
        both = now.join(before, on=KEY, how="full", coalesce=True, suffix="_before")
        values = {f"{name}{suffix}": pl.col(name) for name in names}
        changes = {f"{name}_change{suffix}": pl.col(name) - pl.col(f"{name}_before") for name in names}
        return both.select(KEY, **values, **changes)

    def _count_known(self, as_of_us: int, days: int) -> pl.DataFrame:
        """Labels that became known in [as_of - days, as_of)."""
        first, last = np.searchsorted(self._known_us_L, [as_of_us - days * DAY_US, as_of_us])
        counts = self.labels[first:last].group_by(KEY).agg(count=pl.len(), frauds=pl.col("fraud").sum())
        values = {"count": pl.col("count"), "frauds": pl.col("frauds"), "share": pl.col("frauds") / pl.col("count")}
        return counts.select(KEY, **{f"{KNOWN}{name}_{days}d": value for name, value in values.items()})

    def _days_since_known_fraud(self, as_of_us: int) -> pl.DataFrame:
        last = np.searchsorted(self._known_us_L, as_of_us)
        frauds = self.labels[:last].filter(pl.col("fraud") == 1)
        days = (as_of_us - pl.col("time_us").max()) / DAY_US
        return frauds.group_by(KEY).agg(days.alias(f"{KNOWN}days_since_fraud"))


def summarise(window: pl.DataFrame, config: MerchantRiskConfig) -> pl.DataFrame:
    """One row per counterparty of a window: activity, and each deviation by robust statistics.

    Returns:
        counterparty_ix, activity_* and deviation_<measure>_{q<percent>, median, mad, trimmed_mean, share_above_<z>};
        the measures in standard deviations.

    Source: PANTHER (arXiv 2510.10102), section 4.1.3, for the aggregation by quantiles; median absolute deviation and
        trimmed mean as in Huber, "Robust Statistics" (1981).
    """
    activity = {
        "count": pl.len().cast(pl.Int64),
        "amount": pl.col("cents").sum() / 100,
        "largest": pl.col("cents").max() / 100,
        "users": pl.col("user_ix").n_unique().cast(pl.Int64),
    }
    named = {f"{ACTIVITY}{name}": value for name, value in activity.items()}
    for measure in DEVIATIONS:
        statistics = _robust_statistics(pl.col(measure).cast(pl.Float64), config)
        named |= {f"{DEVIATION}{measure}_{name}": value for name, value in statistics.items()}
    return window.group_by(KEY).agg(**named)


def _robust_statistics(z: pl.Expr, config: MerchantRiskConfig) -> dict[str, pl.Expr]:
    num_cut = (pl.len() * config.trim_share).floor().cast(pl.Int64)
    shares = {f"share_above_{limit:g}": (z > limit).mean() for limit in config.thresholds}
    return {
        **{f"q{q}": z.quantile(q / 100, interpolation="linear") for q in config.quantiles_percent},
        "median": z.median(),
        "mad": (z - z.median()).abs().median(),
        "trimmed_mean": z.sort().slice(num_cut, pl.len() - 2 * num_cut).mean(),
        **shares,
    }
