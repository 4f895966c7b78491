"""The best fraud detector there can be: who made a payment, given all that came before and the payment itself.

`truth.fraud_probs` speaks before the payment is seen. Here it is seen, and Bayes' rule weighs who may have made it:
P(maker | past) times the probability that this maker pays at that second, for that category, over that channel, that
amount, at that merchant, each as process.py and payments.py draw it. Ranking payments by the result catches the most
fraud for any number of alerts, in expectation (Neyman and Pearson).

It assumes what no model knows: every user's tastes, habits, favourites and due dates, the rates of the process, which
earlier payments were fraud (at once, not when a label comes in), how far an attack is, and which merchant leaked the
card. So it is a ceiling in expectation, not one to be reached; and it is one of all kinds of fraud together, where a
model may catch more of one kind at the price of another. The merchant's currency is left out: no schema that ships
reads it.

Shape letters: N payments, K categories, M merchants per category, S favourites per category, D days.
"""

import numpy as np
import polars as pl
from scipy.special import ndtr

from panther_pipeline.ledger.simulator import behaviour as b
from panther_pipeline.ledger.simulator.clock import DAY_S, to_active
from panther_pipeline.ledger.simulator.process import EXPLORE_PROB, FAVOURITE_CUMULATIVE, NOBODY
from panther_pipeline.ledger.simulator.truth import (
    MOMENT_COLUMNS,
    PAYMENT_COLUMNS,
    STATE_COLUMNS,
    SimulationTruth,
    own_category_probs,
)

NUM_MAKERS = len(b.FRAUD_KINDS)
_FAVOURITE_WEIGHT_S = np.diff(FAVOURITE_CUMULATIVE, prepend=0.0, append=1.0)

Columns = dict[str, np.ndarray]


def fraud_posterior(oracle: pl.DataFrame, truth: SimulationTruth) -> np.ndarray:
    """P(the payment is fraudulent | everything before, and the payment), float64 (N,); see `maker_posterior`."""
    return maker_posterior(oracle, truth)[:, b.LEGITIMATE + 1 :].sum(1)


def maker_posterior(oracle: pl.DataFrame, truth: SimulationTruth) -> np.ndarray:
    """P(who made the payment | everything before, and the payment).

    Args:
        oracle: the oracle table or any of its rows, in any order.
        truth: the same simulation's truth.

    Returns:
        float64 (N, 5) by the codes of behaviour.py: legitimate, test payment, large payment, takeover, compromised
        merchant; rows sum to 1.

    Raises:
        ValueError: payments that nobody of this simulation can have made: oracle and truth are of two simulations.
    """
    col = {name: oracle[name].to_numpy() for name in (*STATE_COLUMNS, *MOMENT_COLUMNS, *PAYMENT_COLUMNS)}
    attack_N4 = truth.attack_probs[col["attack"]]
    scheduled, own = _owner_time_probs(col, truth)
    hit = np.where(col["exposed"] != NOBODY, truth.compromised_hit_prob, 0.0)
    own_category = own_category_probs(oracle, truth)[np.arange(oracle.height), col["category"]]
    wanted = scheduled * (col["category"] == col["scheduled"]) + own * (1 - hit) * own_category
    channel = b.CHANNEL_PROBS_SKC[truth.style_U[col["user_ix"]], col["category"], col["channel"]]
    at_favourite, anywhere = _merchant_probs(col, truth)
    leaked = own * hit * (col["category"] == col["exposed"]) * (col["merchant"] == col["leak_merchant"])
    joint_NC = np.zeros((oracle.height, NUM_MAKERS))
    joint_NC[:, b.LEGITIMATE] = attack_N4[:, 0] * wanted * channel * at_favourite * _owner_amount_probs(col, truth)
    joint_NC[:, b.COMPROMISED] = attack_N4[:, 0] * leaked * channel * _leaked_amount_probs(col, truth)
    for code in (b.TEST_PAYMENT, b.LARGE_PAYMENT, b.TAKEOVER):
        what = b.ATTACK_PROBS[code, col["category"]] * (col["channel"] == b.ONLINE) * anywhere
        amount = amount_probs(col["cents"], np.log(100 * b.ATTACK_MEDIAN_EUR[code]), b.ATTACK_SIGMA[code])
        joint_NC[:, code] = attack_N4[:, code] * _thief_time_probs(code, col) * what * amount
    total_N = joint_NC.sum(1)
    if not (total_N > 0).all():
        raise ValueError(
            f"{int((total_N <= 0).sum())} of {oracle.height} payments cannot come from this simulation. Oracle and "
            "truth must be of one simulation: give both catalog entries the same `simulation` block."
        )
    return joint_NC / total_N[:, None]


