"""The generative process: all users of a block step from payment to payment in parallel.

Before every step the state of a user fixes the distribution of the next payment in closed form:

1. A thief strikes with a probability that depends on the phase of an attack (never when a scheduled payment
   is near, so that it stays on its day).
2. Otherwise a discretionary waiting time is drawn, exponential in active time. If it passes the next
   scheduled payment, that one happens instead: P = exp(-rate * active time until due). Exponential times have
   no memory, so starting afresh after it changes nothing.
3. Otherwise, on a card that a merchant leaked, the thief pays at that merchant with a fixed probability.
4. Otherwise the category comes from a mixture: what tends to follow the last one (pattern), the user's
   routine, the user's taste. Patterns and routine positions are functions of past payments, not hidden coins.

Shape letters: N users still active in the block, U users of the block, K categories, J scheduled motifs.
"""

from dataclasses import dataclass, fields

import numpy as np

from panther_pipeline.ledger.simulator import behaviour as b
from panther_pipeline.ledger.simulator.clock import (
    DAY_S,
    HOUR_S,
    first_weekday_s,
    from_active,
    month_starts_s,
    to_active,
)
from panther_pipeline.ledger.simulator.config import SimulationConfig
from panther_pipeline.ledger.simulator.population import Merchants, Population

_SEEN = ("routine", "day_part", "scheduled", "scheduled_prob", "due_s", "attack", "exposed")
NOBODY = 255  # code of "no category" in uint8 columns
GATED = b.NUM_PHASES  # row of the attack table for "a scheduled payment is near"
_FAR_S, _NEAR_S = 36 * HOUR_S, HOUR_S  # longest time a thief's next payment takes: nights; minutes
FAVOURITE_CUMULATIVE = np.array([0.55, 0.78, 0.88])
EXPLORE_PROB = 0.06  # a merchant that is no favourite
_COMPACT_BELOW = 0.85  # drop finished users from the arrays when fewer than this share is active


@dataclass(kw_only=True)
class Steps:
    """One row per payment, in columns; state columns describe the instant before the payment."""

    user: np.ndarray  # int32 within the block
    time_s: np.ndarray  # int64 since the first day
    category: np.ndarray  # uint8
    merchant: np.ndarray  # int32, category of the merchant * M + position
    code: np.ndarray  # uint8: behaviour.LEGITIMATE, TEST_PAYMENT, …
    abroad: np.ndarray  # bool
    pattern: np.ndarray  # uint8
    routine: np.ndarray  # uint8 category that the routine expects
    day_part: np.ndarray  # uint8
    scheduled: np.ndarray  # uint8 category of the next scheduled payment, NOBODY if none
    scheduled_prob: np.ndarray  # float32, given that no thief strikes first
    due_s: np.ndarray  # float64 instant of the next scheduled payment, exported or not; +inf if none
    attack: np.ndarray  # uint8 row of `attack_table`
    exposed: np.ndarray  # uint8 category of the merchant that leaked the card, NOBODY if none
    leak_merchant: np.ndarray  # int32 that merchant; without meaning where there is none
    previous_s: np.ndarray  # int64 instant of the user's previous payment, or of the opening of the account


def attack_table(config: SimulationConfig) -> np.ndarray:
    """P(code) by phase of the attack: no remote thief, test, large, takeover; rows sum to 1."""
    table = np.zeros((b.NUM_PHASES + 1, 4))
    table[b.QUIET, b.TEST_PAYMENT] = config.fraud.card_testing_start_prob
    table[b.QUIET, b.TAKEOVER] = config.fraud.takeover_start_prob
    for tests, large_prob in enumerate(b.LARGE_AFTER_TESTS):
        if tests > 0:
            table[tests, b.LARGE_PAYMENT] = b.UNDER_ATTACK_PROB * large_prob
            table[tests, b.TEST_PAYMENT] = b.UNDER_ATTACK_PROB * (1 - large_prob)
    table[b.TAKEN_OVER, b.TAKEOVER] = b.TAKEN_OVER_PROB
    table[:, b.LEGITIMATE] = 1 - table[:, 1:].sum(1)
    return table


