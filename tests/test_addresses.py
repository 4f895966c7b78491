import pytest

from panther_pipeline.addresses import is_own_address


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "[::1]", "localhost"])
def test_loopback_is_of_this_machine_alone(host):
    assert is_own_address(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "redis.example", "localhost.example", ""])
def test_other_addresses_are_not(host):
    assert not is_own_address(host)
