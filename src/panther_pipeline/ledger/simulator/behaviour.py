"""What people in the simulated world do: categories, channels, habits. Constants only.

Shape letters: K categories, C channels, R patterns (rows of a table of what tends to follow).
"""

import numpy as np

CATEGORIES = [
    "groceries", "restaurant", "coffee", "fuel", "transport", "clothing", "electronics", "online_shopping",
    "refund", "cinema", "travel", "hotel", "pharmacy", "cash", "hobby", "children", "rent", "salary",
    "subscription", "gift_cards",
]  # fmt: skip
NUM_CATEGORIES = len(CATEGORIES)
IX = {name: ix for ix, name in enumerate(CATEGORIES)}
CHANNELS = ["chip", "contactless", "mobile", "online", "atm", "transfer"]
NUM_CHANNELS = len(CHANNELS)
ONLINE = CHANNELS.index("online")

AGE_BANDS = ["18-24", "25-34", "35-49", "50-64", "65+"]
REGIONS = ["capital", "north", "east", "south", "west"]
CARD_BRANDS = ["visa", "mastercard", "amex"]
INCOME_BANDS = ["low", "middle", "high"]
HOME_CURRENCY = "EUR"
ABROAD = ["USD", "GBP", "CHF", "SEK"]

# --- tastes: log-weights of the discretionary categories; the others never come from taste alone ---
BASE_TASTE = {
    "groceries": 1.6, "restaurant": 0.9, "coffee": 0.9, "fuel": 0.3, "transport": 0.6, "clothing": -0.2,
    "electronics": -1.0, "online_shopping": 0.6, "cinema": -0.2, "travel": -1.6, "pharmacy": 0.0, "cash": 0.1,
    "hobby": -0.1, "children": -0.8, "gift_cards": -2.5,
}  # fmt: skip
AGE_TASTE = {
    "18-24": {"coffee": 0.9, "transport": 0.9, "cinema": 0.8, "online_shopping": 0.6, "fuel": -1.5},
    "25-34": {"restaurant": 0.7, "coffee": 0.5, "clothing": 0.5, "travel": 0.4, "cash": -0.6},
    "35-49": {"children": 1.8, "groceries": 0.5, "fuel": 0.7, "coffee": -0.3, "cinema": -0.4},
    "50-64": {"fuel": 0.6, "hobby": 0.7, "restaurant": 0.3, "children": -1, "cash": 0.4},
    "65+": {"pharmacy": 1.5, "cash": 1.2, "online_shopping": -1.5, "children": -2, "cinema": -1},
}  # fmt: skip
REGION_TASTE = {
    "capital": {"transport": 1.0, "fuel": -1.0, "restaurant": 0.3, "coffee": 0.4},
    "north": {"fuel": 0.5, "transport": -0.6},
    "east": {"cash": 0.6, "hobby": 0.3},
    "south": {"restaurant": 0.4, "cash": 0.4},
    "west": {"online_shopping": 0.4, "electronics": 0.4},
}
INCOME_TASTE = {
    "low": {"travel": -1.0, "restaurant": -0.5, "cash": 0.4, "groceries": 0.4},
    "middle": {},
    "high": {"travel": 0.8, "restaurant": 0.5, "electronics": 0.6, "cash": -0.6},
}
PERSONAL_TASTE_SD = 0.7
# Part of the day in which the user's last event fell: before 11:00, before 18:00, later.
DAY_PARTS = [
    {"coffee": 0.9, "transport": 0.6, "restaurant": -0.6},
    {"groceries": 0.4},
    {"restaurant": 0.8, "cinema": 0.8, "coffee": -1.0},
]
DAY_PART_ENDS_H = (11, 18)

