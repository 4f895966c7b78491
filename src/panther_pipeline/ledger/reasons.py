"""The closed list of reasons for which a row is quarantined, in the order in which they are looked for."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a row was quarantined; a row with several faults gets the first of this list."""

    MISSING_USER_ID = "missing_user_id"
    MALFORMED_USER_ID = "malformed_user_id"
    MISSING_EVENT_ID = "missing_event_id"
    MALFORMED_EVENT_ID = "malformed_event_id"
    MISSING_TIME = "missing_time"
    TIME_UNPARSABLE = "time_unparsable"
    TIME_AMBIGUOUS = "time_ambiguous"
    TIME_NONEXISTENT = "time_nonexistent"
    TIME_BEFORE_EARLIEST = "time_before_earliest"
    TIME_AFTER_LATEST = "time_after_latest"
    MISSING_AMOUNT = "missing_amount"
    AMOUNT_NOT_A_NUMBER = "amount_not_a_number"
    AMOUNT_NOT_FINITE = "amount_not_finite"
    AMOUNT_NOT_IN_CENTS = "amount_not_in_cents"
    AMOUNT_OUT_OF_RANGE = "amount_out_of_range"
    ATTRIBUTE_NOT_A_NUMBER = "attribute_not_a_number"
    MISSING_REQUIRED_VALUE = "missing_required_value"
    LABEL_UNKNOWN_VALUE = "label_unknown_value"
    DUPLICATE_EVENT_ID = "duplicate_event_id"


EXPLANATIONS: dict[Reason, str] = {
    Reason.MISSING_USER_ID: "the user id is empty",
    Reason.MALFORMED_USER_ID: "the user id has white space around it, a control character, is too long, "
    "or was turned into scientific notation, which destroys digits",
    Reason.MISSING_EVENT_ID: "the event id is empty",
    Reason.MALFORMED_EVENT_ID: "as malformed_user_id, for the event id",
    Reason.MISSING_TIME: "the time is empty",
    Reason.TIME_UNPARSABLE: "the time does not follow the declared format",
    Reason.TIME_AMBIGUOUS: "the local time happened twice: clocks were set back",
    Reason.TIME_NONEXISTENT: "the local time never happened: clocks were set forward",
    Reason.TIME_BEFORE_EARLIEST: "the time lies before ledger.schema.event_time.earliest",
    Reason.TIME_AFTER_LATEST: "the time lies after ledger.schema.event_time.latest",
    Reason.MISSING_AMOUNT: "the amount is empty",
    Reason.AMOUNT_NOT_A_NUMBER: "the amount is not a plain decimal number with '.' as separator",
    Reason.AMOUNT_NOT_FINITE: "the amount is NaN, infinite, or too large for a computer number",
    Reason.AMOUNT_NOT_IN_CENTS: "the amount has more than two decimals",
    Reason.AMOUNT_OUT_OF_RANGE: "the amount lies outside ledger.schema.amount_range",
    Reason.ATTRIBUTE_NOT_A_NUMBER: "an attribute declared as number holds something else",
    Reason.MISSING_REQUIRED_VALUE: "a column named in validation.rules.required is empty",
    Reason.LABEL_UNKNOWN_VALUE: "the label is neither in the positive nor in the negative list",
    Reason.DUPLICATE_EVENT_ID: "another row with this event id was accepted: the earliest in time",
}
