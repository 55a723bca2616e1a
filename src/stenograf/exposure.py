"""Where a service may listen: beyond this machine only with a key, or when told that none is meant.

Inside a container a service listens on every address; who reaches it is decided by the address its
port is published on, so that one counts.
"""

import ipaddress

from stenograf.contract.errors import StenografError

_LOCAL_SUFFIXES = (".localhost", ".local", ".lan", ".internal", ".home.arpa")


class Exposed(StenografError):
    """The service would be open to other machines without a key."""


def is_loopback(host: str) -> bool:
    """Whether `host`, an address or `localhost`, is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_local(listens_on: str, published_on: str) -> bool:
    """Whether only this machine reaches a service on these addresses; "" publishes nothing."""
    return is_loopback(published_on or listens_on)


def refuse_exposed(
    service: str,
    listens_on: str,
    published_on: str,
    *,
    has_key: bool,
    allow_no_key: bool,
    remedy: str,
) -> None:
    """Raise Exposed for a `service` without a key that other machines would reach."""
    if has_key or allow_no_key or is_local(listens_on, published_on):
        return
    address = published_on or listens_on
    raise Exposed(
        f"The {service} would listen on {address} without a key, open to everybody who reaches it.",
        hint=f"{remedy}, or say ALLOW_NO_KEY=true.",
    )


def host_name(host: str) -> str:
    """The name or address in a `Host` header, in lower case and without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def is_local_name(name: str) -> bool:
    """Whether nobody outside this network can own `name`; an address is not a name to own."""
    if "." not in name and ":" not in name:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.endswith(_LOCAL_SUFFIXES)
    return True