# --- routines: a personal cycle of categories; repeated members make one step of memory insufficient
ROUTINES = [
    ["coffee", "transport", "coffee", "online_shopping"],
    ["coffee", "restaurant", "coffee", "cinema"],
    ["groceries", "fuel", "groceries", "children"],
    ["fuel", "children", "fuel", "restaurant", "groceries"],
    ["hobby", "groceries", "hobby", "fuel"],
    ["pharmacy", "groceries", "cash", "groceries"],
    ["restaurant", "online_shopping", "restaurant", "clothing"],
    ["cash", "coffee", "cash", "pharmacy", "coffee"],
]
MAX_ROUTINE = max(len(routine) for routine in ROUTINES)
ROUTINE_BY_AGE = np.array(
    [
        [5, 5, 0.2, 0.2, 0.5, 0.1, 2, 0.2],
        [3, 3, 1, 1, 1, 0.2, 5, 0.3],
        [0.5, 0.5, 5, 5, 1, 0.3, 1, 0.3],
        [0.3, 0.5, 2, 1, 5, 2, 1, 1],
        [0.1, 0.1, 0.5, 0.1, 3, 6, 0.2, 4],
    ]
)  # (age band, routine)
ROUTINE_USER_SHARE = 0.8
ROUTINE_WEIGHT_RANGE = (0.72, 0.95)  # how faithful a user is to the routine

# --- patterns: what tends to follow; (weight, next categories, speed-up of the next payment) -------
NO_PATTERN, HOLIDAY = 0, 1
_FOLLOWS = {
    "transport": (0.7, {"transport": 1.0}, 3.0),  # out, then back
    "cinema": (0.7, {"restaurant": 0.9, "coffee": 0.1}, 12.0),
    "online_shopping": (0.45, {"refund": 0.6, "online_shopping": 0.4}, 0.8),
    "clothing": (0.65, {"clothing": 0.75, "coffee": 0.25}, 15.0),  # a shopping spree
    "electronics": (0.4, {"online_shopping": 1.0}, 1.0),
    "refund": (0.4, {"online_shopping": 1.0}, 1.0),
}
_HOLIDAY = (0.92, {"hotel": 0.36, "restaurant": 0.36, "cash": 0.08, "coffee": 0.08, "travel": 0.12}, 1.6)
PATTERNS = ["none", "holiday", *_FOLLOWS]
NUM_PATTERNS = len(PATTERNS)


def _table() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rules = [(0.0, {}, 1.0), _HOLIDAY, *_FOLLOWS.values()]
    probs_RK = np.zeros((NUM_PATTERNS, NUM_CATEGORIES))
    for row, (_, nexts, _) in enumerate(rules):
        for name, prob in nexts.items():
            probs_RK[row, IX[name]] = prob
    after_K = np.full(NUM_CATEGORIES, NO_PATTERN)
    for name in _FOLLOWS:
        after_K[IX[name]] = PATTERNS.index(name)
    return probs_RK, np.array([r[0] for r in rules]), np.array([r[2] for r in rules]), after_K


PATTERN_PROBS_RK, PATTERN_WEIGHT_R, PATTERN_SPEED_R, PATTERN_AFTER_K = _table()

# --- scheduled payments ----------------------------------------------------------------------------
MOTIFS = ["rent", "salary", "subscription", "groceries"]
MOTIF_CATEGORY = np.array([IX[name] for name in MOTIFS])
RENT, SALARY, SUBSCRIPTION, WEEKLY_GROCERIES = range(4)
MOTIF_HOURS = [(6.0, 9.0), (5.0, 8.0), (7.0, 12.0), (10.0, 19.0)]  # personal time of day
MOTIF_SHARE_BY_AGE = np.array(
    [
        [0.4, 0.5, 0.8, 0.85],
        [0.8, 0.9, 0.8, 0.85],
        [0.6, 0.95, 0.8, 0.85],
        [0.4, 0.9, 0.8, 0.85],
        [0.4, 0.9, 0.8, 0.85],
    ]
)  # (age band, motif): who has it
RENT_DAY, SALARY_DAY = 1, 25
SUBSCRIPTION_DAYS = (2, 24)  # personal day of the month

# --- amounts: log-normal in euros, median and log-sd; None = one fixed amount per user -------------
_AMOUNTS = {
    "groceries": (42, 0.28), "restaurant": (34, 0.3), "coffee": (3.9, 0.12), "fuel": (58, 0.16),
    "transport": (2.9, None), "clothing": (55, 0.5), "electronics": (210, 0.6),
    "online_shopping": (29, 0.45), "refund": (26, 0.45), "cinema": (13, 0.12), "travel": (260, 0.5),
    "hotel": (120, 0.25), "pharmacy": (14, 0.4), "cash": (60, None), "hobby": (24, 0.3),
    "children": (38, 0.35), "rent": (850, None), "salary": (2600, None), "subscription": (12.99, None),
    "gift_cards": (50, 0.5),
}  # fmt: skip
MEDIAN_EUR_K = np.array([_AMOUNTS[name][0] for name in CATEGORIES], dtype=float)
IS_FIXED_K = np.array([_AMOUNTS[name][1] is None for name in CATEGORIES])
SIGMA_K = np.array([_AMOUNTS[name][1] or 0.0 for name in CATEGORIES])
SIGN_K = np.where(np.isin(CATEGORIES, ["refund", "salary"]), -1, 1)  # negative: money comes back to the customer
INCOME_SHIFT = {"low": -0.25, "middle": 0.0, "high": 0.3}
PERSONAL_SHIFT_SD = 0.2

