"""How much: the amount, its sign, its factor and its currency."""

import math

from panther_pipeline.ledger.draft.choice import Choice, Profiles, rank, rivals, says
from panther_pipeline.ledger.draft.numbers import CURRENCIES
from panther_pipeline.ledger.draft.profile import ColumnProfile

_AMOUNT = (
    "amounts?|amt|betrag|umsatz|montant|importe|bedrag|kwota|summe?|sum|total|value|wert|paid|spend|spent|price|"
    "preis|unitprice|debit|credit|belopp|valor"
)
_PRICE = "price|preis|unitprice|stückpreis"
_NO_AMOUNT = (
    "balance|saldo|solde|lat|long|lon|latitude|longitude|age|zip|plz|year|month|day|id|count|rate|score|old|new|pop|"
    "limit|percent|time|seconds|days|kurs|ratio|quantity|qty|menge|step|rating"
)
_QUANTITY = "quantity|qty|menge|anzahl|units|count|stück"
_NEGATIVE = {
    "d", "dr", "db", "debit", "dbit", "s", "soll", "out", "outgoing", "withdrawal", "withdrawal in cash", "vydaj",
    "vyber", "payment", "purchase", "-", "af", "cash_out", "transfer", "expense", "outflow",
}  # fmt: skip
_POSITIVE = {"c", "cr", "credit", "crdt", "h", "haben", "in", "incoming", "deposit", "prijem", "+", "bij", "cash_in",
             "income", "refund", "inflow"}  # fmt: skip
_SURE = {"d", "dr", "debit", "dbit", "soll", "vydaj", "af", "-", "out", "s"} | {"c", "cr", "credit", "crdt", "haben",
         "prijem", "bij", "+", "in", "h"}  # fmt: skip


def choose_amount(profiles: Profiles) -> Choice:
    """The amount column and all that has to be said of how it is written."""
    ranked = rank(profiles, _score_amount)
    if not ranked:
        return Choice(seen=["no column of decimal numbers is named like an amount"])
    p, style = profiles[ranked[0].column], profiles[ranked[0].column].number
    value: dict[str, object] = {"column": p.name}
    unsure = [f"the amount could also be {', '.join(rivals(ranked))}"] if rivals(ranked) else []
    if p.dtype == "text":
        value |= {"prefix": style.prefix} if style.prefix else {}
        value |= {"decimal": style.decimal} if style.decimal != "." else {}
        value |= {"thousands": style.thousands} if style.thousands else {}
        if style.is_ambiguous:
            unsure.append(f"'{style.thousands or style.decimal}' always stands before three digits: it may part "
                          "thousands, or be a decimal sign (decimal, thousands)")  # fmt: skip
        if style.share_beyond_cents:
            unsure.append(f"{style.share_beyond_cents:.2%} of the values have more than two decimals: quarantined")
    quantity = _find_quantity(p, profiles)
    if quantity:
        value["times"] = quantity
        unsure.append(f"taken as {p.name} × {quantity}; without `times` it is the price of one")
    sign, note = _find_sign(profiles, p)
    if sign:
        value["sign"] = sign
        unsure += note
    currency, note = _find_currency(profiles)
    if currency:
        value["currency"] = currency
        unsure += note
    seen = [p.seen(), f"from {style.lowest:,.2f} to {style.highest:,.2f}, negative in {style.share_negative:.1%}"]
    if not sign and style.share_negative == 0:
        unsure.append("it is never negative: where money that comes and goes must be told apart, state amount.sign")
    return Choice(value=p.name if len(value) == 1 else value, seen=seen, unsure=unsure)


def _score_amount(p: ColumnProfile) -> tuple[float, str] | None:
    if p.number is None or p.is_float_id or p.time or p.is_clock or p.has_leading_zeros or p.num_distinct < 3:
        return None
    if says(p.name, _NO_AMOUNT) and not says(p.name, "amount|amt|betrag"):
        return None
    named = says(p.name, _AMOUNT)
    main = says(p.name, "amounts?|amt|betrag|umsatz|montant|importe|bedrag|kwota")
    score = 2 * named + 1.5 * main + 2 * bool(p.number.prefix) + (p.number.share_with_decimals > 0.2)
    score -= 2 * (p.number.share_beyond_cents > 0.2) + p.share_empty
    return (score, "named like an amount" if named else "decimal numbers") if score >= 1 else None


def _find_quantity(amount: ColumnProfile, profiles: Profiles) -> str | None:
    if not says(amount.name, _PRICE):
        return None
    return next((p.name for p in profiles.values() if says(p.name, _QUANTITY) and p.is_whole), None)


def _find_sign(profiles: Profiles, amount: ColumnProfile) -> tuple[dict[str, object] | None, list[str]]:
    if amount.number is None or amount.number.share_negative:
        return None, []
    for p in profiles.values():
        values = list(p.top)
        if p.dtype != "text" or not 2 <= p.num_distinct <= 6 or p.share_empty > 0.01:
            continue
        negative = [value for value in values if value.lower().strip() in _NEGATIVE]
        positive = [value for value in values if value.lower().strip() in _POSITIVE]
        if negative and positive and len(negative) + len(positive) == len(values):
            unsure = [v for v in values if v.lower().strip() not in _SURE]
            note = [f"amount.sign: is {', '.join(unsure)} rightly placed?"] if unsure else []
            return {"column": p.name, "negative": negative, "positive": positive}, note
    return None, []


def _find_currency(profiles: Profiles) -> tuple[dict[str, str] | None, list[str]]:
    for p in profiles.values():
        if p.dtype == "text" and 0 < p.num_distinct <= 40 and set(p.top) <= set(CURRENCIES):
            only, count = next(iter(p.top.items()))
            other = 1 - count / p.num_filled
            note = (
                [f"amounts in another currency than {only} are quarantined: {other:.1%} of the rows"] if other else []
            )
            return {"column": p.name, "only": only}, note
    return None, []


def choose_range(profiles: Profiles, amount: Choice) -> Choice:
    """Bounds with room around what was seen: ten times, to a round number."""
    if amount.value is None:
        return Choice(value=None, seen=["null, since there is no amount"])
    config = amount.value if isinstance(amount.value, dict) else {"column": amount.value}
    style = profiles[config["column"]].number
    low, high = style.lowest, style.highest
    if "times" in config:
        factor = profiles[config["times"]].number
        ends = [a * b for a in (low, high) for b in (factor.lowest, factor.highest)]
        low, high = min(ends), max(ends)
    if "sign" in config:
        high = max(abs(low), abs(high))
        low = -high
    bounds = [-_round_up(-low) if low < 0 else 0, _round_up(high)]
    return Choice(value=bounds, seen=["room for ten times what was seen; a row outside is quarantined"])


def _round_up(value: float) -> int:
    return int(min(10 ** math.ceil(math.log10(max(value, 1) * 10)), 10**15))
