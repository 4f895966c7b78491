"""Channel and amount of each payment, given its category, its user and whether a thief made it.

These depend on nothing else, so they are drawn for all payments of a block at once, after the steps.
"""

import numpy as np

from panther_pipeline.ledger.simulator import behaviour as b
from panther_pipeline.ledger.simulator.population import Population
from panther_pipeline.ledger.simulator.process import Steps


def is_remote_thief(code: np.ndarray) -> np.ndarray:
    """Thieves who have only the number pay online; at a leaking merchant the card is used as usual."""
    return (code != b.LEGITIMATE) & (code != b.COMPROMISED)


def draw_channels(steps: Steps, population: Population, rng: np.random.Generator) -> np.ndarray:
    """Index into CHANNELS, uint8 (N,)."""
    cumulative_SKC = np.cumsum(b.CHANNEL_PROBS_SKC, axis=-1)
    cumulative_SKC[cumulative_SKC > 1 - 1e-9] = 2
    cumulative_rows = cumulative_SKC.reshape(-1, b.NUM_CHANNELS).astype(np.float32)
    row = population.style_U[steps.user] * b.NUM_CATEGORIES + steps.category
    draw = rng.random(len(row), dtype=np.float32)
    channel = np.zeros(len(row), dtype=np.uint8)
    for column in cumulative_rows.T[:-1]:  # few channels: faster than one (N, C) comparison
        channel += draw >= column[row]
    return np.where(is_remote_thief(steps.code), np.uint8(b.ONLINE), channel)


def draw_amounts(steps: Steps, population: Population, rng: np.random.Generator) -> np.ndarray:
    """Signed amount in cents, int64 (N,); negative = money that comes back to the customer."""
    category, user = steps.category, steps.user
    mu = np.log(b.MEDIAN_EUR_K * 100)[category] + population.shift_U[user]
    sigma = b.SIGMA_K[category]
    stolen = np.flatnonzero(steps.code)
    if len(stolen):
        code = steps.code[stolen]
        leaked = code == b.COMPROMISED
        known = np.minimum(code, len(b.ATTACK_MEDIAN_EUR) - 1)
        mu[stolen] = np.where(leaked, mu[stolen] + b.COMPROMISED_SHIFT, np.log(b.ATTACK_MEDIAN_EUR * 100)[known])
        sigma[stolen] = np.where(leaked, b.COMPROMISED_SIGMA, b.ATTACK_SIGMA[known])
    cents = np.maximum(np.rint(np.exp(mu + sigma * rng.standard_normal(len(mu), dtype=np.float32))), 1).astype(np.int64)
    fixed = b.IS_FIXED_K[category] & (steps.code == b.LEGITIMATE)
    cents = np.where(fixed, population.fixed_cents_UK[user, category], cents)
    return cents * np.where(steps.code == b.LEGITIMATE, b.SIGN_K[category], 1)
