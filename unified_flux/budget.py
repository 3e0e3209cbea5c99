"""What one provider's pictures may cost: the quote of a request, and the limits that it is held to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from unified_flux.adapter import Adapter
from unified_flux.config import Config
from unified_flux.contract import find
from unified_flux.errors import ConfigurationError, SpendLimitExceeded
from unified_flux.journal import Journal
from unified_flux.limits import Limits, call_limit
from unified_flux.money import Money
from unified_flux.pricing import Observed, Quote, marks, quote
from unified_flux.text import did_you_mean, safe
from unified_flux.translation import Translation


def check_prices(config: Config, adapter: Adapter) -> None:
    """Refuse prices for a model that the provider does not have.

    Raises:
        ConfigurationError: With the nearest name.
    """
    ours = f"{adapter.name}/"
    for name, rows in config.tariff.rows.items():
        model = name.removeprefix(ours)
        if name.startswith(ours) and find(adapter.cards, model) is None:
            known = [word for card in adapter.cards for word in (card.model, card.family)]
            raise ConfigurationError(
                f'{rows[0].where}: there is a price for "{safe(name, 80)}", and {adapter.name} has no such model'
                f"{did_you_mean(model, known)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The money side of one provider.

    Attributes:
        is_sandbox: Whether it is play money, which is counted and observed apart.
        unknown_allowed: Whether what nobody can price may pass under a limit.
    """

    provider: str
    config: Config
    journal: Journal | None
    is_sandbox: Callable[[], bool]
    unknown_allowed: bool = False

    def quote(self, translation: Translation) -> Quote:
        """What one submit of a translation costs, as far as anybody knows."""
        card = translation.card

        def observed() -> Observed | None:
            if self.journal is None or not self.journal.exists():
                return None
            return self.journal.spending.observed(
                card.provider, card.model, sandbox=self.is_sandbox(), like=marks(translation)
            )

        return quote(translation, self.config.tariff, observed)

    def limits(self, max_cost: str | Money | None, quoted: Quote) -> Limits | None:
        """The limits that a call is held to, None where there are none.

        Raises:
            InvalidRequest: When `max_cost` is no money of this provider's.
            SpendLimitExceeded: When there are limits and no journal to keep to them.
        """
        limits = [limit for limit in self.config.limits if limit.concerns(self.provider)]
        if max_cost is not None:
            limits.append(call_limit(max_cost, self.provider))
        if not limits:
            return None
        if self.journal is None:
            raise SpendLimitExceeded(
                f"{limits[0].name} = {limits[0]} is set, and the journal, which keeps to limits, is "
                "off; nothing was sent",
                next_step="Turn the journal on (journal.enabled = true), or remove the limit"
                + (f" ({limits[0].source})." if limits[0].source else "."),
                provider=self.provider,
            )
        return Limits(
            limits=tuple(limits),
            provider=self.provider,
            rates=self.config.tariff.rates,
            unknown_allowed=self.unknown_allowed,
            how_to_price=quoted.how_to_price,
        )
