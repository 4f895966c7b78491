"""Who and what: user, event id, counterparty, label, and the columns that tell the label."""

import polars as pl

from panther_pipeline.ledger.cells import text_of
from panther_pipeline.ledger.draft.choice import PLACEHOLDER, Choice, Profiles, Scored, listed, rank, rivals, says
from panther_pipeline.ledger.draft.profile import ColumnProfile

_USER = (
    "customers?|cust|clients?|users?|kunden?|kundennummer|kundennr|members?|cardholder|holder|orig|payer|sender|"
    "subscriber|konto|kontonummer|kontonr|auftragskonto|accounts?|acct|iban|compte|cuenta|rekening|passenger|patient"
)
_CARD = "cards?|karte|kartennummer|pan|cc"
_PARTNER = (
    "merchants?|terminals?|partners?|payee|counterparty|counter|dest|receiver|recipient|beneficiary|vendor|stores?|"
    "shops?|empfänger|empfaenger|gegenkonto|begünstigter|beguenstigter|zahlungsempfänger|zahlungspflichtiger|"
    "auftraggeber|händler|haendler|bot"
)
_NO_ID = "city|state|zip|country|type|category|lat|long|lon|mcc|age|gender|status|name|brand|pop|job|street|stadt|ort"
_EVENT = "trans|transaction|tx|event|payment|buchung|booking|trx|txn|reference|ref|order|rating|uuid|umsatz"
_LABEL = "fraud|fraudulent|label|target|class|chargeback|default|defaulted|betrug|churn|laundering|suspicious|anomaly"
_YES_NO = {"1": "0", "yes": "no", "true": "false", "y": "n", "t": "f", "fraud": "genuine", "ja": "nein"}
_FEW_POSITIVES = 5
_FORBIDDEN_SHARE = 0.9  # of positives, told by values that (nearly) always mean positive
_MOST_VALUES_THAT_TELL = 50


def choose_user(profiles: Profiles) -> Choice:
    """The column that says who; two where one only numbers a user's cards and there is one user."""
    ranked = rank(profiles, _score_user)
    by_number = [one for one in ranked if _is_card_number(profiles[one.column])]
    if len(by_number) < len(ranked):
        ranked = [one for one in ranked if one not in by_number]
    if not ranked:
        return Choice(
            value=PLACEHOLDER,
            unsure=[f"no column looks like a user: choose one of {listed(list(profiles))}"],
        )
    best = profiles[ranked[0].column]
    unsure = []
    others = rivals(ranked)
    if others:
        unsure.append(f"the user could also be {', '.join(others)}, or several columns: [{best.name}, {others[0]}]")
    if ranked[0].score < 2:
        unsure.append("no column is named like a user; this one repeats as an id would")
    value, note = _with_card(best, profiles)
    return Choice(value=value, seen=[ranked[0].reason, best.seen()], unsure=[*note, *([] if note else unsure)])


def _score_user(p: ColumnProfile) -> tuple[float, str] | None:
    if not _may_be_id(p) or p.is_unique or p.share_empty > 0.6 or says(p.name, _PARTNER):
        return None
    named = says(p.name, _USER)
    card = says(p.name, _CARD) and not says(p.name, "type|brand|present|kind")
    if says(p.name, _NO_ID) and not (named and says(p.name, "orig")):
        return None
    score = (3 if named else 2.5 if card else 0) + (0.5 if says(p.name, "id|no|nr|number|num|nummer") else 0)
    score += 1 if p.num_distinct >= 20 else 0
    score -= 2 * p.share_empty + (1 if p.num_distinct == 1 else 0)
    if not (named or card):
        is_id = p.num_distinct >= 20 and p.rows_per_value >= 3 and (p.is_float_id or p.mean_chars >= 4)
        if not is_id or p.time or p.is_clock or (p.mean_chars > 40):
            return None
        score -= 0.5
    return score, "named like a user" if named else "named like a card" if card else "repeats like an id"


def _is_card_number(p: ColumnProfile) -> bool:
    """Whether a column numbers the cards of each user, and so says nothing alone."""
    return says(p.name, _CARD) and p.is_whole and p.number.highest < 100


def _with_card(user: ColumnProfile, profiles: Profiles) -> tuple[object, list[str]]:
    cards = [p for p in profiles.values() if _is_card_number(p) and p.num_distinct > 1]
    if user.num_distinct == 1 and cards:
        card = cards[0].name
        note = f"there is one {user.name} here, so a user is one of its cards; {user.name} alone is the alternative"
        return [user.name, card], [note]
    if user.is_float_id:
        return {"columns": [user.name], "written_as": "float"}, []
    return user.name, []


def _may_be_id(p: ColumnProfile) -> bool:
    if p.dtype not in ("text", "integer") or not p.num_filled or p.is_clock or (p.time and p.dtype == "text"):
        return False
    return p.number is None or p.is_float_id or (p.is_whole and p.number.lowest >= 0)


