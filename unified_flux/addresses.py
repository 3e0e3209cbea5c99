"""Which URLs and addresses may be talked to: the pure half of the guard, without DNS.

`ipaddress.is_global` calls NAT64, site-local and (before Python 3.12.2) 6to4 addresses global, so
the ranges that are public are listed here instead (IANA special-purpose registries, read 2026-11-21).
"""

from __future__ import annotations

import ipaddress
from functools import cache, lru_cache
from urllib.parse import SplitResult, urlsplit

_NOT_PUBLIC_V4 = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
)  # fmt: skip
_PUBLIC_V6 = "2000::/3"
_NOT_PUBLIC_V6 = ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")


@cache
def _networks() -> tuple[
    list[ipaddress.IPv4Network], ipaddress.IPv6Network, list[ipaddress.IPv6Network]
]:
    return (
        [ipaddress.IPv4Network(text) for text in _NOT_PUBLIC_V4],
        ipaddress.IPv6Network(_PUBLIC_V6),
        [ipaddress.IPv6Network(text) for text in _NOT_PUBLIC_V6],
    )


def is_public(address: str) -> bool:
    """Whether an IP address, as text, belongs to the public internet."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    no_v4, yes_v6, no_v6 = _networks()
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return found in yes_v6 and not any(found in net for net in no_v6)
        found = found.ipv4_mapped
    return not any(found in net for net in no_v4)


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether a host, as written in a URL, is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _looks_like_address(host: str) -> bool:
    """Numbers, hex and octal spellings that resolvers take for addresses (`127.1`, `0x7f000001`)."""
    last = host.rstrip(".").rpartition(".")[2]
    return ":" in host or last.isdigit() or last.lower().startswith("0x")


@lru_cache(maxsize=256)
def split_url(url: str) -> SplitResult | None:
    """The parts of a URL, None where it is none or a control character or space hides in it."""
    if any(ord(char) <= 0x20 or ord(char) == 0x7F for char in url):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def objection(url: str) -> str | None:
    """Why a stranger's URL is not to be used, None where nothing is wrong without asking DNS."""
    parts = split_url(url)
    if parts is None:
        return "it is not a URL"
    if parts.scheme != "https":
        return f"only https is accepted, not {parts.scheme or 'no scheme'}"
    if parts.username is not None or parts.password is not None:
        return "it carries credentials"
    host = (parts.hostname or "").rstrip(".")
    if not host:
        return "it names no host"
    if not host.isascii():
        return "its host is not plain ASCII (write an international name as xn--...)"
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return "its host is this machine or the local network"
    if _looks_like_address(host) and not is_public(host):
        return "its host is a private or malformed address"
    if "." not in host and ":" not in host:
        return "its host is a local name"
    return None


@lru_cache(maxsize=256)
def origin(url: str) -> str:
    """`scheme://host:port` of a URL, with the scheme's own port filled in."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    host = (parts.hostname or "").lower()
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
