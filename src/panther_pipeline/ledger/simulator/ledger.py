"""A whole simulated ledger: transactions as text, profiles, and the truth behind them."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from panther_pipeline.ledger.simulator import behaviour as b
from panther_pipeline.ledger.simulator.config import SimulationConfig
from panther_pipeline.ledger.simulator.export import (
    BROKEN,
    DUPLICATE,
    Flaws,
    draw_flaws,
    format_profiles,
    format_transactions,
)
from panther_pipeline.ledger.simulator.payments import draw_amounts, draw_channels
from panther_pipeline.ledger.simulator.population import (
    Merchants,
    Population,
    draw_population,
    found_merchants,
)
from panther_pipeline.ledger.simulator.process import Steps, attack_table, run_block
from panther_pipeline.ledger.simulator.truth import (
    MOMENT_COLUMNS,
    PAYMENT_COLUMNS,
    STATE_COLUMNS,
    SimulationTruth,
)

# Users step in blocks of this size: long enough for numpy, small enough for the processor's cache.
BLOCK_USERS = 8192


@dataclass(frozen=True, kw_only=True)
class SimulatedLedger:
    """What `simulate_ledger` returns."""

    transactions: pl.DataFrame  # all text: transaction_id, customer_id, booked_at, amount, currency, category, …
    profiles: pl.DataFrame  # all text: customer_id, age_band, region, card_brand, income_band
    oracle: pl.DataFrame  # row n describes row n of `transactions`
    truth: SimulationTruth

    @property
    def fraud_kinds(self) -> pl.DataFrame:
        """event_id and kind of every fraud."""
        frauds = self.oracle.filter(pl.col("fraud_kind") != "", pl.col("broken_reason") != DUPLICATE)
        return frauds.select(event_id="transaction_id", kind="fraud_kind")


def simulate_ledger(config: SimulationConfig) -> SimulatedLedger:
    """Simulate a payment ledger; the same config gives the same bytes.

    The amount is in the account's currency, positive = the customer pays; `currency` is the merchant's.

    Args:
        config: size, period, flaws, seed.

    Returns:
        Transactions (text, ordered by booked_at), profiles (text), truth, and the oracle, whose row n is
        about row n of the transactions: transaction_id (even where the export lost it), fraud_kind,
        broken_reason ("", a reason of `export.BROKEN`, or "duplicate"), the user's state before the
        payment, from which `truth` gives its distribution, and the payment as it was drawn: time_s and
        previous_s (seconds since the first day), category, channel (index), cents, merchant (number).
    """
    world_rng, flaw_rng = (np.random.default_rng([config.seed, stream]) for stream in (0, 1))
    merchants = found_merchants(config, world_rng)
    populations, blocks = [], []
    for first in range(0, config.num_users, BLOCK_USERS):
        population, rows = _simulate_block(config, first, merchants)
        populations.append(population)
        blocks.append(rows)
    rows = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    order = np.argsort(rows["time_s"], kind="stable")
    rows = {name: values[order] for name, values in rows.items()}
    flaws = draw_flaws(config, len(order), flaw_rng)
    return SimulatedLedger(
        transactions=format_transactions(config, rows, flaws),
        profiles=format_profiles(populations, config.num_users),
        oracle=_oracle(rows, flaws),
        truth=_truth(config, populations, merchants),
    )


def _simulate_block(
    config: SimulationConfig, first: int, merchants: Merchants
) -> tuple[Population, dict[str, np.ndarray]]:
    rng = np.random.default_rng([config.seed, 2, first])
    num_users = min(BLOCK_USERS, config.num_users - first)
    population = draw_population(config, first, num_users, merchants.opens_s_KM.shape[1], rng)
    steps: Steps = run_block(config, population, merchants, rng)
    rows = {
        "user_ix": (steps.user + first).astype(np.int32),
        "time_s": steps.time_s,
        "cents": draw_amounts(steps, population, rng),
        "category": steps.category,
        "channel": draw_channels(steps, population, rng),
        "merchant": steps.merchant,
        "currency": np.where(steps.abroad, population.currency_U[steps.user] + 1, 0).astype(np.uint8),
        "code": steps.code,
        **{name: getattr(steps, name) for name in (*STATE_COLUMNS[1:], *MOMENT_COLUMNS)},
    }
    return population, rows


def _oracle(rows: dict[str, np.ndarray], flaws: Flaws) -> pl.DataFrame:
    kinds = pl.Series(b.FRAUD_KINDS).gather(pl.Series(rows["code"]).cast(pl.UInt32))
    reasons = pl.Series(["", *BROKEN]).gather(pl.Series(flaws.reason_N).cast(pl.UInt32))
    ids = "T" + pl.int_range(len(kinds), eager=True).cast(pl.Utf8).str.zfill(10)
    table = pl.DataFrame(
        {
            "transaction_id": ids,
            "fraud_kind": kinds,
            "broken_reason": reasons,
            **{name: rows[name] for name in (*STATE_COLUMNS, *MOMENT_COLUMNS, *PAYMENT_COLUMNS)},
        }
    )
    copied = np.repeat(np.arange(table.height), flaws.copies_N)
    is_copy = pl.Series(
        np.concatenate([[False], copied[1:] == copied[:-1]]) if len(copied) else np.zeros(0, dtype=bool)
    )
    return table[copied].with_columns(
        pl.when(is_copy).then(pl.lit(DUPLICATE)).otherwise(pl.col("broken_reason")).alias("broken_reason")
    )


def _truth(config: SimulationConfig, populations: list[Population], merchants: Merchants) -> SimulationTruth:
    per_user = {
        name: np.concatenate([getattr(p, name) for p in populations])
        for name in (
            "taste_UPK",
            "routine_weight_U",
            "style_U",
            "shift_U",
            "fixed_cents_UK",
            "rate_U",
            "favourites_UKS",
        )
    }
    return SimulationTruth(
        categories=list(b.CATEGORIES),
        channels=list(b.CHANNELS),
        attack_probs=attack_table(config),
        compromised_hit_prob=config.fraud.compromised_hit_prob,
        merchant_opens_s=merchants.opens_s_KM.ravel(),
        merchant_leaks=np.isfinite(merchants.leak_start_s_KM).ravel(),
        **per_user,
    )
