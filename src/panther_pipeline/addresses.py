"""Which addresses lead to this machine alone."""

import ipaddress


def is_own_address(host: str) -> bool:
    """Whether a host name leads to this machine and from no other.

    Example:
        >>> is_own_address("127.0.0.1"), is_own_address("[::1]"), is_own_address("10.0.0.5")
        (True, True, False)
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
