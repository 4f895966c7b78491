"""The closed list of reasons for which a row is quarantined, in the order in which they are looked for."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a row was quarantined; a row with several faults gets the first of this list."""

    LINE_TOO_LONG = "line_too_long"
    UNTERMINATED_LAST_LINE = "unterminated_last_line"
    NOT_IN_ENCODING = "not_in_encoding"
    CONTROL_CHARACTER = "control_character"
    REPEATED_HEADER = "repeated_header"
    UNCLOSED_QUOTE = "unclosed_quote"
    STRAY_QUOTE = "stray_quote"
    WRONG_NUMBER_OF_FIELDS = "wrong_number_of_fields"
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
    AMOUNT_SIGN_UNKNOWN = "amount_sign_unknown"
    CURRENCY_NOT_ALLOWED = "currency_not_allowed"
    AMOUNT_OUT_OF_RANGE = "amount_out_of_range"
    ATTRIBUTE_NOT_A_NUMBER = "attribute_not_a_number"
    MISSING_REQUIRED_VALUE = "missing_required_value"
    LABEL_UNKNOWN_VALUE = "label_unknown_value"
    DUPLICATE_EVENT_ID = "duplicate_event_id"


EXPLANATIONS: dict[Reason, str] = {
    Reason.LINE_TOO_LONG: "the line is longer than 1 MiB or one of its fields longer than 64 KiB: a line end was lost",
    Reason.UNTERMINATED_LAST_LINE: "the last line has no line end, so the file may have been cut within a value; "
    "`final_line_end: optional` accepts it",
    Reason.NOT_IN_ENCODING: "the line holds bytes that are not valid in the declared encoding",
    Reason.CONTROL_CHARACTER: "the line holds NUL or another control character",
    Reason.REPEATED_HEADER: "the line equals the header: files were joined",
    Reason.UNCLOSED_QUOTE: "a quote is opened and not closed in the line, or not within quoted_line_breaks lines",
    Reason.STRAY_QUOTE: "a quote stands within a field, where it neither opens nor closes it",
    Reason.WRONG_NUMBER_OF_FIELDS: "the line has more or fewer fields than the header",
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
    Reason.AMOUNT_NOT_A_NUMBER: "the amount is no decimal number written as ledger.schema.amount says, or a card "
    "number",
    Reason.AMOUNT_NOT_FINITE: "the amount is NaN, infinite, or too large for a computer number",
    Reason.AMOUNT_NOT_IN_CENTS: "the amount has more than two decimals",
    Reason.AMOUNT_SIGN_UNKNOWN: "the value of ledger.schema.amount.sign is in neither list, or the amount has a sign "
    "of its own",
    Reason.CURRENCY_NOT_ALLOWED: "the currency is another than ledger.schema.amount.currency.only",
    Reason.AMOUNT_OUT_OF_RANGE: "the amount lies outside ledger.schema.amount_range",
    Reason.ATTRIBUTE_NOT_A_NUMBER: "an attribute declared as number holds something else, or a card number",
    Reason.MISSING_REQUIRED_VALUE: "a column named in validation.rules.required is empty",
    Reason.LABEL_UNKNOWN_VALUE: "the label is neither in the positive nor in the negative list",
    Reason.DUPLICATE_EVENT_ID: "another row with this event id was accepted: the earliest in time",
}
