"""The fields of a token: few, since their product is the vocabulary."""

import math
from typing import Any

from panther_pipeline.ledger.draft.choice import Choice, Profiles, says

_MOST_FIELDS = 3  # categories beside amount and time
_GOOD = "category|type|mcc|operation|channel|kind|use|chip|symbol|purpose|method|status|product|stock|movie|item"
_ITEM_CATEGORIES = 5000
_MOST_COMBINATIONS = 20_000


def choose_fields(profiles: Profiles, attributes: list[dict[str, str]], *, has_amount: bool, has_clock: bool,
                  counterparty: str | None) -> Choice:  # fmt: skip
    """Amount, up to three categories, and the part of the day where times have one."""
    categories = [a for a in attributes if a["kind"] == "category"]
    ranked = sorted(categories, key=lambda a: -_worth(profiles[a["column"]]))
    chosen, product = [], (8 if has_amount else 1) * (5 if has_clock else 1)
    for attribute in ranked:
        p = profiles[attribute["column"]]
        kept = _kept(p.num_distinct)
        usable = 2 <= p.num_distinct <= 300 and p.share_empty < 0.9
        if len(chosen) < _MOST_FIELDS and usable and product * kept <= _MOST_COMBINATIONS:
            chosen.append(_category(attribute["name"], kept))
            product *= kept
    if not has_amount and categories and not has_clock:
        item = max(categories, key=lambda a: profiles[a["column"]].num_distinct)
        if profiles[item["column"]].num_distinct > 300:  # without amounts and times, what was chosen is the event
            chosen = [_category(item["name"], _ITEM_CATEGORIES)]
    fields = chosen
    if has_amount:
        fields = [
            *fields,
            {"name": "amount", "source": "amount", "kind": "quantile", "num_bins": 8, "significant_digits": 2},
        ]
    if has_clock:
        fields = [*fields, {"name": "hour", "source": "hour", "kind": "fixed", "edges": [6, 12, 18]}]
    if len(fields) < 3 and has_clock:
        fields = [*fields, {"name": "weekday", "source": "weekday", "kind": "fixed", "edges": [5]}]
    if not fields and counterparty:
        fields = [{"name": "counterparty", "source": "counterparty", "kind": "categorical", "max_categories": 1000}]
    if not fields:
        fields = [{"name": "gap", "source": "gap", "kind": "log", "num_bins": 8}]
    names = {field["name"] for field in fields}
    others = [a["name"] for a in attributes if a["name"] not in names]
    seen = [f"not in the token: {', '.join(others)}"] if others else []
    return Choice(value=fields, seen=seen)


def _worth(p: Any) -> float:
    """Named like a kind of payment first; then how evenly its values are spread."""
    total = sum(p.top.values()) or 1
    entropy = -sum(n / total * math.log2(n / total) for n in p.top.values() if n)
    return 10 * says(p.name, _GOOD) + entropy - 5 * p.share_empty


def _kept(distinct: int) -> int:
    return next(most for most in (4, 8, 16, 32, 64, 10**9) if distinct <= most or most == 64)


def _category(name: str, most: int) -> dict[str, object]:
    return {"name": name, "source": "category", "kind": "categorical", "max_categories": most}
