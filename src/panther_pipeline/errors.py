"""Errors for people: what happened, where, what is allowed, what to do next.

A card number that stands in what a message quotes is masked.
"""

from panther_pipeline.cards.numbers import mask_card_numbers


class PantherError(ValueError):
    """Base class of every error that a user can mend."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(mask_card_numbers(arg) if isinstance(arg, str) else arg for arg in args))


class SourceError(PantherError):
    """A source file or table cannot be read as the ledger configuration says."""


class ConfigurationError(PantherError):
    """Parameters contradict each other or the data."""


class ArtifactError(PantherError):
    """A saved artifact is missing, damaged, or belongs to another run."""


class TooLateError(PantherError):
    """An event is older than what the state of its user or counterparty can still take in or answer for."""


class StoreError(PantherError):
    """A record store cannot do what was asked (a key without an id, no room left, too many writers at once)."""


class StoreMovedError(StoreError):
    """The records live on in another generation, and the store was opened not to follow them there."""


class StoreAwayError(StoreError):
    """The server that keeps the records cannot be used now; what was asked may be asked again."""


class QuarantineError(PantherError):
    """Too many rows were quarantined to go on."""


class TrainingError(PantherError):
    """Training cannot go on (a loss that is not finite, memory exhausted, nothing to train on)."""
