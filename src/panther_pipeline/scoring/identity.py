"""What a head belongs to: the backbone, the tokenizer and the features that it was fitted on.

Widths and names of inputs can agree between two runs whose numbers mean different things. Digests cannot.
"""

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.features.config import FeatureConfig, features_digest
from panther_pipeline.model.backbone import Backbone

IDENTITY_KEYS = ("backbone_digest", "tokenizer_digest", "features_digest")
UNKNOWN = ""  # in place of a digest: of a head that was saved before heads said what they belong to


def unknown_identity() -> dict[str, str]:
    """Of a head that nobody said anything about."""
    return dict.fromkeys(IDENTITY_KEYS, UNKNOWN)


def identify(backbone: Backbone, features: FeatureConfig, feature_names: list[str]) -> dict[str, str]:
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