def choose_event_id(profiles: Profiles, user: Choice) -> Choice:
    """A column in which every value comes once."""

    def score(p: ColumnProfile) -> tuple[float, str] | None:
        if p.dtype not in ("text", "integer") or p.num_filled < p.num_rows or (p.time and not p.number):
            return None
        named = says(p.name, _EVENT) or says(p.name, "id|no|nr|number|nummer")
        if (p.number and not p.is_whole) or p.num_distinct < 0.999 * p.num_filled or not named:
            return None
        return 1 + named + p.is_unique, "every value once" if p.is_unique else "nearly every value once"

    ranked = [one for one in rank(profiles, score) if one.column != user.value]
    if not ranked:
        return Choice(seen=["no column has another value in every row: a row is known by its number"])
    p = profiles[ranked[0].column]
    unsure = (
        [] if p.is_unique else ["a few values come twice: the later rows of each are quarantined (null accepts them)"]
    )
    return Choice(value=p.name, seen=[p.seen()], unsure=unsure)


def choose_counterparty(profiles: Profiles) -> Choice:
    """Merchant, terminal or partner account, of the columns that no other role took."""

    def score(p: ColumnProfile) -> tuple[float, str] | None:
        if p.dtype not in ("text", "integer") or p.num_distinct < 5 or p.is_clock or p.time or p.is_unique:
            return None
        if (p.number and not p.is_whole) or says(
            p.name, "city|state|zip|country|type|category|lat|long|lon|mcc|blz|bic"
        ):
            return None
        if says(p.name, _PARTNER):
            is_id = says(p.name, "id|iban|konto|name|no|number|kontonummer") or len(p.name.split()) == 1
            return 3 + is_id + p.num_distinct / 1e9, "named like a partner"
        return (1.5, "an account beside the user's") if says(p.name, "accounts?|konto|iban") and p.number else None

    ranked = rank(profiles, score)
    if not ranked:
        return Choice(seen=["no column is named like a merchant, terminal or partner"])
    p = profiles[ranked[0].column]
    unsure = [f"it could also be {', '.join(rivals(ranked))}"] if rivals(ranked) else []
    if ranked[0].score < 3:
        unsure.append("an account beside the user's is taken as the partner's")
    value = {"columns": [p.name], "written_as": "float"} if p.is_float_id else p.name
    return Choice(value=value, seen=[ranked[0].reason, p.seen()], unsure=unsure)


def choose_label(profiles: Profiles) -> Choice:
    """A column of two values that is named like a label."""

    def score(p: ColumnProfile) -> tuple[float, str] | None:
        return (2, "") if p.num_distinct == 2 and says(p.name, _LABEL) and p.dtype != "float" else None

    ranked = rank(profiles, score)
    if not ranked:
        return Choice(seen=["no column of two values is named like a label"])
    p = profiles[ranked[0].column]
    (usual, many), (rare, few) = p.top.items()
    positive, known = rare, False
    for value, other in ((usual, rare), (rare, usual)):
        if _YES_NO.get(value.lower()) == other.lower():
            positive, known = value, True
    negative = usual if positive == rare else rare
    count = few if positive == rare else many
    value = {"column": p.name, "positive": [positive], "negative": [negative], "known_after_days": 7}
    unsure = ["known_after_days: the file does not say when a label becomes known"]
    unsure += [] if known else [f"positive is taken to be the rarer value, {positive}"]
    unsure += [f"other labels: {', '.join(one.column for one in ranked[1:])}"] if ranked[1:] else []
    return Choice(value=value, seen=[f"{positive} in {count / p.num_filled:.2%} of rows"], unsure=unsure)


def find_forbidden(rows: pl.DataFrame, profiles: Profiles, label: Choice) -> Choice:
    """Columns whose values tell the label: they would make every result look perfect."""
    if label.value is None:
        return Choice(value={}, seen=["only a label can leak"])
    is_positive = text_of(rows[label.value["column"]]).is_in(label.value["positive"])
    found: dict[str, str] = {}
    for p in profiles.values():
        if p.name == label.value["column"] or not 1 < p.num_distinct <= _MOST_VALUES_THAT_TELL:
            continue
        told = _share_told(text_of(rows[p.name]), is_positive)
        if told >= _FORBIDDEN_SHARE:
            found[p.name] = f"tells the label: its values decide {told:.0%} of the positives"
        elif says(p.name, _LABEL) or says(p.name, "flagged"):
            found[p.name] = "is named like a label, so probably known only afterwards"
    return Choice(
        value=found,
        seen=[] if found else ["no column with few values decides the label"],
        unsure=[f"{c}: {why}. Take it off this list if it is known before the event" for c, why in found.items()],
    )


def _share_told(values: pl.Series, is_positive: pl.Series) -> float:
    table = (
        pl.DataFrame({"value": values, "positive": is_positive})
        .group_by("value")
        .agg(share=pl.col("positive").mean(), positives=pl.col("positive").sum())
    )
    total = table["positives"].sum()
    told = table.filter((pl.col("share") >= 0.99) & (pl.col("positives") >= 1))["positives"].sum()
    return told / total if total >= _FEW_POSITIVES else 0.0


__all__ = ["Scored", "choose_counterparty", "choose_event_id", "choose_label", "choose_user", "find_forbidden"]
