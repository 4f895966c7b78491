"""One row per counterparty and as-of instant: what was known of it then, and whether a fraud followed.

Shape letters: N events of the ledger.
"""

import logging

import numpy as np
import polars as pl
from tqdm import tqdm

from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.tasks.merchant_risk.config import MerchantRiskConfig
from panther_pipeline.tasks.merchant_risk.features import KEY, Past
from panther_pipeline.tasks.merchant_risk.grid import FIT_PART, TEST_PART, KnownLabels, place_instants
from panther_pipeline.units import DAY_US, epoch_us

logger = logging.getLogger(__name__)

ROW_SCHEMA = {
    "counterparty": pl.String,
    "as_of": pl.Datetime("us", "UTC"),
    "part": pl.String,  # fit, calibration or test
    "label": pl.Int8,  # 1 = a fraud in [as_of, as_of + horizon); known only later
}


def tabulate_rows(
    valid_events: pl.DataFrame, deviations: pl.DataFrame, config: MerchantRiskConfig, splits: SplitConfig
) -> pl.DataFrame:
    """All rows of the task with their features.

    Args:
        valid_events: the ledger, (N,) rows; only events with a counterparty count.
        deviations: surprise_z and distance_z of the same rows, from `measure_deviations`.
        config: instants, windows, horizon.
        splits: the test window.

    Returns:
        `ROW_SCHEMA` and the features of `features.Past.describe`, by (as_of, counterparty). Every counterparty with
        an event before the instant has a row; one never seen before has none, since nothing is known of it, nor one
        with an unlabelled event and no fraud in the horizon: whether it was struck nobody knows. A ledger
        without counterparties or labels, split by order or too short gives no rows and one warning.
    """
    reason = _why_impossible(valid_events, splits)
    if reason:
        logger.warning("Merchant risk: %s: no rows, nothing is fitted.", reason)
        return pl.DataFrame(schema=ROW_SCHEMA)
    past = Past(_collect_facts(valid_events, deviations))
    by_time = past.labels.sort("time_us")
    labels = KnownLabels(time_us_L=by_time["time_us"].to_numpy(), known_us_L=by_time["known_us"].to_numpy())
    parts = place_instants(past.time_us_E, labels, config, splits)
    _say_what_was_trained_on(parts, config, splits)
    _say_what_is_new(past, parts, config)
    tables = [
        _tabulate_instant(past, as_of_us, part, config)
        for as_of_us, part in tqdm(parts.items(), desc="merchant risk", unit="instant")
    ]
    if not tables:
        return pl.DataFrame(schema=ROW_SCHEMA)
    names = valid_events["counterparty"].unique().drop_nulls().sort()  # as they are numbered
    table = pl.concat(tables)
    table = table.with_columns(counterparty=names.gather(table[KEY]))
    return table.select(*ROW_SCHEMA, pl.all().exclude(KEY, *ROW_SCHEMA)).cast(ROW_SCHEMA)


def _why_impossible(events: pl.DataFrame, splits: SplitConfig) -> str | None:
    if events["counterparty"].null_count() == events.height:
        return "this ledger has no counterparties"
    if not (events["label"].is_not_null() & events["label_time"].is_not_null()).any():
        return "this ledger has no labels"
    if not splits.is_by_time:
        return f"ledger.splits.protocol is {splits.protocol}, and what was known at an instant needs protocol: time"
    return None


def _collect_facts(events: pl.DataFrame, deviations: pl.DataFrame) -> pl.DataFrame:
    """The columns of `features.Past`, of events with a counterparty."""
    # A label cannot be known before its event, whatever the source says; one without a time is never known.
    known_us_N = np.maximum(epoch_us(events["label_time"]), epoch_us(events["event_time"]))
    has_label = pl.col("label").is_not_null() & pl.col("label_time").is_not_null()
    facts = events.select(
        (pl.col("counterparty").rank("dense").cast(pl.Int64) - 1).alias(KEY),
        time_us=pl.Series(epoch_us(events["event_time"])),
        user_ix=pl.col("user_id").rank("dense"),
        cents=pl.col("amount_cents").fill_null(0),
        fraud=pl.when(has_label).then(pl.col("label").cast(pl.Int64)),
        known_us=pl.Series(known_us_N),
    )
    return facts.hstack(deviations).filter(pl.col(KEY).is_not_null())


def _tabulate_instant(past: Past, as_of_us: int, part: str, config: MerchantRiskConfig) -> pl.DataFrame:
    struck = _find_struck(past, as_of_us, config)
    unlabelled = _slice_horizon(past, as_of_us, config).filter(pl.col("fraud").is_null())[KEY].unique()
    rows = past.describe(as_of_us, config).with_columns(
        as_of=pl.lit(as_of_us).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        part=pl.lit(part),
        label=pl.col(KEY).is_in(struck.implode()).cast(pl.Int8),
    )
    return rows.filter((pl.col("label") == 1) | ~pl.col(KEY).is_in(unlabelled.implode()))


def _find_struck(past: Past, as_of_us: int, config: MerchantRiskConfig) -> pl.Series:
    """The counterparties at which a fraud happens within the horizon."""
    return _slice_horizon(past, as_of_us, config).filter(pl.col("fraud") == 1)[KEY].unique()


def _slice_horizon(past: Past, as_of_us: int, config: MerchantRiskConfig) -> pl.DataFrame:
    return past.slice_events(as_of_us, as_of_us + config.horizon_days * DAY_US)


def _say_what_is_new(past: Past, parts: dict[int, str], config: MerchantRiskConfig) -> None:
    """Counterparties that are struck before anything is known of them are missed by every model."""
    num_struck = num_new = 0
    for as_of_us in (t for t, part in parts.items() if part == TEST_PART):
        struck = _find_struck(past, as_of_us, config)
        new = past.first_seen.filter(pl.col("time_us") >= as_of_us)[KEY]
        num_struck, num_new = num_struck + len(struck), num_new + int(struck.is_in(new.implode()).sum())
    if num_new:
        logger.info(
            "Merchant risk: of %d counterparties struck within a test horizon %d had no earlier event and no row",
            num_struck,
            num_new,
        )


def _say_what_was_trained_on(parts: dict[int, str], config: MerchantRiskConfig, splits: SplitConfig) -> None:
    fit = [as_of_us for as_of_us, part in parts.items() if part == FIT_PART]
    trained = sum(as_of_us - config.longest_days * DAY_US < splits.train_end_us for as_of_us in fit)
    if trained:
        logger.info(
            "Merchant risk: %d of %d fit instants look back on events before train_end, which the backbone was trained "
            "on; finetuning.merchant_risk.rows.fit_start leaves them out",
            trained,
            len(fit),
        )
