"""Cards against what their provider publishes: fetched, compared, told. Nothing is paid."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from unified_flux import config as configuration, flow, registry
from unified_flux.client import Client
from unified_flux.config import Config
from unified_flux.contract import Card
from unified_flux.errors import ProtocolError, UnifiedFluxError
from unified_flux.published import Difference, compare
from unified_flux.retry import Pace
from unified_flux.scheduler import run
from unified_flux.settings import key_name, url_name
from unified_flux.wire import Purpose, WireRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How a provider's cards stand to what it publishes.

    Attributes:
        documents: The addresses that were read.
        models: The models that were compared.
        silent: Those of which nothing is published.
        differences: Every one, by model.
    """

    provider: str
    documents: tuple[str, ...]
    models: tuple[str, ...]
    silent: tuple[str, ...]
    differences: tuple[Difference, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        names = ("model", "what", "card", "published")
        return {
            "schema_version": 1,
            "provider": self.provider,
            "documents": list(self.documents),
            "models": list(self.models),
            "silent": list(self.silent),
            "differences": [{n: getattr(one, n) for n in names} for one in self.differences],
        }


def drift(provider: str, *, sandbox: bool = False, config: Config | None = None) -> Drift:
    """Compare every card of a provider with what it publishes about the model.

    Args:
        sandbox: Ask its emulator.
        config: Settings read elsewhere.

    Raises:
        UnifiedFluxError: When nothing is published, or it cannot be had or read.
    """
    config = config or configuration.load(registry.names())
    adapter = registry.make_adapter(provider)
    entries = [(card, entry) for card in adapter.cards for entry in published(card)]
    if not entries:
        raise UnifiedFluxError(
            f"the cards of {provider} name nothing that it publishes about its models",
            next_step="A card says where under `published`; see docs/cards.md.",
        )
    if not any(entry.get("signed") for _, entry in entries) and config.key(provider) is None:
        # Nothing is signed, so nobody will see it.
        address = {url_name(provider): config.base_url(provider)}
        config = config.overridden({key_name(provider): "not-needed", **address})
    with Client(provider, sandbox=sandbox, config=config) as client:
        places = {_url(client, card, e): bool(e.get("signed")) for card, e in entries}
        found = {url: _read(client, url, signed) for url, signed in places.items()}
        compared = [
            one
            for card in client.adapter.cards
            for one in _compared(card, [(e, found[_url(client, card, e)]) for e in published(card)])
        ]
        silent = [card.model for card in adapter.cards if not published(card)]
        return Drift(
            provider=provider,
            documents=tuple(found),
            models=tuple(card.model for card in adapter.cards if published(card)),
            silent=tuple(silent),
            differences=tuple(compared),
        )


def published(card: Card) -> Sequence[Mapping[str, Any]]:
    """The documents that a card names."""
    found: Sequence[Mapping[str, Any]] = card.facts.get("published", ())
    return found


def _url(client: Client, card: Card, entry: Mapping[str, Any]) -> str:
    """Where a document is; an emulator or a proxy in the provider's place has all of its hosts."""
    url = str(entry["url"]).replace("{model}", card.model)
    adapter = client.adapter
    if not client.emulated and adapter.base == adapter.base_url:
        return url
    parts = urlsplit(url)
    return f"{adapter.base}{parts.path}{f'?{parts.query}' if parts.query else ''}"


def _read(client: Client, url: str, signed: bool) -> Any:
    wire = WireRequest(purpose=Purpose.ASK, url=url, signed=signed)
    rng = random.Random()  # noqa: S311 - jitter, not a secret
    response = run(flow.inquire(client.adapter, wire, Pace(), rng), client.world)
    return response.object()


def _compared(
    card: Card, documents: Sequence[tuple[Mapping[str, Any], Any]]
) -> Sequence[Difference]:
    try:
        return compare(card, documents)
    except ValueError as error:
        raise ProtocolError(
            f"what {card.provider} publishes about {card.model} is of another form: {error}",
            next_step="The form is named in the card, under `published`.",
        ) from None
