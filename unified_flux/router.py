"""`Router`: chooses a provider for each request, by order or by price, and goes on to the next.

The contract of going on: only where a provider refused and nothing was or may be charged, never after
acceptance, never past a refusal of the content; each next provider is translated and quoted anew,
loses no reference, and costs at most so much more than the first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from unified_flux import config as configuration, registry
from unified_flux.client import Client
from unified_flux.compare import Candidate
from unified_flux.config import Config
from unified_flux.contract import Card
from unified_flux.effects import Together
from unified_flux.errors import (
    Charged,
    ConfigurationError,
    InvalidRequest,
    JobFailed,
    MissingKey,
    Moderated,
    NotDelivered,
    Problem,
    ProviderError,
    UnifiedFluxError,
    UnsupportedField,
)
from unified_flux.many import CONCURRENCY, Asked, Many, begin_all
from unified_flux.money import Money
from unified_flux.pricing import Quote
from unified_flux.references import opened
from unified_flux.request import ImageRequest
from unified_flux.result import ImageResult, Step
from unified_flux.scheduler import Steps, run
from unified_flux.uploading import Uploads
from unified_flux.world import World

# What another provider may do better; what refuses the content or the request itself is none of it.
_PASSING = (NotDelivered, ProviderError, MissingKey)
_FINAL = (Moderated, JobFailed)


@dataclass(frozen=True, slots=True)
class Stop:
    """One provider of a plan; `against` says why it would be passed over."""

    client: Client
    candidate: Candidate
    against: str | None = None

    def step(self, why: str | None = None, *, taken: bool = False) -> Step:
        """What the result tells of it."""
        one = self.candidate
        return Step(
            provider=one.provider,
            model=one.model,
            quote=one.quote,
            taken=taken,
            why=why or self.against,
        )


@dataclass(frozen=True, kw_only=True)
class Router:
    """Clients in the order in which they are asked.

    Args:
        clients: Each speaks to one provider.
        by_price: Whether the cheapest in USD comes first, whatever their order.
        fallback: The providers that may follow the first; none where it is empty.
        max_increase: How much more than the first one of them may cost, as a share: 0.2 is 20 %.
        unknown_allowed: Whether one may follow whose price is not known.
    """

    clients: Sequence[Client]
    by_price: bool = False
    fallback: Collection[str] = field(default=())
    max_increase: Decimal = Decimal(0)
    unknown_allowed: bool = False

    @classmethod
    def from_config(
        cls, provider: str | None = None, *, sandbox: bool = False, **settings: Any
    ) -> Self:
        """A router as the configuration wants it: `provider`, `fallback`, `fallback_max_increase`.

        Args:
            provider: Wins over the configured one; a single name is asked alone, `cheapest` chooses.
            sandbox: Let emulators answer.
            settings: As for `Client`.

        Raises:
            MissingKey: When nothing is configured.
            ConfigurationError: When a name is not installed, or no provider is chosen.
        """
        config = configuration.load(registry.names(), arguments={"provider": provider})
        return cls.of(config, sandbox=sandbox, **settings)

    @classmethod
    def of(cls, config: Config, *, sandbox: bool = False, **settings: Any) -> Self:
        """The same from settings that were read elsewhere."""
        names, by_price = registry.choose_providers(config, sandbox=sandbox)
        clients = [Client(name, sandbox=sandbox, config=config, **settings) for name in names]
        return cls(
            clients=clients,
            by_price=by_price,
            fallback=frozenset(config.get("fallback")),
            max_increase=config.max_increase,
            unknown_allowed=clients[0].policy.unknown_price,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all clients."""
        for client in self.clients:
            client.close()

    def cards(self, model: str | None = None) -> list[tuple[Client, Card]]:
        """The clients that have a model, with its card.

        Raises:
            InvalidRequest: When none has it.
        """
        found = [(client, card) for client in self.clients if (card := client.find(model))]
        if not found:
            self.clients[0].card(model)
        return found

    def plan(self, request: ImageRequest) -> list[Stop]:
        """The providers for a request in their order; those that are passed over say why.

        Raises:
            UnsupportedField: When none of several can do it as it stands.
            ConfigurationError: When the cheapest is wanted and no price in USD is known.
        """
        request = opened(request)
        stops = [Stop(client, client.candidate(request)) for client, _ in self.cards(request.model)]
        made = [s for s in stops if s.candidate.possible and s.client.was_made(request)]
        if made:
            return made[:1]
        passed, stops = _by_price(stops) if self.by_price else ([], stops)
        return [*passed, stops[0], *(self._held(stop, stops[0]) for stop in stops[1:])]

    def choose(self, request: ImageRequest) -> Client:
        """The client that would be asked first."""
        if len(self.clients) == 1:
            return self.clients[0]
        stops = self.plan(request)
        return next((one.client for one in stops if _passes(one)), stops[0].client)

    def quote(self, request: ImageRequest) -> Quote:
        """What the provider that is asked first would cost."""
        return self.choose(request).quote(request)

    def generate(
        self,
        request: ImageRequest,
        *,
        again: bool = False,
        destination: str | Path | None = None,
        force: bool = False,
        max_cost: str | Money | None = None,
    ) -> ImageResult:
        """Make the pictures at the first provider that takes the request; `steps` tells the way.

        Args:
            again, destination, force, max_cost: As for `Client.generate`.

        Raises:
            UnifiedFluxError: As `Client.generate`; where several refused, the first one's error, with
                the others as its `siblings`.
        """
        asked = Asked(
            request=request, again=again, destination=destination, force=force, max_cost=max_cost
        )
        return run(self.making(asked), self.world)

    def generate_many(
        self, requests: Iterable[ImageRequest | Asked], *, concurrency: int = CONCURRENCY
    ) -> Many:
        """As `Client.generate_many`; a provider is chosen for each request anew."""
        threads = self.clients[0].config.get("threads")
        return Many(begin_all(self, requests), concurrency, threads)

    def making(self, asked: Asked, uploads: Uploads | None = None) -> Steps[ImageResult]:
        """The flow of one call of `generate`; `uploads` are shared with other calls."""
        if len(self.clients) == 1:
            return self.clients[0].making(asked, uploads)
        return self._first_taken(asked, uploads)

    @property
    def world(self) -> World:
        """Where its flows begin; each provider's own go on in that one's."""
        return self.clients[0].world

    def _first_taken(self, asked: Asked, uploads: Uploads | None) -> Steps[ImageResult]:
        """What the first provider makes that is not passed over and does not refuse."""
        # Opened once, a pipe can be shown to several.
        asked = replace(asked, request=opened(asked.request))
        steps: list[Step] = []
        errors: list[UnifiedFluxError] = []
        stops = self.plan(asked.request)
        for number, stop in enumerate(stops, 1):
            if not _passes(stop):
                steps.append(stop.step(_against(stop)))
                continue
            making = stop.client.making(asked, uploads)
            (end,) = (yield Together([making], stop.client.world)).ends
            if isinstance(end, ImageResult):
                left = [one.step(_against(one)) for one in stops[number:]]
                return replace(end, steps=(*steps, stop.step(taken=True), *left))
            steps.append(stop.step(end.message))
            errors.append(end)
            if not _may_go_on(end):
                break
        raise _ended(errors, steps)

    def _held(self, stop: Stop, first: Stop) -> Stop:
        """A later provider, held to the contract."""
        name = stop.client.provider
        if name not in self.fallback:
            return replace(stop, against="it is not among the fallbacks")
        ours, base = stop.candidate.quote.usd, first.candidate.quote.usd
        if ours is None or base is None:
            if self.unknown_allowed:
                return stop
            who = name if ours is None else first.client.provider
            return replace(stop, against=f"what {who} costs in USD is not known")
        if ours.amount > base.amount * (1 + self.max_increase):
            most = f"{self.max_increase * 100:f}".rstrip("0").rstrip(".")
            return replace(
                stop, against=f"{ours} is more than {most or 0} % above the first's {base}"
            )
        return stop