def _owner_time_probs(col: Columns, truth: SimulationTruth) -> tuple[np.ndarray, np.ndarray]:
    """P(this second) if no remote thief strikes: of the scheduled payment, and of one of free will (N,) each."""
    rate = truth.rate_U[col["user_ix"]] * b.PATTERN_SPEED_R[col["pattern"]]
    since, due = to_active(col["previous_s"]), to_active(col["due_s"])
    is_due = col["time_s"] == np.maximum(col["due_s"], col["previous_s"] + 1)
    scheduled = np.where(is_due, np.exp(-rate * np.maximum(due - since, 0)), 0.0)
    # Waits are rounded down to the second, and the shortest up to one.
    is_shortest = col["time_s"] == col["previous_s"] + 1
    start = np.where(is_shortest, since, to_active(col["time_s"]))
    end = np.minimum(to_active(col["time_s"] + 1), due)
    return scheduled, np.exp(-rate * (start - since)) * -np.expm1(-rate * np.maximum(end - start, 0))


def _thief_time_probs(code: int, col: Columns) -> np.ndarray:
    """P(this second | a thief strikes next), (N,)."""
    waited_s = col["time_s"] - col["previous_s"]
    if code == b.TAKEOVER:
        return _takeover_time_probs(col["previous_s"], col["time_s"])
    shortest_s, longest_s = b.TEST_PAUSE_S
    pause = ((waited_s >= shortest_s) & (waited_s < longest_s)) / (longest_s - shortest_s)
    # Waits of less than a second become one second.
    first = (1 + (waited_s == 1)) * ((waited_s >= 1) & (waited_s < b.FIRST_TEST_WITHIN_S)) / b.FIRST_TEST_WITHIN_S
    return np.where(col["attack"] == b.QUIET, first, pause)


def _takeover_time_probs(previous_s: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    """At once if it is night then, else at any second of the next night."""
    shortest_s, longest_s = b.TAKEOVER_PAUSE_S
    earliest_s, latest_s = previous_s + shortest_s, previous_s + longest_s
    at_once = (time_s >= earliest_s) & (time_s < latest_s)
    midnight_s = time_s // DAY_S * DAY_S
    day_before_s = np.minimum(latest_s, midnight_s) - np.maximum(earliest_s, midnight_s - DAY_S + b.NIGHT_S)
    put_off = np.maximum(day_before_s, 0) / b.NIGHT_S
    is_night = time_s - midnight_s < b.NIGHT_S
    return is_night * (at_once + put_off) / (longest_s - shortest_s)


def amount_probs(cents: np.ndarray, mu: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """P(exactly these cents) of max(1, rint(exp(Normal(mu, sigma)))); 0 below 1; all broadcast to (N,).

    In the upper tail the complement is taken, where a difference of two numbers near 1 would be lost.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.where(cents <= 1, -np.inf, (np.log(np.maximum(cents, 1) - 0.5) - mu) / sigma)
        high = (np.log(np.maximum(cents, 1) + 0.5) - mu) / sigma
    is_upper = low > 0
    prob = ndtr(np.where(is_upper, -low, high)) - ndtr(np.where(is_upper, -high, low))
    return np.where(cents >= 1, prob, 0.0)


def _owner_amount_probs(col: Columns, truth: SimulationTruth) -> np.ndarray:
    category, user = col["category"], col["user_ix"]
    usual = b.SIGN_K[category] * col["cents"]
    is_fixed = b.IS_FIXED_K[category]
    mu = np.log(100 * b.MEDIAN_EUR_K)[category] + truth.shift_U[user]
    drawn = amount_probs(usual, mu, np.where(is_fixed, 1.0, b.SIGMA_K[category]))
    return np.where(is_fixed, usual == truth.fixed_cents_UK[user, category], drawn)


def _leaked_amount_probs(col: Columns, truth: SimulationTruth) -> np.ndarray:
    mu = np.log(100 * b.MEDIAN_EUR_K)[col["category"]] + truth.shift_U[col["user_ix"]] + b.COMPROMISED_SHIFT
    return amount_probs(col["cents"], mu, np.float64(b.COMPROMISED_SIGMA))


def _merchant_probs(col: Columns, truth: SimulationTruth) -> tuple[np.ndarray, np.ndarray]:
    """P(this merchant | category, instant), (N,) each: for the user, who has favourites, and for a thief."""
    opens_s_KM = truth.merchant_opens_s.reshape(b.NUM_CATEGORIES, -1)
    category, day = col["category"].astype(np.int64), col["time_s"] // DAY_S
    position = col["merchant"] - category * opens_s_KM.shape[1]
    day_starts_s = np.arange(day.max(initial=0) + 1) * DAY_S
    num_open_KD = np.stack([np.searchsorted(row, day_starts_s, side="right") for row in opens_s_KM])
    num_open = num_open_KD[category, day]
    anywhere = ((position >= 0) & (position < num_open)) / num_open
    favourite_NS = truth.favourites_UKS[col["user_ix"], category]
    is_closed_NS = opens_s_KM[category[:, None], favourite_NS] > col["time_s"][:, None]
    visited_NS = np.where(is_closed_NS, favourite_NS[:, :1], favourite_NS)
    at_favourite = (visited_NS == position[:, None]) @ _FAVOURITE_WEIGHT_S
    return (1 - EXPLORE_PROB) * at_favourite + EXPLORE_PROB * anywhere, anywhere
