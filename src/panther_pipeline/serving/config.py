"""Settings of the service, and the key that callers must show."""

import json
import os
from collections.abc import Mapping

from pydantic import Field, ValidationError, model_validator

from panther_pipeline.addresses import is_own_address
from panther_pipeline.cache.stores.config import LmdbConfig, RedisConfig
from panther_pipeline.config import Config
from panther_pipeline.errors import ConfigurationError

KEY_VARIABLE = "PANTHER_API_KEY"
_SHORTEST_KEY = 16
_KNOWN_KEYS = ("changeme", "password", "secret", "default", "example", "panther", "apikey", "0123456789")


class ServingConfig(Config):
    """How the service listens and what it lets in."""

    host: str = "127.0.0.1"  # address to listen on; others reach it only if this says so
    port: int = Field(default=8080, ge=0, le=65535)  # 0 = any free one, which the log names
    allow_public_without_key: bool = False  # listen beyond this machine although PANTHER_API_KEY is not set
    store: LmdbConfig | RedisConfig = Field(default=LmdbConfig(), discriminator="kind")  # where the records are
    max_events: int = Field(default=256, ge=1, le=10_000)  # events of one request
    max_body_bytes: int = Field(default=65_536, ge=1_024)  # a request with one event
    max_body_bytes_many: int = Field(default=1_048_576, ge=1_024)  # a request with a list of events
    max_in_house: int = Field(default=8, ge=1)  # requests that wait or are worked on; any more are answered 503
    retry_after_s: int = Field(default=1, ge=1)  # what a request that was not let in is told to wait
    idle_timeout_s: float = Field(default=5.0, gt=0)  # a connection that sends no request, or its headers too slowly
    body_timeout_s: float = Field(default=5.0, gt=0)  # from the headers of a request to the last byte of its body
    write_timeout_s: float = Field(default=5.0, gt=0)  # a client that does not read its answer
    max_connections: int = Field(default=400, ge=1)  # open at a time; beyond it 503, beyond twice as many a reset
    max_header_bytes: int = Field(default=16_384, ge=1_024)  # request line and headers together
    drain_s: float = Field(default=1.0, ge=0)  # after SIGTERM: not ready, still answering, before the socket closes
    stop_timeout_s: int = Field(default=30, ge=1)  # after that: how long what is in flight may take
    refresh_interval_s: float = Field(default=1.0, gt=0)  # between looks whether users wait to be embedded again
    refresh_latest_s: float = Field(default=5.0, gt=0)  # never idle for so long: some are embedded between requests
    reload_interval_s: float = Field(default=5.0, gt=0)  # how often to look whether a new online store is published
    max_next: int = Field(default=100, ge=1, le=1_000)  # most next transactions that one may ask for
    max_timeline: int = Field(default=192, ge=1, le=10_000)  # most past events that are shown of a user
    show_users: bool | None = None  # list users for the page; null = where this machine alone can reach the service
    max_future_s: int | None = Field(default=86_400, ge=0)  # an event may lie so far ahead of the clock; null = any
    allow_card_numbers: bool = False  # accept ids that are card numbers: for public ledgers whose ids look like them
    switch_interval_s: float = Field(default=0.00005, gt=0)  # Python lets go of a thread after it; others wait so long

    @model_validator(mode="after")
    def _check(self) -> "ServingConfig":
        if self.max_body_bytes_many < self.max_body_bytes:
            raise ValueError(
                f"max_body_bytes_many ({self.max_body_bytes_many}) must not be below max_body_bytes "
                f"({self.max_body_bytes}): a list of one event is allowed"
            )
        return self

    @property
    def is_public(self) -> bool:
        """Whether other machines can reach the address."""
        return not is_own_address(self.host)

    def lists_users(self, asked_at: str | None) -> bool:
        """Whether a caller may see a list of users.

        Args:
            asked_at: the host name of the request. Where the service listens on this machine alone it is checked too:
                a proxy in front names another, and so does a foreign page whose name was made to lead here.
        """
        if self.show_users is None:
            return not self.is_public and asked_at is not None and is_own_address(asked_at)
        return self.show_users


def read_settings(settings: str, host: str | None, port: int | None) -> ServingConfig:
    """The settings with the address of the command line.

    Raises:
        ConfigurationError: no JSON, an unknown key or a value that is not allowed; names them.
    """
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    try:
        return ServingConfig.model_validate({**json.loads(settings), **given})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors())
        raise ConfigurationError(f"serving settings cannot be used: {wrong}.") from None
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"--settings is no JSON object ({error}).") from None


def read_api_key(config: ServingConfig, environment: Mapping[str, str] = os.environ) -> str | None:
    """The key of PANTHER_API_KEY; None where callers need none.

    Raises:
        ConfigurationError: the key is shorter than 16 characters, not printable ASCII, or of the kind that stands in
            examples; or there is none and the address is not of this machine alone.
    """
    key = environment.get(KEY_VARIABLE)
    if key is None:
        if config.is_public and not config.allow_public_without_key:
            raise ConfigurationError(
                f"host {config.host} can be reached from other machines and {KEY_VARIABLE} is not set: set it, listen "
                "on 127.0.0.1, or state allow_public_without_key where something in front of the service asks for it."
            )
        return None
    hint = "Make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
    if len(key) < _SHORTEST_KEY:
        raise ConfigurationError(f"{KEY_VARIABLE} has {len(key)} characters; at least {_SHORTEST_KEY} needed. {hint}")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigurationError(f"{KEY_VARIABLE} must be printable ASCII without blanks. {hint}")
    if len(set(key)) < 6 or any(known in key.lower() for known in _KNOWN_KEYS):
        raise ConfigurationError(f"{KEY_VARIABLE} is a default or is easily guessed. {hint}")
    return key
