"""Who lives in the simulated world: profiles, tastes, schedules and favourites of users; merchants.

Shape letters: U users, K categories, M merchants per category, J scheduled motifs, S favourites per category.
"""

from dataclasses import dataclass

import numpy as np

from panther_pipeline.ledger.simulator import behaviour as b
from panther_pipeline.ledger.simulator.clock import DAY_S, HOUR_S
from panther_pipeline.ledger.simulator.config import SimulationConfig

NUM_FAVOURITES = 4
NEW_MERCHANT_SHARE = 0.4  # of merchants open during the period


@dataclass(frozen=True, kw_only=True)
class Merchants:
    """Merchants by category, in order of opening; merchant number = category * M + position."""

    opens_s_KM: np.ndarray  # float64, seconds since the first day; <= 0 for those that were always there
    num_open_KD: np.ndarray  # int64: how many are open for the whole of a day
    leak_start_s_KM: np.ndarray  # float64, +inf for most
    leak_end_s_KM: np.ndarray  # float64, -inf for most


@dataclass(frozen=True, kw_only=True)
class Population:
    """A block of users. Everything here is fixed before the first payment."""

    first_user: int  # number of the block's first user in the whole ledger
    age_U: np.ndarray  # int8 index into AGE_BANDS
    region_U: np.ndarray
    brand_U: np.ndarray
    income_U: np.ndarray
    opens_s_U: np.ndarray  # float64, when the account opens
    rate_U: np.ndarray  # discretionary payments per active day before speed-ups
    taste_UPK: np.ndarray  # float32 (U, part of day, K), rows sum to 1
    routine_UL: np.ndarray  # int8 categories, cyclic
    routine_len_U: np.ndarray  # int8
    routine_weight_U: np.ndarray  # float32; 0 = no routine
    style_U: np.ndarray  # int8 index into STYLES
    shift_U: np.ndarray  # float32, log-amount relative to the median person
    fixed_cents_UK: np.ndarray  # int32, the user's amount for fixed-amount categories
    due_day_UJ: np.ndarray  # day of month, or weekday for groceries; -1 = does not have this motif
    due_time_s_UJ: np.ndarray  # float64 time of day
    favourites_UKS: np.ndarray  # int32 position of merchant within the category
    currency_U: np.ndarray  # int8 index into ABROAD

    @property
    def num_users(self) -> int:
        return len(self.age_U)


