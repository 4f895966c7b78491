"""What else an event or a user has: categories and numbers, of the columns that no role took."""

import re

from panther_pipeline.ledger.draft.choice import Choice, Profiles, listed, says
from panther_pipeline.ledger.draft.profile import ColumnProfile
from panther_pipeline.ledger.schema import RESERVED_COLUMNS

_CODE = "id|code|codes|type|kind|mcc|zip|zipcode|plz|category|channel|class|group|state|status|region|no|nr|number"
_MOST_AS_CATEGORY = 200  # different whole numbers; more are a quantity, unless the name says that they are a code
_PERSONAL = (
    "first|last|surname|firstname|lastname|vorname|nachname|person|street|address|apartment|phone|email|mail|ssn|cvv|"
    "dob|birth|iban|card number|cc num|name"
)
_TEXT_CHARS = 60


def choose_attributes(profiles: Profiles, used: dict[str, str], *, least_rows_per_value: float = 2) -> Choice:
    """Attributes, and in `seen` what was left out and why.

    Args:
        profiles: columns.
        used: column → why it is no attribute: a role, forbidden, repeats the time.
        least_rows_per_value: texts that come less often are names of things, not categories.
    """
    attributes, left_out, taken = [], [], set(RESERVED_COLUMNS)
    for p in profiles.values():
        why = used.get(p.name) or _why_not(p, least_rows_per_value)
        if why:
            left_out.append(f"{p.name} ({why})")
            continue
        attributes.append(_describe(p, taken))
    seen = [f"not used: {listed(left_out, most=30)}"] if left_out else []
    return Choice(value=attributes, seen=seen)


def _why_not(p: ColumnProfile, least_rows_per_value: float) -> str | None:
    if p.dtype == "other" or not p.num_filled:
        return "empty" if p.dtype != "other" else "a type that is no value"
    if p.num_distinct == 1 and p.num_filled == p.num_rows:
        return "always the same"
    if p.time or p.is_clock:
        return "a time"
    if _is_number(p):
        style = p.number
        is_plain = style.decimal == "." and not style.thousands
        return None if is_plain or p.dtype != "text" else "a number written with ',' or thousands"
    if says(p.name, _PERSONAL):
        return "names a person"
    if p.is_unique or p.rows_per_value < least_rows_per_value:
        return "another text in nearly every row"
    return "long texts" if p.mean_chars > _TEXT_CHARS else None


def _is_number(p: ColumnProfile) -> bool:
    if p.number is None or p.dtype == "boolean":
        return False
    if p.dtype == "float":
        return True
    if p.has_leading_zeros or p.is_float_id:
        return False
    if not p.is_whole:
        return True
    is_code = says(p.name, _CODE) or re.search(r"[a-z](ID|Id|Code)$", p.name) is not None
    return not is_code and p.num_distinct > _MOST_AS_CATEGORY


def _describe(p: ColumnProfile, taken: set[str]) -> tuple[dict[str, str], str]:
    name = _name_for(p.name, taken)
    taken.add(name)
    attribute = {"name": name, "column": p.name, "kind": "number" if _is_number(p) else "category"}
    if attribute["kind"] == "number" and p.dtype == "text" and p.number.prefix:
        attribute["prefix"] = p.number.prefix
    if attribute["kind"] == "category" and p.is_float_id:
        attribute["extract"] = r"^([0-9]+)\.0*$"  # 91750.0 is read as 91750
    return attribute, p.seen()


def _name_for(column: str, taken: set[str]) -> str:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column).lower()
    name = re.sub(r"[^\w]+", "_", spaced).strip("_") or "column"
    name = f"column_{name}" if name.startswith("tie_break_") else name
    while name in taken:
        name += "_2"
    return name
