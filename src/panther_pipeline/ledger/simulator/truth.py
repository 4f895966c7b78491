"""The truth about a simulated ledger: the exact distribution of every next payment, and the best forecast.

Shape letters: N payments (rows of the oracle table), U users, K categories, P parts of the day, C channels,
B amount bins, V distinct tokens that can occur, Q components of a payment (category × who makes it).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from scipy.special import ndtr

from panther_pipeline.ledger.simulator import behaviour as b
from panther_pipeline.ledger.simulator.process import NOBODY

# Takes (category, channel, amount_bin), each (G,): text, text, int64. Returns int token ids (G,).
Encoder = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

# Columns of the oracle table that hold the state before a payment ...
STATE_COLUMNS = (
    "user_ix", "pattern", "routine", "day_part", "scheduled", "scheduled_prob", "attack", "exposed",
)  # fmt: skip
# ... more of it, which matters once the payment is seen, and the payment itself.
MOMENT_COLUMNS = ("previous_s", "due_s", "leak_merchant")
PAYMENT_COLUMNS = ("time_s", "category", "channel", "cents", "merchant")

_K = b.NUM_CATEGORIES
# Components: legitimate by category, a thief's at a leaking merchant by category, three remote codes.
_COMPROMISED = slice(_K, 2 * _K)
_REMOTE_CODES = (b.TEST_PAYMENT, b.LARGE_PAYMENT, b.TAKEOVER)
_NUM_COMPONENTS = 2 * _K + len(_REMOTE_CODES)


@dataclass(frozen=True, kw_only=True)
class SimulationTruth:
    """What never changes about users and world; with a row of the oracle it fixes that row's distribution."""

    categories: list[str]
    channels: list[str]
    taste_UPK: np.ndarray  # float32
    routine_weight_U: np.ndarray  # float32
    style_U: np.ndarray  # int8, row of the channel table
    shift_U: np.ndarray  # float32, added to the log-amount
    fixed_cents_UK: np.ndarray  # int32
    attack_probs: np.ndarray  # (phases + 1, 4), by code
    compromised_hit_prob: float
    merchant_opens_s: np.ndarray  # float64 by merchant number; seconds since the first day
    merchant_leaks: np.ndarray  # bool by merchant number
    rate_U: np.ndarray  # float64, discretionary payments per active day before speed-ups
    favourites_UKS: np.ndarray  # int32 position of merchant within the category


def component_probs(oracle: pl.DataFrame, truth: SimulationTruth) -> np.ndarray:
    """Distribution over what the next payment is, float64 (N, Q); rows sum to 1."""
    col = {name: oracle[name].to_numpy() for name in STATE_COLUMNS}
    row = np.arange(oracle.height)
    attack_N4 = truth.attack_probs[col["attack"]]
    ordinary = attack_N4[:, b.LEGITIMATE]
    is_due = col["scheduled"] != NOBODY
    scheduled = np.where(is_due, ordinary * col["scheduled_prob"].astype(float), 0)
    is_exposed = col["exposed"] != NOBODY
    hit = np.where(is_exposed, (ordinary - scheduled) * truth.compromised_hit_prob, 0)
    own = ordinary - scheduled - hit
    probs_NQ = np.zeros((oracle.height, _NUM_COMPONENTS))
    probs_NQ[:, :_K] = own_category_probs(oracle, truth) * own[:, None]
    probs_NQ[row, np.where(is_due, col["scheduled"], 0)] += scheduled
    probs_NQ[row, _K + np.where(is_exposed, col["exposed"], 0)] += hit
    probs_NQ[:, 2 * _K :] = attack_N4[:, 1:]
    return probs_NQ


def own_category_probs(oracle: pl.DataFrame, truth: SimulationTruth) -> np.ndarray:
    """P(category | the user pays of free will: neither scheduled nor a thief), float64 (N, K); rows sum to 1."""
    pattern, routine, user = (oracle[name].to_numpy() for name in ("pattern", "routine", "user_ix"))
    weight = b.PATTERN_WEIGHT_R[pattern]
    routine_weight = (1 - weight) * truth.routine_weight_U[user]
    taste_NK = truth.taste_UPK[user, oracle["day_part"].to_numpy()].astype(float)
    taste_NK /= taste_NK.sum(1, keepdims=True)
    probs_NK = weight[:, None] * b.PATTERN_PROBS_RK[pattern] + (1 - weight - routine_weight)[:, None] * taste_NK
    probs_NK[np.arange(oracle.height), routine] += routine_weight
    return probs_NK


