"""What a node gives in place of an artifact that nobody asked for."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NotAsked:
    """Nothing was made: an option is off. What an earlier run made is not of this run, and stays as it is.

    Saved where nothing is, it leaves a note that says so, so that the artifact counts as neither missing nor there.
    """

    option: str  # the parameter that asks for it, with a value that does, as --params takes it