# --- channels: chip, contactless, mobile, online, atm, transfer; for payers of three styles --------
_SHOP_BY_STYLE = {
    "chip": [0.85, 0.13, 0, 0.02, 0, 0],
    "contactless": [0.06, 0.9, 0.02, 0.02, 0, 0],
    "mobile": [0.03, 0.07, 0.87, 0.03, 0, 0],
}
STYLES = list(_SHOP_BY_STYLE)
STYLE_BY_AGE = np.array([[0.05, 0.25, 0.7], [0.1, 0.4, 0.5], [0.2, 0.6, 0.2], [0.45, 0.5, 0.05], [0.75, 0.24, 0.01]])
_OWN_CHANNEL = {
    "online_shopping": [0, 0, 0.1, 0.9, 0, 0], "refund": [0, 0, 0, 1.0, 0, 0],
    "travel": [0.05, 0, 0.05, 0.9, 0, 0], "cash": [0, 0, 0, 0, 1.0, 0], "rent": [0, 0, 0, 0, 0, 1.0],
    "salary": [0, 0, 0, 0, 0, 1.0], "subscription": [0, 0, 0, 1.0, 0, 0],
    "gift_cards": [0.1, 0, 0, 0.9, 0, 0],
}  # fmt: skip
CHANNEL_PROBS_SKC = np.array(
    [[_OWN_CHANNEL.get(name, _SHOP_BY_STYLE[style]) for name in CATEGORIES] for style in STYLES], dtype=float
)  # (style, K, C)

# --- fraud -----------------------------------------------------------------------------------------
LEGITIMATE, TEST_PAYMENT, LARGE_PAYMENT, TAKEOVER, COMPROMISED = range(5)
FRAUD_KINDS = [
    "",
    "card_testing",
    "card_testing",
    "account_takeover",
    "compromised_merchant",
]  # by the codes above
# Phases of an attack: 0 quiet, 1..6 test payments made so far, 7 account taken over.
QUIET, TAKEN_OVER, NUM_PHASES = 0, 7, 8
LARGE_AFTER_TESTS = [
    0.0,
    0.0,
    0.0,
    0.25,
    1 / 3,
    0.5,
    1.0,
]  # chance that the next is the large one, by tests made
FIRST_TEST_WITHIN_S = 50 * 60  # after the owner's payment
TEST_PAUSE_S = (20, 420)  # between card tests, and before the large payment
TAKEOVER_PAUSE_S = (600, 7800)  # shortest and longest, if that is a night; otherwise some time of the next one
NIGHT_S = 5 * 3600  # from midnight
UNDER_ATTACK_PROB = 0.98  # next payment is the thief's while cards are tested
TAKEN_OVER_PROB = 0.75
_ATTACK_CATEGORIES = {
    TEST_PAYMENT: {"online_shopping": 0.6, "subscription": 0.1, "hobby": 0.3},
    LARGE_PAYMENT: {"electronics": 0.7, "gift_cards": 0.2, "travel": 0.1},
    TAKEOVER: {"gift_cards": 0.35, "electronics": 0.3, "clothing": 0.1, "hotel": 0.15, "cash": 0.1},
}
ATTACK_PROBS = np.zeros((4, NUM_CATEGORIES))
for _code, _row in _ATTACK_CATEGORIES.items():
    for _name, _prob in _row.items():
        ATTACK_PROBS[_code, IX[_name]] = _prob
ATTACK_MEDIAN_EUR = np.array([1.0, 1.2, 480.0, 140.0])  # by code, whatever the category
ATTACK_SIGMA = np.array([0.0, 0.4, 0.4, 0.6])
COMPROMISED_SHIFT = 0.8  # log-amount above the user's usual at such merchants
COMPROMISED_SIGMA = 0.35