def category_probs(oracle: pl.DataFrame, truth: SimulationTruth) -> np.ndarray:
    """P(next category | everything before), float64 (N, K), thieves included; rows sum to 1."""
    probs_NQ = component_probs(oracle, truth)
    return probs_NQ[:, :_K] + probs_NQ[:, _COMPROMISED] + probs_NQ[:, 2 * _K :] @ b.ATTACK_PROBS[1:]


def fraud_probs(oracle: pl.DataFrame, truth: SimulationTruth) -> np.ndarray:
    """P(next payment is fraudulent | everything before), float64 (N,), before the payment itself is seen."""
    return component_probs(oracle, truth)[:, _K:].sum(1)


def best_next_tokens(
    oracle: pl.DataFrame,
    truth: SimulationTruth,
    *,
    edges_cents: np.ndarray,
    encode: Encoder,
    users_per_chunk: int = 128,
) -> tuple[np.ndarray, np.ndarray]:
    """The Bayes-optimal forecast of every row's token, and the chance that it is right.

    The mean probability is the highest HR@1 that any model can reach in expectation. The forecaster knows
    each user's tastes and habits exactly, where a model has to learn them from the past: an upper bound. It
    forecasts at the last event, before anything is known about the time of the next one. In a window that
    begins at a fixed instant, every user's first row is known to be no earlier, which the stated probability
    ignores; there, compare with how often `token` is right.

    Args:
        oracle: the oracle table or any of its rows, in any order.
        truth: the same simulation's truth.
        edges_cents: sorted inner bin edges of the signed amount in cents; bin = searchsorted(edges, cents,
            "right"), so bin 0 is below the first edge and an amount on an edge belongs to the upper bin.
        encode: maps tuples to token ids; several tuples may share one id (back-off, [UNK]).
        users_per_chunk: memory knob; about 50 KB per user and hundred tokens.

    Returns:
        (token id int64 (N,), probability float64 (N,)).
    """
    edges = np.asarray(edges_cents, dtype=float)
    token_ids_V, place_KX = _token_grid(truth, len(edges) + 1, encode)
    best_N, prob_N = np.zeros(oracle.height, dtype=np.int64), np.zeros(oracle.height)
    user_N = oracle["user_ix"].to_numpy()
    order = np.argsort(user_N, kind="stable")
    users, starts = np.unique(user_N[order], return_index=True)
    starts = np.append(starts, oracle.height)
    remote_tokens = _remote_tokens(truth, edges, token_ids_V, place_KX)
    for first in range(0, len(users), users_per_chunk):
        chunk = users[first : first + users_per_chunk]
        tokens_UQV = _user_tokens(truth, chunk, edges, len(token_ids_V), place_KX, remote_tokens)
        rows = order[starts[first] : starts[first + len(chunk)]]
        probs_NQ = component_probs(oracle[rows], truth).astype(np.float32)
        bounds = starts[first : first + len(chunk) + 1] - starts[first]
        for at, (low, high) in enumerate(pairwise(bounds)):
            mixed = probs_NQ[low:high] @ tokens_UQV[at]
            winner = mixed.argmax(1)
            best_N[rows[low:high]] = token_ids_V[winner]
            prob_N[rows[low:high]] = mixed[np.arange(high - low), winner]
    return best_N, prob_N


def _token_grid(truth: SimulationTruth, num_bins: int, encode: Encoder) -> tuple[np.ndarray, np.ndarray]:
    """Distinct token ids (V,) and the place among them of each (category, channel × bin) tuple (K, C*B)."""
    shape = (len(truth.categories), len(truth.channels), num_bins)
    category, channel, amount_bin = (grid.ravel() for grid in np.indices(shape))
    ids = np.asarray(encode(np.array(truth.categories)[category], np.array(truth.channels)[channel], amount_bin))
    possible_KC = (b.CHANNEL_PROBS_SKC > 0).any(0)
    possible_KC[:, b.ONLINE] |= (b.ATTACK_PROBS > 0).any(0)
    possible = possible_KC[category, channel]  # a third of all tuples: the rest would only cost time
    token_ids_V, places = np.unique(ids[possible], return_inverse=True)
    place = np.zeros(len(ids), dtype=np.int64)  # impossible tuples add their zero to any token
    place[possible] = places
    return token_ids_V.astype(np.int64), place.reshape(shape[0], -1)


