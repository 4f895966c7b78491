"""Which addresses of Redis are taken, and what is said of those that are not: never the address itself."""

import pytest
from pydantic import ValidationError

from panther_pipeline.cache.stores.config import RedisConfig


def make(url: str, **changes) -> RedisConfig:
    return RedisConfig(kind="redis", name="mine", url=url, **changes)


def test_address_is_taken_apart():
    config = make("rediss://scorer@redis.example:6380/3")
    parts = (config.host, config.port, config.database, config.user, config.is_encrypted)
    assert parts == ("redis.example", 6380, 3, "scorer", True)


def test_parts_that_are_not_named_are_those_of_redis():
    config = make("redis://[::1]")
    assert (config.host, config.port, config.database, config.user) == ("::1", 6379, 0, None)
    assert not config.is_encrypted


@pytest.mark.parametrize("url", ["redis://redis.example:6379/0", "redis://10.0.0.5/0", "redis://0.0.0.0/0"])
def test_plain_text_to_another_machine_is_refused_unless_told(url):
    with pytest.raises(ValidationError, match="plain text: use rediss://"):
        make(url)
    assert make(url, allow_plain_text=True).url == url


@pytest.mark.parametrize(
    "url", ["redis://:canary@127.0.0.1/0", "rediss://me:canary@redis.example/0", "redis://:@localhost"]
)
def test_password_in_the_address_is_refused_and_not_repeated(url):
    with pytest.raises(ValidationError, match="PANTHER_REDIS_PASSWORD") as refused:
        make(url)
    assert "canary" not in "".join(error["msg"] for error in refused.value.errors())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:6379",
        "http://127.0.0.1",
        "unix:///run/redis.sock",
        "redis://",
        "redis://127.0.0.1:port/0",
        "redis://127.0.0.1/mine",
        "redis://127.0.0.1/0?decode_responses=true",
        "rediss://redis.example/0?ssl_cert_reqs=none",
        "redis://127.0.0.1/0#x",
    ],
)
def test_address_that_is_no_redis_is_refused(url):
    with pytest.raises(ValidationError, match=r"url (must|cannot)"):
        make(url)


def test_certificates_without_encryption_are_refused():
    with pytest.raises(ValidationError, match="ca_file is for rediss"):
        make("redis://127.0.0.1/0", ca_file="ca.pem")


@pytest.mark.parametrize("name", ["", "a:b", "a*", "x" * 65, "a{b}"])
def test_name_that_could_touch_other_keys_is_refused(name):
    with pytest.raises(ValidationError, match="pattern"):
        RedisConfig(kind="redis", name=name)
