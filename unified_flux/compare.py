"""One request, every provider: what each would make of it, what it would cost, and who comes first.

Nothing is sent and no key is needed: cards, settings and the journal's bills tell it all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from unified_flux import config as configuration, registry
from unified_flux.access import answers_here, open_journal
from unified_flux.adapter import Adapter
from unified_flux.budget import Budget, check_prices
from unified_flux.config import Config
from unified_flux.contract import Card, find
from unified_flux.errors import InvalidRequest, JournalError, Problem, UnifiedFluxError
from unified_flux.journal import Journal
from unified_flux.pricing import Quote
from unified_flux.references import open_references
from unified_flux.report import Policy
from unified_flux.request import ImageRequest
from unified_flux.retry import slip
from unified_flux.text import did_you_mean, safe
from unified_flux.translation import Translation, problems
from unified_flux.wire import OpenedReference


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One model of one provider, and the request in its words.

    Attributes:
        translation: With the outcome that each field has, or would have if it were allowed.
        problems: What stands against it under the policy in force.
        quote: For all pictures that are asked for, whether or not it is possible.
    """

    translation: Translation
    problems: tuple[Problem, ...]
    quote: Quote

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self.translation.card.provider

    @property
    def model(self) -> str:
        """The provider's own id of the model."""
        return self.translation.card.model

    @property
    def possible(self) -> bool:
        """Whether it would be sent as it stands."""
        return not self.problems

    @property
    def rank(self) -> tuple[Any, ...]:
        """By price in USD; who has none comes last."""
        usd = self.quote.usd
        return (usd is None, usd.amount if usd else 0, self.provider, self.model)

    def to_json(self) -> dict[str, Any]:
        """The candidate as `compare --json` prints it."""
        violations = [f"{one.path} {one.message}" for one in self.translation.violations]
        return {
            "provider": self.provider,
            "model": self.model,
            "family": self.translation.card.family,
            "possible": self.possible,
            "problems": [problem.to_json() for problem in self.problems],
            "report": self.translation.report.to_json(),
            "defaults": self.translation.report.defaults,
            "schema": {"valid": not violations, "violations": violations},
            "quote": self.quote.to_json(),
            "how_to_price": self.quote.how_to_price,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All candidates, the cheapest in USD first.

    Attributes:
        left_out: Provider → why it could not be compared at all.
    """

    candidates: tuple[Candidate, ...]
    left_out: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The comparison as `compare --json` prints it."""
        return {
            "candidates": [one.to_json() for one in self.candidates],
            "left_out": self.left_out,
        }


def compare(
    request: ImageRequest,
    *,
    config: Config | None = None,
    policy: Policy | None = None,
    providers: Iterable[str] = (),
    models: Iterable[str] = (),
    sandbox: bool = False,
) -> Comparison:
    """What every provider that has the model would make of a request, and for how much.

    Args:
        config: The settings; read from the usual places where absent.
        policy: The losses that are allowed; the configured ones where absent.
        providers: Compare these alone; all installed ones where empty.
        models: Families or model ids; the request's own or the configured one where empty.
        sandbox: Quote from bills of the sandbox.

    Raises:
        InvalidRequest: When no provider has such a model, or a reference is unusable.
        ConfigurationError: When a named provider is not installed, or a price is for no model.
        JournalError: When the journal, whose bills are quoted from, cannot be read.
    """
    config = config or configuration.load(registry.names())
    journal = open_journal(config)
    asking = _Asking(
        request=request,
        references=open_references(request.references),
        models=tuple(models) or (request.model or config.get("model"),),
        config=config,
        journal=journal,
        policy=policy or config.policy,
        sandbox=sandbox,
    )
    try:
        return _compared(asking, tuple(dict.fromkeys(providers)))
    finally:
        if journal is not None:
            journal.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    """All that each provider is asked with."""

    request: ImageRequest
    references: Sequence[OpenedReference]
    models: Sequence[str]
    config: Config
    journal: Journal | None
    policy: Policy
    sandbox: bool

    def candidates(self, adapter: Adapter) -> list[Candidate]:
        """One for each model that the provider has."""
        local = partial(answers_here, adapter, self.config)
        budget = Budget(
            provider=adapter.name,
            config=self.config,
            journal=self.journal,
            is_sandbox=(lambda: True) if self.sandbox else local,
        )
        found = (find(adapter.cards, word) for word in self.models)
        return [
            candidate(
                self.request,
                card,
                self.references,
                adapter=adapter,
                budget=budget,
                policy=self.policy,
            )
            for card in dict.fromkeys(card for card in found if card is not None)
        ]


def _compared(asking: _Asking, named: Sequence[str]) -> Comparison:
    config = asking.config
    candidates: list[Candidate] = []
    left_out: dict[str, str] = {}
    known: list[str] = []
    for name in named or config.providers:
        try:
            registry.check_allowed(name, config)
            adapter = registry.make_adapter(name, config.base_url(name), config.options(name))
            known += [word for card in adapter.cards for word in (card.family, card.model)]
            candidates += asking.candidates(adapter)
        except JournalError:
            raise
        except Exception as error:
            # A plugin that is broken stands in no other's way; one that was asked for is told.
            told = slip(name, error)
            if named:
                raise told from error
            left_out[name] = told.message
        else:
            check_prices(config, adapter)
    if not candidates and not left_out:
        raise _nobody(asking.models, known, named)
    ranked = sorted(candidates, key=lambda one: one.rank)
    return Comparison(candidates=tuple(ranked), left_out=left_out)


def candidate(
    request: ImageRequest,
    card: Card,
    references: Sequence[OpenedReference],
    *,
    adapter: Adapter,
    budget: Budget,
    policy: Policy,
) -> Candidate:
    """One model's part of a comparison."""
    try:
        translation = adapter.translate(request, card, references)
    except UnifiedFluxError:
        raise
    except Exception as error:
        raise slip(adapter.name, error) from error
    return Candidate(
        translation=translation,
        problems=tuple(problems(translation, policy)),
        quote=budget.quote(translation).times(request.n or 1),
    )


def _nobody(wanted: Sequence[str], known: Sequence[str], named: Sequence[str]) -> InvalidRequest:
    names = list(dict.fromkeys(known))
    who = " or ".join(named) if named else "no installed provider"
    has = f"{who} has no model" if named else f"{who} has a model"
    return InvalidRequest(
        f'{has} "{safe(", ".join(wanted), 80)}"{did_you_mean(wanted[0], names)}',
        problems=[Problem(field="model", message=f"must be one of {', '.join(names)}")],
        next_step="unified-flux models shows what each can do.",
    )