def _passes(stop: Stop) -> bool:
    return stop.against is None and stop.candidate.possible


def _against(stop: Stop) -> str:
    return stop.against or "; ".join(map(str, stop.candidate.problems)) or "another took it"


def _by_price(stops: Sequence[Stop]) -> tuple[list[Stop], list[Stop]]:
    """Those that are passed over, and the possible ones with a price, the cheapest first."""
    possible = [stop for stop in stops if stop.candidate.possible]
    if not possible:
        raise UnsupportedField(
            "no provider can do this request as it stands; nothing was sent",
            problems=[
                Problem(
                    field=f"{stop.client.provider}: {problem.field}",
                    message=problem.message,
                    nearest=problem.nearest,
                    allow=problem.allow,
                )
                for stop in stops
                for problem in stop.candidate.problems
            ],
            next_step="--adapt permits every approximation and drop at once.",
        )
    priced = [stop for stop in possible if stop.candidate.quote.usd]
    if not priced:
        steps = [f"{s.client.provider}: {s.candidate.quote.how_to_price}" for s in possible]
        raise ConfigurationError(
            "the cheapest is wanted, and no provider's price is known in USD; nothing was sent",
            next_step="\n".join(steps),
        )
    priced.sort(key=lambda stop: stop.candidate.rank)
    unpriced = [
        replace(stop, against="what it costs in USD is not known")
        for stop in possible
        if stop not in priced
    ]
    return [*(stop for stop in stops if stop not in possible), *unpriced], priced


def _may_go_on(error: UnifiedFluxError) -> bool:
    """Whether another provider may be asked: nothing is accepted, nothing may be charged."""
    return all(
        isinstance(one, _PASSING)
        and not isinstance(one, _FINAL)
        and one.charged is Charged.NO
        and one.job is None
        for one in (error, *error.siblings)
    )


def _ended(errors: list[UnifiedFluxError], steps: list[Step]) -> UnifiedFluxError:
    """The error of a request that nobody took."""
    if not errors:
        problems = [Problem(field=step.provider, message=step.why or "") for step in steps]
        errors = [InvalidRequest("no provider may be asked; nothing was sent", problems=problems)]
        told = set(steps)
    else:
        told = {step for step in steps if step.why in {error.message for error in errors}}
    # What may have cost is told first; it ended the way, so it came last.
    last = errors[-1]
    first = last if last.exit_code == 9 else errors[0]
    first.siblings = (*first.siblings, *(error for error in errors if error is not first))
    first.steps = tuple(step.to_json() for step in steps)
    passed = [f"{one.provider} was not asked: {one.why}" for one in steps if one not in told]
    first.next_step = "\n".join([*([first.next_step] if first.next_step else []), *passed]) or None
    return first
