"""The public face: a `Client` speaks to one provider."""

from __future__ import annotations

import random
import shlex
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from unified_flux import config as configuration, flow, registry
from unified_flux.adapter import Adapter
from unified_flux.addresses import is_loopback
from unified_flux.config import Config, check_base_url, check_options
from unified_flux.contract import Card, choose
from unified_flux.effects import Event
from unified_flux.errors import InvalidRequest, UnifiedFluxError
from unified_flux.flow import Ask, Finished
from unified_flux.money import Money
from unified_flux.output import Spool, differences
from unified_flux.references import open_references
from unified_flux.report import Policy, Report
from unified_flux.request import ImageRequest
from unified_flux.result import Failed, Image, ImageResult
from unified_flux.retry import Pace
from unified_flux.scheduler import Transport, World, run, run_all
from unified_flux.secret import SANDBOX_PREFIX, Secret
from unified_flux.settings import Network, key_name, url_name
from unified_flux.text import safe
from unified_flux.translation import Translation, require, shown
from unified_flux.transports.signing import Signer
from unified_flux.wire import Job, OpenedReference, WireRequest

_DAY = 86_400.0


class Client:
    """One provider, ready to make pictures.

    Args:
        provider: The installed adapter's name.
        api_key: The provider's key; not needed to translate.
        base_url: Another address for it: https, or http on this machine.
        sandbox: Let the provider's emulator answer, in this process; nothing is charged.
        allow, adapt: The losses allowed in translation, see `Policy`.
        timeout: Seconds until a picture must be done.
        on_event: Called with an `Event` whenever the phase of a job changes.
        config: Settings read elsewhere; `Client.from_config` reads the usual places.

    Raises:
        ConfigurationError: When the provider, the key or the address is not usable.
    """

    def __init__(
        self,
        provider: str,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        sandbox: bool = False,
        allow: Iterable[str] = (),
        adapt: bool = False,
        timeout: float | None = None,
        on_event: Callable[[Event], None] | None = None,
        config: Config | None = None,
    ) -> None:
        given = {key_name(provider): api_key, url_name(provider): base_url, "timeout": timeout}
        self.config = (config or Config((provider,))).overridden(given)
        self.provider = provider
        self.emulated = sandbox
        options = self.config.options(provider)
        check_options(provider, options, registry.adapter_class(provider).options)
        address = base_url or (None if sandbox else self.config.base_url(provider))
        if address:
            check_base_url(address, "base_url")
        self.adapter: Adapter = registry.make_adapter(provider, address, options)
        inherited = self.config.policy
        self.policy = Policy(inherited.allow | Policy.of(allow).allow, adapt)
        self._on_event = on_event
        self._spool = Spool(self.config.home / "spool")
        self._rng = random.SystemRandom()

    @classmethod
    def from_config(
        cls,
        provider: str | None = None,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        sandbox: bool = False,
        allow: Iterable[str] = (),
        adapt: bool = False,
        timeout: float | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> Self:
        """A client for the provider that the configuration chooses, see docs/configuration.md.

        Args:
            provider: Chooses it here.
            sandbox: Use its emulator; with nothing configured, any provider's.
            api_key, base_url, allow, adapt, timeout, on_event: As for `Client`.

        Raises:
            MissingKey: When nothing is configured.
            ConfigurationError: When several keys are there and no provider is chosen.
        """
        config = configuration.load(registry.names())
        return cls(
            provider or registry.choose_provider(config, sandbox=sandbox),
            api_key=api_key,
            base_url=base_url,
            sandbox=sandbox,
            allow=allow,
            adapt=adapt,
            timeout=timeout,
            on_event=on_event,
            config=config,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close connections. Pictures that were not saved stay in the spool for some days."""
        if "_transport" in self.__dict__:
            self._transport.close()

    @cached_property
    def sandbox(self) -> bool:
        """Whether an emulator answers, in this process or behind a local port."""
        if self.emulated:
            return True
        key = self.config.key(self.provider)
        local = is_loopback(urlsplit(self.adapter.base).hostname or "")
        return local and key is not None and key.for_sandbox

    def card(self, model: str | None = None) -> Card:
        """The card of a family or model id, of the configured model where none is named.

        Raises:
            InvalidRequest: When the provider has no such model.
        """
        return choose(self.adapter.cards, model or self.config.get("model"))

    def translate(self, request: ImageRequest) -> Translation:
        """What would be sent, and what became of each field. Sends nothing, needs no key.

        Raises:
            TranslationError: With every problem at once.
        """
        return require(self.preview(request), self.policy)

    def preview(self, request: ImageRequest) -> Translation:
        """Like `translate`, and refuses no loss: losses and faults stand in the report.

        Raises:
            InvalidRequest: When the model is unknown or a reference unusable.
        """
        references = open_references(request.references)
        return self.adapter.translate(request, self.card(request.model), references)

    def wire(self, translation: Translation) -> tuple[WireRequest, ...]:
        """The exchanges up to the paid one, as data, unsigned; nothing is sent."""
        card = translation.card
        uploads = [
            self.adapter.upload(reference, card)
            for reference in translation.references
            if reference.source and card.references["local"] == "upload"
        ]
        return (*uploads, self.adapter.submit(translation.payload, card, "<one per picture>"))

    def generate(self, request: ImageRequest) -> ImageResult:
        """Make the pictures: each is at most one accepted paid submit.

        Raises:
            TranslationError: When the request cannot be said; nothing was sent.
            MissingKey: When there is no key; nothing was sent.
            OutcomeUnknown, JobTimeout, DownloadFailed: When money may be gone and no picture is
                here; `job` and `next_step` say how to go on.
            ProviderError: When the provider refused; `charged` says whether it cost.
            UnifiedFluxError: Where several pictures failed, the others' errors are its `siblings`.
        """
        card = self.card(request.model)
        references = open_references(request.references)
        uploads: dict[str, str] = {}
        asks = [self._ask(one, card, references, uploads) for one in request.pictures()]
        world = self._world()
        report = None
        if len(asks) > 1:
            whole = self.adapter.translate(request, card, references)
            report = require(whole, self.policy).report
            run(flow.bring_references(asks[0]), world)
        outcomes = run_all([flow.generate(ask) for ask in asks], world)
        return self._result(card, outcomes, request, references, report)

    def wait(self, job: Job | str) -> ImageResult:
        """Poll and fetch a job that is already accepted; nothing is submitted.

        Args:
            job: The job, or its text form `provider/model/id` as errors print it.

        Raises:
            InvalidRequest: When the text names no job of this provider.
            UnifiedFluxError: When the picture did not come.
        """
        found = Job.parse(job) if isinstance(job, str) else job
        if found is None or found.provider != self.provider:
            raise InvalidRequest(
                f'"{safe(job, 80)}" is no job of {self.provider}',
                next_step=f"A job is written {self.provider}/MODEL/ID, as the error printed it.",
            )
        card = self.card(found.model)
        following = flow.follow(self.adapter, card, found, self._pace, self._rng)
        return self._result(card, run_all([following], self._world()))

    def balance(self) -> Money:
        """What the account holds, in the provider's unit.

        Raises:
            UnifiedFluxError: When the provider documents no way to ask.
            MissingKey, Unauthorized: When the key is not there or not good.
        """
        wire = self.adapter.balance()
        if wire is None:
            raise UnifiedFluxError(
                f"{self.provider} documents no way to ask for the balance",
                next_step=f"Look at your account at {self.provider}.",
            )
        asking = flow.inquire(self.adapter, wire, self._pace, self._rng)
        return self.adapter.read_balance(run(asking, self._world()))

    def _ask(
        self,
        request: ImageRequest,
        card: Card,
        references: Sequence[OpenedReference],
        uploads: dict[str, str],
    ) -> Ask:
        return Ask(
            adapter=self.adapter,
            card=card,
            request=request,
            references=references,
            policy=self.policy,
            idempotency_key=str(uuid.uuid4()),
            pace=self._pace,
            rng=self._rng,
            uploads=uploads,
        )

    def _result(
        self,
        card: Card,
        outcomes: Sequence[Finished | UnifiedFluxError],
        request: ImageRequest | None = None,
        references: tuple[OpenedReference, ...] = (),
        report: Report | None = None,
    ) -> ImageResult:
        """The pictures that came; raises where none did, with every error in one."""
        images: list[Image] = []
        failed: list[Failed] = []
        requests = request.pictures() if request else ()
        for asked, outcome in enumerate(outcomes, 1):
            if isinstance(outcome, UnifiedFluxError):
                failed.append(Failed(index=asked, error=self._guide(outcome)))
                continue
            seed = requests[asked - 1].seed if requests else None
            images += _images(outcome, asked, seed, len(images))
            failed += [Failed(index=asked, error=self._guide(error)) for error in outcome.missing]
            if report is None and outcome.translation:
                report = outcome.translation.report
        if not images:
            raise _one_of([one.error for one in failed])
        return ImageResult(
            provider=self.provider,
            model=card.model,
            images=tuple(images),
            failed=tuple(failed),
            report=report or Report(entries=()),
            request=request,
            references=references,
            sandbox=self.sandbox,
            seconds=max(image.seconds for image in images),
        )

    def _guide(self, error: UnifiedFluxError) -> UnifiedFluxError:
        """Where a job is left behind, the command that continues it."""
        if error.job is not None and error.exit_code == 9 and error.next_step is None:
            error.next_step = (
                "This was the built-in sandbox: no money was involved, and its jobs end with it."
                if self.emulated
                else f"Continue with: unified-flux resume {shlex.quote(str(error.job))}"
            )
        return error

    @cached_property
    def _pace(self) -> Pace:
        get = self.config.get
        return Pace(
            timeout=get("timeout"),
            retry_within=get("retry_within"),
            resend_within=get("resend_within"),
        )

    def _world(self) -> World:
        """One per call: what stops one call must not stop the next."""
        return World(transport=self._transport, on_event=self._on_event)

    @cached_property
    def _transport(self) -> Transport:
        self._spool.purge(self.config.get("spool_days") * _DAY)
        return self._emulated_transport() if self.emulated else self._http_transport()

    def _http_transport(self) -> Transport:
        from unified_flux.transports.http import HttpTransport

        signer = Signer(self.adapter, self.config.secret(self.provider))
        bundle, proxies = configuration.network_environment()
        network = Network(
            connect_timeout=self.config.get("connect_timeout"),
            read_timeout=self.config.get("read_timeout"),
            ca_bundle=bundle,
            proxies=proxies,
        )
        return HttpTransport(signer, self._spool, network)

    def _emulated_transport(self) -> Transport:
        from unified_flux.transports.emulated import EmulatedTransport

        secret = Secret(f"{SANDBOX_PREFIX}{uuid.uuid4().hex}", "the sandbox's key")
        emulator = registry.emulator_class(self.provider)(key=secret.reveal())
        return EmulatedTransport(
            emulator, Signer(self.adapter, secret), self._spool, self.config.get("read_timeout")
        )


def _one_of(errors: list[UnifiedFluxError]) -> UnifiedFluxError:
    """The error to raise for several: one that may have cost, with all the others on it."""
    first = max(errors, key=lambda error: error.exit_code == 9)
    first.siblings = tuple(error for error in errors if error is not first)
    return first


def _images(finished: Finished, asked: int, seed: int | None, before: int) -> Iterator[Image]:
    for index, blob in enumerate(finished.blobs, before + 1):
        if blob.header is None:
            raise LookupError("a flow hands on nothing but pictures")
        yield Image(
            blob=blob,
            format=blob.header.format,
            width=blob.header.width,
            height=blob.header.height,
            job=finished.job,
            charge=finished.job.charge,
            index=index,
            asked=asked,
            seed=seed,
            payload=shown(finished.translation.payload) if finished.translation else None,
            seconds=finished.seconds,
            notes=(
                *finished.job.notes,
                *differences(finished.translation, blob.header, blob.whole),
            ),
        )