def _below(limit_cents: np.ndarray, mu: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """P(amount in cents < limit) for max(1, rint(exp(Normal(mu, sigma)))) and any limit; mu in log-cents."""
    whole = np.ceil(limit_cents)
    with np.errstate(divide="ignore", invalid="ignore"):
        prob = ndtr((np.log(np.maximum(whole - 0.5, 1e-9)) - mu) / sigma)
    return np.where(whole <= 1, 0.0, prob)


def amount_bin_probs(edges: np.ndarray, mu: np.ndarray, sigma: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """P(bin) for signed log-normal amounts; mu, sigma, sign broadcast to (...,), result (..., B)."""
    mu, sigma, sign = (x[..., None] for x in np.broadcast_arrays(mu, sigma, sign))
    # -x < edge is x > -edge, which is not x < -edge + 1 for whole cents.
    below = np.where(sign > 0, _below(edges, mu, sigma), 1 - _below(np.floor(-edges) + 1, mu, sigma))
    padded = np.concatenate([np.zeros_like(below[..., :1]), below, np.ones_like(below[..., :1])], axis=-1)
    return np.diff(padded, axis=-1)


def _scatter(cells_UX: np.ndarray, place_X: np.ndarray, num_tokens: int) -> np.ndarray:
    """Sum the probabilities of tuples that share a token: (U, C*B) → (U, V)."""
    onehot_XV = np.zeros((len(place_X), num_tokens), dtype=np.float32)
    onehot_XV[np.arange(len(place_X)), place_X] = 1
    return cells_UX.astype(np.float32) @ onehot_XV


def _remote_tokens(
    truth: SimulationTruth, edges: np.ndarray, token_ids_V: np.ndarray, place_KX: np.ndarray
) -> np.ndarray:
    """Token distribution of test, large and takeover payments (3, V): the same for everybody."""
    codes = np.array(_REMOTE_CODES)
    bins_3B = amount_bin_probs(
        edges, np.log(100 * b.ATTACK_MEDIAN_EUR[codes]), b.ATTACK_SIGMA[codes], np.ones(len(codes))
    )
    cells_3CB = np.zeros((len(codes), len(truth.channels), bins_3B.shape[1]))
    cells_3CB[:, b.ONLINE] = bins_3B
    tokens = np.zeros((len(codes), len(token_ids_V)), dtype=np.float32)
    for k in range(_K):
        tokens += b.ATTACK_PROBS[codes, k][:, None] * _scatter(
            cells_3CB.reshape(len(codes), -1), place_KX[k], len(token_ids_V)
        )
    return tokens


def _user_tokens(
    truth: SimulationTruth,
    users: np.ndarray,
    edges: np.ndarray,
    num_tokens: int,
    place_KX: np.ndarray,
    remote: np.ndarray,
) -> np.ndarray:
    """Token distribution of each component for each of these users, float32 (U, Q, V)."""
    mu_UK = np.log(100 * b.MEDIAN_EUR_K) + truth.shift_U[users][:, None]
    legit_UKB = amount_bin_probs(edges, mu_UK, np.where(b.IS_FIXED_K, 1.0, b.SIGMA_K), b.SIGN_K)
    fixed_bin_UK = np.searchsorted(edges, truth.fixed_cents_UK[users] * b.SIGN_K, side="right")
    point_UKB = fixed_bin_UK[..., None] == np.arange(len(edges) + 1)
    legit_UKB = np.where(b.IS_FIXED_K[:, None], point_UKB, legit_UKB)
    leaked_UKB = amount_bin_probs(edges, mu_UK + b.COMPROMISED_SHIFT, np.float64(b.COMPROMISED_SIGMA), np.float64(1))
    channels_UKC = b.CHANNEL_PROBS_SKC[truth.style_U[users]]
    tokens_UQV = np.empty((len(users), _NUM_COMPONENTS, num_tokens), dtype=np.float32)
    for k in range(_K):
        for component, bins_UKB in ((k, legit_UKB), (_K + k, leaked_UKB)):
            cells_UCB = channels_UKC[:, k, :, None] * bins_UKB[:, k, None, :]
            tokens_UQV[:, component] = _scatter(cells_UCB.reshape(len(users), -1), place_KX[k], num_tokens)
    tokens_UQV[:, 2 * _K :] = remote
    return tokens_UQV