class Block:
    """State of the users of a block between two payments; arrays (N,) unless said otherwise."""

    def __init__(
        self, config: SimulationConfig, population: Population, merchants: Merchants, rng: np.random.Generator
    ) -> None:
        self.config, self.population, self.merchants, self.rng = config, population, merchants, rng
        self.end_s = float(config.num_days * DAY_S)
        self.num_merchants = merchants.opens_s_KM.shape[1]
        self.attack_cumulative = np.cumsum(attack_table(config), axis=1)
        taste_cumulative = np.cumsum(population.taste_UPK, axis=-1, dtype=np.float32).reshape(-1, b.NUM_CATEGORIES)
        cumulative = np.concatenate([np.cumsum(b.PATTERN_PROBS_RK, axis=1).astype(np.float32), taste_cumulative])
        # Rounding must not leave a gap at the top: the last category with any chance takes what is left.
        self.cumulative = np.where(cumulative >= 1 - 1e-6, np.float32(2), cumulative)
        num = population.num_users
        self.user = np.arange(num, dtype=np.int32)
        self.now_s = population.opens_s_U.copy()
        self.pattern = np.zeros(num, dtype=np.uint8)
        self.out = np.zeros(num, dtype=bool)  # on the way out, the way back is to come
        self.away = np.zeros(num, dtype=bool)  # on holiday
        self.position = np.zeros(num, dtype=np.int8)  # in the routine
        self.phase = np.zeros(num, dtype=np.uint8)
        self.takeover_end_s = np.zeros(num)
        self.leak_merchant = np.zeros(num, dtype=np.int32)
        self.leak_end_s = np.full(num, -np.inf)
        self.month_starts_s = month_starts_s(config.start_date, config.num_days // 28 + 4)
        self.month, self.due_s_NJ = self._first_due()

    def _first_due(self) -> tuple[np.ndarray, np.ndarray]:
        """Index of the month of each monthly motif's next due instant, and all next due instants (N, J)."""
        day_UJ, tod_UJ = self.population.due_day_UJ, self.population.due_time_s_UJ
        offset_UJ = (day_UJ - 1) * DAY_S + tod_UJ
        month_UJ = np.zeros(day_UJ.shape, dtype=np.int64)
        for _ in range(len(self.month_starts_s) - 1):
            passed_UJ = self.month_starts_s[month_UJ] + offset_UJ <= self.now_s[:, None]
            month_UJ += passed_UJ & (month_UJ < len(self.month_starts_s) - 1)
        due_UJ = self.month_starts_s[month_UJ] + offset_UJ
        j = b.WEEKLY_GROCERIES
        due_UJ[:, j] = first_weekday_s(self.config.start_date, day_UJ[:, j], tod_UJ[:, j], self.now_s)
        return month_UJ, np.where(day_UJ < 0, np.inf, due_UJ)

    def compact(self, keep: np.ndarray) -> None:
        """Forget users whose history is complete."""
        for name in (
            "user", "now_s", "pattern", "out", "away", "position", "phase", "takeover_end_s", "leak_merchant",
            "leak_end_s", "month", "due_s_NJ",
        ):  # fmt: skip
            setattr(self, name, getattr(self, name)[keep])

    def step(self) -> Steps:
        """Draw the next payment of every user and move the state past it."""
        draws = self.rng.random((7, len(self.user)))
        state = self._look()
        thief = (draws[0][:, None] >= self.attack_cumulative[state["attack"], :3]).sum(1).astype(np.uint8)
        wait = -np.log1p(-draws[1])
        is_scheduled = (thief == b.LEGITIMATE) & (wait >= state["wait_until_due"])
        hit = (thief == b.LEGITIMATE) & ~is_scheduled & (state["exposed"] != NOBODY)
        hit &= draws[2] < self.config.fraud.compromised_hit_prob
        code = np.where(hit, np.uint8(b.COMPROMISED), thief)
        category = self._choose_category(state, draws[3], draws[4], thief)
        category = np.where(
            is_scheduled, b.MOTIF_CATEGORY[state["motif"]], np.where(hit, state["exposed"], category)
        ).astype(np.uint8)
        time_s = from_active(state["active"] + np.minimum(wait, state["wait_until_due"]) / state["rate"])
        time_s = np.where(is_scheduled, state["due_s"], time_s)
        time_s = np.maximum(self._thief_times(thief, draws[1], draws[2], time_s), self.now_s + 1)
        merchant = self._choose_merchant(category, code, time_s, draws[5], draws[6])
        steps = Steps(
            user=self.user,
            time_s=time_s,
            category=category,
            merchant=merchant,
            code=code,
            pattern=self.pattern,
            leak_merchant=self.leak_merchant,
            previous_s=self.now_s.astype(np.int64),
            abroad=self.away & ~is_scheduled & (code == b.LEGITIMATE),
            **{name: state[name] for name in _SEEN},
        )
        self._move(steps, is_scheduled, state["motif"])
        return steps

    def _look(self) -> dict[str, np.ndarray]:
        """What the state says about the next payment."""
        people, now_s = self.population, self.now_s
        motif = self.due_s_NJ.argmin(1)
        due_s = np.take_along_axis(self.due_s_NJ, motif[:, None], 1)[:, 0]
        rate = people.rate_U[self.user] * b.PATTERN_SPEED_R[self.pattern]
        active = to_active(now_s)
        wait_until_due = rate * np.maximum(to_active(due_s) - active, 0)
        margin_s = np.where((self.phase == b.QUIET) | (self.phase == b.TAKEN_OVER), _FAR_S, _NEAR_S)
        hour = (now_s % DAY_S) / HOUR_S
        # A payment due after the export ends is in no row; a row that exists is known not to be it.
        exported = due_s < self.end_s
        return {
            "motif": motif,
            "due_s": due_s,
            "scheduled": np.where(exported, b.MOTIF_CATEGORY[motif], NOBODY).astype(np.uint8),
            "scheduled_prob": np.where(exported, np.exp(-wait_until_due), 0).astype(np.float32),
            "wait_until_due": wait_until_due,
            "rate": rate,
            "active": active,
            "attack": np.where(due_s - now_s > margin_s, self.phase, GATED).astype(np.uint8),
            "exposed": np.where(self.leak_end_s > now_s, self.leak_merchant // self.num_merchants, NOBODY).astype(
                np.uint8
            ),
            "routine": people.routine_UL[self.user, self.position].astype(np.uint8),
            "day_part": np.searchsorted(b.DAY_PART_ENDS_H, hour, side="right").astype(np.uint8),
        }

    def _choose_category(
        self, state: dict[str, np.ndarray], mix: np.ndarray, draw: np.ndarray, thief: np.ndarray
    ) -> np.ndarray:
        """Pattern, routine or taste; a thief's choice where one strikes."""
        pattern_weight = b.PATTERN_WEIGHT_R[self.pattern]
        routine_weight = (1 - pattern_weight) * self.population.routine_weight_U[self.user]
        taste_row = b.NUM_PATTERNS + self.user * len(b.DAY_PARTS) + state["day_part"]
        row = np.where(mix < pattern_weight, self.pattern, taste_row)
        category = (draw.astype(np.float32)[:, None] >= self.cumulative[row]).sum(1)
        by_routine = (mix >= pattern_weight) & (mix < pattern_weight + routine_weight)
        category = np.where(by_routine, state["routine"], category)
        stolen = np.flatnonzero(thief)
        if len(stolen):
            cumulative = np.cumsum(b.ATTACK_PROBS[thief[stolen]], axis=1)
            category[stolen] = (draw[stolen, None] >= np.where(cumulative > 1 - 1e-9, 2, cumulative)).sum(1)
        return category

    def _thief_times(self, thief: np.ndarray, u: np.ndarray, v: np.ndarray, time_s: np.ndarray) -> np.ndarray:
        """Card tests follow each other within minutes; a taken-over account is used at night."""
        if not thief.any():
            return time_s
        fast = (thief == b.TEST_PAYMENT) | (thief == b.LARGE_PAYMENT)
        starts = fast & (self.phase == b.QUIET)
        shortest_s, longest_s = b.TEST_PAUSE_S
        after_s = np.where(starts, u * b.FIRST_TEST_WITHIN_S, shortest_s + u * (longest_s - shortest_s))
        time_s = np.where(fast, np.floor(self.now_s + after_s), time_s)
        shortest_s, longest_s = b.TAKEOVER_PAUSE_S
        early_s = self.now_s + shortest_s + u * (longest_s - shortest_s)
        is_night = early_s % DAY_S < b.NIGHT_S
        next_night_s = (np.floor(early_s / DAY_S) + 1) * DAY_S + v * b.NIGHT_S
        return np.where(thief == b.TAKEOVER, np.floor(np.where(is_night, early_s, next_night_s)), time_s)

    def _choose_merchant(
        self, category: np.ndarray, code: np.ndarray, time_s: np.ndarray, pick: np.ndarray, place: np.ndarray
    ) -> np.ndarray:
        """A favourite of the user if it is open, sometimes another open one; thieves know no favourites."""
        shops = self.merchants
        slot = np.searchsorted(FAVOURITE_CUMULATIVE, pick / (1 - EXPLORE_PROB), side="right")
        position = self.population.favourites_UKS[self.user, category, slot]
        closed = shops.opens_s_KM[category, position] > time_s
        position = np.where(closed, self.population.favourites_UKS[self.user, category, 0], position)
        day = np.minimum(time_s // DAY_S, self.config.num_days).astype(np.int64)
        any_open = (place * shops.num_open_KD[category, day]).astype(np.int32)
        thief = (code != b.LEGITIMATE) & (code != b.COMPROMISED)
        position = np.where((pick > 1 - EXPLORE_PROB) | thief, any_open, position)
        merchant = category.astype(np.int32) * self.num_merchants + position.astype(np.int32)
        return np.where(code == b.COMPROMISED, self.leak_merchant, merchant)

    def _move(self, steps: Steps, is_scheduled: np.ndarray, motif: np.ndarray) -> None:
        """Update the state in place of arrays (never in place of their contents: `steps` holds some)."""
        category, time_s = steps.category, steps.time_s
        legitimate = steps.code == b.LEGITIMATE
        own = legitimate & ~is_scheduled
        self.out = np.where(own, (category == b.IX["transport"]) & ~self.out, self.out)
        self.away = self.away ^ (own & (category == b.IX["travel"]))
        follows = b.PATTERN_AFTER_K[category]
        follows = np.where((category == b.IX["transport"]) & ~self.out, b.NO_PATTERN, follows)
        pattern = np.where(self.away, b.HOLIDAY, follows).astype(np.uint8)
        self.pattern = np.where(own, pattern, self.pattern)
        advance = own & (category == steps.routine)
        self.position = ((self.position + advance) % self.population.routine_len_U[self.user]).astype(np.int8)
        self._move_schedule(np.flatnonzero(is_scheduled), motif)
        self._move_attack(steps.code, time_s)
        opening = self.merchants.leak_start_s_KM.ravel()[steps.merchant]
        closing = self.merchants.leak_end_s_KM.ravel()[steps.merchant]
        leaks = legitimate & (opening <= time_s) & (time_s < closing)
        self.leak_merchant = np.where(leaks, steps.merchant, self.leak_merchant)
        self.leak_end_s = np.where(leaks, closing, self.leak_end_s)
        self.now_s = time_s

    def _move_schedule(self, rows: np.ndarray, motif: np.ndarray) -> None:
        motif = motif[rows]
        weekly = motif == b.WEEKLY_GROCERIES
        month = np.minimum(self.month[rows, motif] + 1, len(self.month_starts_s) - 1)
        self.month[rows, motif] = month
        users = self.user[rows]
        offset_s = (self.population.due_day_UJ[users, motif] - 1) * DAY_S + self.population.due_time_s_UJ[users, motif]
        next_s = np.where(weekly, self.due_s_NJ[rows, motif] + 7 * DAY_S, self.month_starts_s[month] + offset_s)
        self.due_s_NJ[rows, motif] = next_s

    def _move_attack(self, code: np.ndarray, time_s: np.ndarray) -> None:
        phase = np.where(code == b.TEST_PAYMENT, self.phase + 1, self.phase)
        phase = np.where(code == b.LARGE_PAYMENT, b.QUIET, phase)
        begins = (code == b.TAKEOVER) & (self.phase == b.QUIET)
        self.takeover_end_s = np.where(begins, time_s + self.config.fraud.takeover_days * DAY_S, self.takeover_end_s)
        phase = np.where(begins, b.TAKEN_OVER, phase)
        over = (phase == b.TAKEN_OVER) & (time_s >= self.takeover_end_s)
        self.phase = np.where(over, b.QUIET, phase).astype(np.uint8)


def run_block(
    config: SimulationConfig, population: Population, merchants: Merchants, rng: np.random.Generator
) -> Steps:
    """All payments of a block of users from the opening of their accounts to the end, by step, then user."""
    block = Block(config, population, merchants, rng)
    taken: list[Steps] = []
    while len(block.user):
        steps = block.step()
        inside = steps.time_s < block.end_s
        taken.append(Steps(**{f.name: getattr(steps, f.name)[inside] for f in fields(Steps)}))
        if inside.mean() < _COMPACT_BELOW or not inside.any():
            block.compact(inside)
    merged = {f.name: np.concatenate([getattr(s, f.name) for s in taken]) for f in fields(Steps)}
    return Steps(**{**merged, "time_s": merged["time_s"].astype(np.int64)})
