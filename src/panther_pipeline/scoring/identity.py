"""What a head belongs to: the backbone, the tokenizer and the features that it was fitted on.

Widths and names of inputs can agree between two runs whose numbers mean different things. Digests cannot.
"""

from typing import Protocol

from panther_pipeline.errors import ArtifactError, ConfigurationError
from panther_pipeline.features.config import FeatureConfig, features_digest

IDENTITY_KEYS = ("backbone_digest", "tokenizer_digest", "features_digest")
_SHOWN_DIGITS = 16
UNKNOWN = ""  # in place of a digest: of a head that was saved before heads said what they belong to


class Identified(Protocol):
    """A backbone, or what stands for one."""

    @property
    def digest(self) -> str: ...

    @property
    def tokenizer_digest(self) -> str: ...


def unknown_identity() -> dict[str, str]:
    """Of a head that nobody said anything about."""
    return dict.fromkeys(IDENTITY_KEYS, UNKNOWN)


def identify(backbone: Identified, features: FeatureConfig, feature_names: list[str]) -> dict[str, str]:
    """The identity of a head on states of this backbone and these features.

    Args:
        backbone: whose states the head reads, beside the surprises.
        features: how the features are computed.
        feature_names: in the order in which the head reads them.

    Returns:
        A SHA-256 (hexadecimal) for each of IDENTITY_KEYS; the tokenizer's is the one that the backbone names.
    """
    return {
        "backbone_digest": backbone.digest,
        "tokenizer_digest": backbone.tokenizer_digest,
        "features_digest": features_digest(features, feature_names),
    }


def check_identity(identity: dict[str, str]) -> dict[str, str]:
    """The same, in the order of IDENTITY_KEYS.

    Raises:
        ConfigurationError: a key too many or too few, or a value that is no text; names the keys.
    """
    if set(identity) != set(IDENTITY_KEYS) or not all(isinstance(digest, str) for digest in identity.values()):
        raise ConfigurationError(
            f"An identity is a text for each of {', '.join(IDENTITY_KEYS)} ('' = unknown); got one with the keys "
            f"{', '.join(map(str, identity)) or 'none'}. Make it with scoring.identity.identify."
        )
    return {key: identity[key] for key in IDENTITY_KEYS}


def check_belongs(name: str, identity: dict[str, str], run: dict[str, str]) -> None:
    """Refuse a head of another run: one that was left by it, or that was fitted before something was made again.

    Args:
        name: of the head, for the error.
        identity: the head's; what is unknown of it is not compared.
        run: of the backbone and the features that it is to be used with, from `identify`.

    Raises:
        ArtifactError: they differ; names each of the two digests that do.
    """
    differing = [
        f"{key} {identity[key][:_SHOWN_DIGITS]}, not {run[key][:_SHOWN_DIGITS]}"
        for key in IDENTITY_KEYS
        if identity[key] not in (UNKNOWN, run[key])
    ]
    if differing:
        raise ArtifactError(
            f"{name} belongs to another run: it has {'; '.join(differing)}. Run the pipelines from embed on again, "
            "with the options that ask for this head."
        )
