"""Puts the key on a request: the only place where it leaves its `Secret`."""

from __future__ import annotations

from dataclasses import dataclass

from unified_flux.adapter import Adapter
from unified_flux.addresses import origin
from unified_flux.errors import ProtocolError
from unified_flux.secret import Secret
from unified_flux.wire import WireRequest

USER_AGENT = "unified-flux"


@dataclass(frozen=True, slots=True)
class Signer:
    """One provider's key and the hosts that may see it."""

    adapter: Adapter
    secret: Secret

    def headers(self, request: WireRequest) -> dict[str, str]:
        """The request's headers, with the key where it asks for one.

        Raises:
            ProtocolError: When a signed request aims at a host that is not the adapter's own.
        """
        headers = {"User-Agent": USER_AGENT, **request.headers}
        if not request.signed:
            return headers
        if not self.adapter.trusts(request.url):
            raise ProtocolError(
                f"{self.adapter.name}'s key was about to go to {origin(request.url)}, "
                "which is not one of its hosts; nothing was sent"
            )
        auth = self.adapter.auth
        headers[auth.header] = auth.template.format(key=self.secret.reveal())
        return headers

    def scrub(self, body: bytes) -> bytes:
        """An answer without the key, should a provider echo it."""
        return body.replace(self.secret.reveal().encode(), b"***")
