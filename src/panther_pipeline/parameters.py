"""Parameters as they are written down: flat, and without those that name a person."""

from typing import Any

from pydantic import BaseModel

PERSONAL = {"evaluation.timeline.user_id"}  # read, never written down


def flatten(params: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values, and blocks of them, as `block.key.key: value`; lists stay whole.

    Example:
        >>> flatten({"a": {"b": 1}, "c": [2]})
        {'a.b': 1, 'c': [2]}
    """
    flat: dict[str, Any] = {}
    for name, value in params.items():
        value = value.model_dump() if isinstance(value, BaseModel) else value
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def public(value: Any, prefix: str = "") -> Any:
    """Without the parameters that name a person, however deep they are nested.

    Args:
        value: parameters, nested or flat; anything else is given back as it is.
        prefix: of their names.
    """
    if not isinstance(value, dict):
        return value
    return {key: public(inner, f"{prefix}{key}.") for key, inner in value.items() if prefix + key not in PERSONAL}
