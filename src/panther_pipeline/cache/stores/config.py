"""Which store keeps the records: the folder of a run on this machine, or a Redis that several machines share."""

from typing import Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, model_validator

from panther_pipeline.addresses import is_own_address
from panther_pipeline.config import Config

PASSWORD_VARIABLE = "PANTHER_REDIS_PASSWORD"
_DEFAULT_PORT = 6379


class LmdbConfig(Config):
    """The online store of the run, for any number of processes of one machine."""

    kind: Literal["lmdb"] = "lmdb"


class RedisConfig(Config):
    """A copy of it in Redis 7, for services on several machines. The password is that of PANTHER_REDIS_PASSWORD.

    Records are personal data, and Redis sends them and its password as they are: beyond this machine the way must be
    encrypted (rediss://), unless the settings say that nobody else is on it. An address with a password in it is
    refused, since addresses stand in files, logs and lists of processes.
    """

    kind: Literal["redis"]
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")  # of the store there, the same for the whole fleet
    url: str = "redis://127.0.0.1:6379/0"  # or rediss:// for TLS; a user may stand in it, a password may not
    ca_file: str | None = None  # certificates to trust in place of the system's, for rediss://
    allow_plain_text: bool = False  # redis:// to another machine: whoever is on the way can read and change records
    timeout_s: float = Field(default=1.0, gt=0)  # for an answer (500 records when verifying); a hang costs so long
    verify: bool = True  # read all records at the start and of each generation, and compare their digest

    @model_validator(mode="after")
    def _check(self) -> Self:
        parts = _split(self.url)
        if parts.password is not None:
            raise ValueError(f"url must not hold a password: set {PASSWORD_VARIABLE} in the environment")
        if parts.scheme not in ("redis", "rediss") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("url must be redis://host:port/database or rediss://host:port/database, and no more")
        if not parts.path.removeprefix("/").isdecimal() and parts.path not in ("", "/"):
            raise ValueError("url must end with the number of a database, as in redis://127.0.0.1:6379/0")
        if parts.scheme == "redis" and not self.allow_plain_text and not is_own_address(parts.hostname):
            raise ValueError(
                "redis:// to another machine sends records and password in plain text: use rediss://, or state "
                "allow_plain_text where nobody else is on the way"
            )
        if self.ca_file is not None and parts.scheme != "rediss":
            raise ValueError("ca_file is for rediss:// alone")
        return self

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection is TLS."""
        return urlsplit(self.url).scheme == "rediss"

    @property
    def host(self) -> str:
        """Host name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """6379 where the address names none."""
        return urlsplit(self.url).port or _DEFAULT_PORT

    @property
    def user(self) -> str | None:
        """User of the access list; None = Redis's default one."""
        return urlsplit(self.url).username or None

    @property
    def database(self) -> int:
        """Number of the database; 0 where the address names none."""
        return int(urlsplit(self.url).path.removeprefix("/") or 0)


def _split(url: str) -> SplitResult:
    """The parts of an address, its port looked at.

    Raises:
        ValueError: it has none; without the address, which may hold a password.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("url cannot be read: it must be redis://host:port/database or rediss://...") from None
    return parts
