"""Texts that mean something in any ledger."""

MISSING_CATEGORY = "(missing)"  # stands for a category that a source leaves out
# Excel and float round trips write long ids as "4.12345E+15"; the digits after that are lost for good.
# Digits are [0-9]: \d would take those of every script.
SCIENTIFIC_ID = r"^[+-]?[0-9](\.[0-9]+)?[eE]\+[0-9]+$"