def found_merchants(config: SimulationConfig, rng: np.random.Generator) -> Merchants:
    """Open the merchants of every category and pick those that will leak cards for a while."""
    num = max(12, min(400, config.num_users // 12))
    opens_s_KM = np.zeros((b.NUM_CATEGORIES, num))
    num_new = int(num * NEW_MERCHANT_SHARE)
    opens_s_KM[:, num - num_new :] = (
        np.sort(rng.uniform(1, config.num_days, (b.NUM_CATEGORIES, num_new)), axis=1) * DAY_S
    )
    day_starts_s = np.arange(config.num_days + 2) * DAY_S
    num_open_KD = np.stack([np.searchsorted(row, day_starts_s, side="right") for row in opens_s_KM])
    leaks_KM = rng.random(opens_s_KM.shape) < config.fraud.compromised_merchant_share
    leaks_KM[[b.IX["rent"], b.IX["salary"], b.IX["subscription"], b.IX["refund"]]] = False
    start_s_KM = rng.uniform(0, config.num_days, opens_s_KM.shape) * DAY_S
    return Merchants(
        opens_s_KM=opens_s_KM,
        num_open_KD=num_open_KD,
        leak_start_s_KM=np.where(leaks_KM, start_s_KM, np.inf),
        leak_end_s_KM=np.where(leaks_KM, start_s_KM + config.fraud.compromised_days * DAY_S, -np.inf),
    )


def draw_population(
    config: SimulationConfig, first_user: int, num_users: int, num_merchants: int, rng: np.random.Generator
) -> Population:
    """Draw a block of users; tastes, routines, payment style and amounts depend on the profile."""
    age_U = rng.choice(len(b.AGE_BANDS), num_users, p=[0.14, 0.24, 0.28, 0.2, 0.14])
    region_U = rng.choice(len(b.REGIONS), num_users, p=[0.3, 0.15, 0.15, 0.2, 0.2])
    income_U = rng.choice(len(b.INCOME_BANDS), num_users, p=[0.3, 0.5, 0.2])
    shift_U = np.array([b.INCOME_SHIFT[name] for name in b.INCOME_BANDS])[income_U]
    shift_U = shift_U + rng.normal(0, b.PERSONAL_SHIFT_SD, num_users)
    routine_U = _choose_by_row(b.ROUTINE_BY_AGE / b.ROUTINE_BY_AGE.sum(1, keepdims=True), age_U, rng)
    padded = np.array([(r * b.MAX_ROUTINE)[: b.MAX_ROUTINE] for r in b.ROUTINES])
    has_routine_U = rng.random(num_users) < b.ROUTINE_USER_SHARE
    due_day_UJ, due_time_s_UJ = _draw_schedules(age_U, rng)
    return Population(
        first_user=first_user,
        age_U=age_U,
        region_U=region_U,
        brand_U=rng.choice(len(b.CARD_BRANDS), num_users, p=[0.5, 0.4, 0.1]),
        income_U=income_U,
        opens_s_U=_draw_openings(config, num_users, rng),
        rate_U=_draw_rates(config, num_users, rng),
        taste_UPK=_draw_tastes(age_U, region_U, income_U, rng),
        routine_UL=np.vectorize(b.IX.get)(padded)[routine_U].astype(np.int8),
        routine_len_U=np.array([len(r) for r in b.ROUTINES])[routine_U],
        routine_weight_U=(has_routine_U * rng.uniform(*b.ROUTINE_WEIGHT_RANGE, num_users)).astype(np.float32),
        style_U=_choose_by_row(b.STYLE_BY_AGE, age_U, rng),
        shift_U=shift_U.astype(np.float32),
        fixed_cents_UK=_draw_fixed_cents(shift_U, rng),
        due_day_UJ=due_day_UJ,
        due_time_s_UJ=due_time_s_UJ,
        favourites_UKS=_draw_favourites(num_users, num_merchants, rng),
        currency_U=rng.integers(len(b.ABROAD), size=num_users),
    )


def _choose_by_row(probs: np.ndarray, row: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    cumulative = np.cumsum(probs, axis=1)[row]
    return np.minimum((rng.random(len(row))[:, None] > cumulative).sum(1), probs.shape[1] - 1)


def _weights(table: dict[str, dict[str, float]] | list[dict[str, float]], names: list[str] | None = None) -> np.ndarray:
    rows = table if names is None else [table[name] for name in names]
    return np.array([[row.get(category, 0.0) for category in b.CATEGORIES] for row in rows])


def _draw_tastes(age_U: np.ndarray, region_U: np.ndarray, income_U: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    base_K = np.array([b.BASE_TASTE.get(name, -np.inf) for name in b.CATEGORIES])
    logits_UK = (
        base_K
        + _weights(b.AGE_TASTE, b.AGE_BANDS)[age_U]
        + _weights(b.REGION_TASTE, b.REGIONS)[region_U]
        + _weights(b.INCOME_TASTE, b.INCOME_BANDS)[income_U]
        + rng.normal(0, b.PERSONAL_TASTE_SD, (len(age_U), b.NUM_CATEGORIES))
    )
    weights_UPK = np.exp(logits_UK[:, None, :] + _weights(b.DAY_PARTS))
    return (weights_UPK / weights_UPK.sum(-1, keepdims=True)).astype(np.float32)


def _draw_openings(config: SimulationConfig, num_users: int, rng: np.random.Generator) -> np.ndarray:
    days = float(config.num_days)
    cold_days = min(config.cold_start_days, days)
    late = rng.uniform(days - cold_days, days - cold_days / 6, num_users)
    return np.floor(
        np.where(rng.random(num_users) < config.cold_start_share, late, rng.uniform(0, 2, num_users)) * DAY_S
    )


# Measured: scheduled payments per 30 days of an average user, and by how much patterns speed up the rest.
_SCHEDULED_PER_MONTH = 5.8
_SPEED_UP = 1.05


def _draw_rates(config: SimulationConfig, num_users: int, rng: np.random.Generator) -> np.ndarray:
    mean = (config.mean_events_per_month - _SCHEDULED_PER_MONTH) / 30 / _SPEED_UP
    return mean * np.exp(rng.normal(-0.08, 0.4, num_users))


def _draw_schedules(age_U: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    num_users = len(age_U)
    days = [
        np.full(num_users, b.RENT_DAY),
        np.full(num_users, b.SALARY_DAY),
        rng.integers(*b.SUBSCRIPTION_DAYS, endpoint=True, size=num_users),
        rng.integers(0, 7, num_users),
    ]
    has_UJ = rng.random((num_users, len(b.MOTIFS))) < b.MOTIF_SHARE_BY_AGE[age_U]
    hours_UJ = np.stack([rng.uniform(low, high, num_users) for low, high in b.MOTIF_HOURS], axis=1)
    return np.where(has_UJ, np.stack(days, axis=1), -1), np.floor(hours_UJ * HOUR_S)


def _draw_fixed_cents(shift_U: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noise_UK = rng.normal(0, 0.15, (len(shift_U), b.NUM_CATEGORIES))
    cents_UK = np.rint(100 * b.MEDIAN_EUR_K * np.exp(shift_U[:, None] + noise_UK))
    cash = b.IX["cash"]
    cents_UK[:, cash] = np.maximum(np.rint(cents_UK[:, cash] / 1000), 1) * 1000  # machines give whole notes
    return np.maximum(cents_UK, 1).astype(np.int32)


def _draw_favourites(num_users: int, num_merchants: int, rng: np.random.Generator) -> np.ndarray:
    num_old = num_merchants - int(num_merchants * NEW_MERCHANT_SHARE)
    shape = (num_users, b.NUM_CATEGORIES, NUM_FAVOURITES)
    # The square favours low positions: some merchants are known to many.
    favourites = (rng.random(shape, dtype=np.float32) ** 2 * num_merchants).astype(np.int32)
    # The first favourite is one that was always open: it stands in for any that is not open yet.
    favourites[..., 0] = (rng.random(shape[:2], dtype=np.float32) ** 2 * num_old).astype(np.int32)
    return np.minimum(favourites, num_merchants - 1)
