"""The public face: a `Client` speaks to one provider."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from unified_flux import config as configuration, flow, registry
from unified_flux.access import Access, open_journal
from unified_flux.adapter import Adapter
from unified_flux.budget import check_prices
from unified_flux.compare import Candidate, candidate
from unified_flux.config import Config, check_base_url, check_options
from unified_flux.contract import Card, find
from unified_flux.effects import Event
from unified_flux.errors import InvalidRequest, UnifiedFluxError
from unified_flux.gates import Gate
from unified_flux.jobs import Jobs
from unified_flux.many import CONCURRENCY, Asked, Many, begin_all
from unified_flux.money import Money
from unified_flux.orders import Orders
from unified_flux.pricing import Quote
from unified_flux.record import Record
from unified_flux.recovery import is_missing
from unified_flux.report import Policy
from unified_flux.request import ImageRequest
from unified_flux.result import ImageResult, Recovered
from unified_flux.scheduler import Steps, run
from unified_flux.settings import key_name, url_name
from unified_flux.spool import Spool
from unified_flux.throttle import Throttle
from unified_flux.translation import Translation, require
from unified_flux.uploading import Uploads
from unified_flux.wire import Job, WireRequest
from unified_flux.world import World


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
        registry.check_allowed(provider, self.config)
        options = self.config.options(provider)
        check_options(provider, options, registry.adapter_class(provider).options)
        address = base_url or (None if sandbox else self.config.base_url(provider))
        if address:
            check_base_url(address, "base_url")
        self.adapter: Adapter = registry.make_adapter(provider, address, options)
        check_prices(self.config, self.adapter)
        inherited = self.config.policy
        self.policy = Policy(inherited.allow | Policy.of(allow).allow, adapt)
        self._on_event = on_event
        self.journal = open_journal(self.config)
        spool = Spool(self.config.home / "spool", durable=self.journal is not None)
        self._access = Access(self.adapter, self.config, spool, sandbox)
        self._orders = Orders(self.adapter, self.config, self.policy, self._access, self.journal)
        self._jobs = Jobs(self._orders, self.adapter, self.config, self._access, self.journal)

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
        """Close connections and the journal. Pictures that were not saved stay in the spool for some days."""
        self._access.close()
        if self.journal is not None:
            self.journal.close()

    @property
    def sandbox(self) -> bool:
        """Whether an emulator answers, in this process or behind a local port."""
        return self._access.sandbox

    def card(self, model: str | None = None) -> Card:
        """The card of a family or model id, of the configured model where none is named.

        Raises:
            InvalidRequest: When the provider has no such model.
        """
        return self._orders.card(model)

    def find(self, model: str | None = None) -> Card | None:
        """The same, None where the provider has no such model."""
        return find(self.adapter.cards, model or self.config.get("model"))

    def candidate(self, request: ImageRequest) -> Candidate:
        """What this provider would make of a request, for how much, and what stands against it."""
        order = self._orders.order(Asked(request=request))
        return candidate(
            request,
            order.card,
            order.references,
            adapter=self.adapter,
            budget=self._orders.budget,
            policy=self.policy,
        )

    def was_made(self, request: ImageRequest) -> bool:
        """Whether `generate` would return an earlier job of the same request, see docs/journal.md."""
        return self._jobs.was_made(self._orders.order(Asked(request=request)))

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
        order = self._orders.order(Asked(request=request))
        return self.adapter.translate(request, order.card, order.references)

    def quote(self, request: ImageRequest) -> Quote:
        """What the pictures will cost, as far as anybody knows; whether or not they are possible.

        Sends nothing and needs no key. See docs/cost.md for what a quote rests on.

        Raises:
            InvalidRequest: When the model is unknown or a reference unusable.
        """
        return self.candidate(request).quote

    def wire(self, translation: Translation) -> tuple[WireRequest, ...]:
        """The exchanges up to the paid one, as data, unsigned; nothing is sent."""
        card = translation.card
        uploads = [
            self.adapter.upload(reference, card)
            for reference in translation.references
            if reference.source and card.references["local"] == "upload"
        ]
        return (*uploads, self.adapter.submit(translation.payload, card, "<one per picture>"))

    def generate(
        self,
        request: ImageRequest,
        *,
        again: bool = False,
        destination: str | Path | None = None,
        force: bool = False,
        max_cost: str | Money | None = None,
    ) -> ImageResult:
        """Make the pictures: each is at most one accepted paid submit.

        Args:
            again: Pay for another picture where the same request with the same client_request_id
                was made within `journal.same_within`; otherwise the first one's is returned.
            destination: A path, folder or template that the pictures are meant for. Nothing is
                written there now: the journal keeps it, so that `unified-flux recover` can.
            force: Whether a file may be overwritten there.
            max_cost: The most that all pictures together may cost: `0.50 USD`, `8 credits:rivya`.

        Raises:
            TranslationError, MissingKey, SpendLimitExceeded, JournalError: When it cannot be said, there
                is no key, a limit would be passed, or nothing can be kept; nothing was sent.
            OutcomeUnknown, JobTimeout, DownloadFailed: When money may be gone and no picture is
                here; `job`, `id` and `next_step` say how to go on.
            ProviderError: When the provider refused; `charged` says whether it cost.
            UnifiedFluxError: Where several pictures failed, the others' errors are its `siblings`.
        """
        asked = Asked(
            request=request, again=again, destination=destination, force=force, max_cost=max_cost
        )
        return run(self.making(asked), self.world)

    def generate_many(
        self, requests: Iterable[ImageRequest | Asked], *, concurrency: int = CONCURRENCY
    ) -> Many:
        """Make the pictures of many requests side by side, and tell of each as soon as it is there.

        Args:
            requests: Taken from only as places are free, so there may be a million of them; `Asked`
                says more about one than a request can.
            concurrency: How many are under way at once.

        Returns:
            An iterator of `Made`, in the order in which they finish. A failure is a value: it costs the
            others nothing. Its `drain` sends nothing more and finishes what is accepted, `stop` ends
            everything at its next step; leaving it early stops it.
        """
        return Many(begin_all(self, requests), concurrency, self.config.get("threads"))

    def making(self, asked: Asked, uploads: Uploads | None = None) -> Steps[ImageResult]:
        """The flow of one call of `generate`; `uploads` are shared with other calls."""
        return self._jobs.making(asked, uploads)

    def submit(
        self,
        request: ImageRequest,
        *,
        again: bool = False,
        destination: str | Path | None = None,
        force: bool = False,
        max_cost: str | Money | None = None,
    ) -> Job:
        """Have one picture begun: the job, once it is accepted; `wait` brings the picture.

        Args:
            again, destination, force, max_cost: As for `generate`.

        Raises:
            InvalidRequest: When the request asks for several pictures; submit each for itself.
            UnifiedFluxError: As `generate`.
        """
        if (request.n or 1) > 1:
            raise InvalidRequest("submit begins one picture; call it once for each of the n")
        asked = Asked(
            request=request, again=again, destination=destination, force=force, max_cost=max_cost
        )
        return run(self._jobs.submitting(asked), self.world)

    def wait(self, job: Job | str) -> ImageResult:
        """Poll and fetch a job that is already accepted; nothing is submitted.

        Args:
            job: The job, or its text form `provider/model/id` as errors print it, or the journal's
                name of it. What the journal does not know is followed all the same.

        Raises:
            InvalidRequest: When the text names no job of this provider, or one that was never accepted.
            UnifiedFluxError: When the picture did not come.
        """
        return run(self.waiting(job), self.world)

    def waiting(self, job: Job | str) -> Steps[ImageResult]:
        """The flow of `wait`."""
        return self._jobs.waiting(job)

    def resume(self, job: Job | str, *, resubmit: bool = False) -> ImageResult:
        """Go on with a job of the journal wherever it stands.

        A job that is on its way is followed, a picture that is on disk is handed over, a submit that
        a dead process left without an answer is sent again where the provider takes it for the same.

        Args:
            job: The journal's name of it or the beginning of that, or `provider/model/id`.
            resubmit: Where nobody knows whether a submit was taken: risk another one, which may be
                paid too.

        Raises:
            InvalidRequest: When the journal does not know it, or is off.
            OutcomeUnknown: When it stays unknown.
            UnifiedFluxError: When the picture did not come.
        """
        return run(self.resuming(job, resubmit=resubmit), self.world)

    def resuming(self, job: Job | str, *, resubmit: bool = False) -> Steps[ImageResult]:
        """The flow of `resume`."""
        return self._jobs.resuming(job, resubmit=resubmit)

    def resolve(self, job: Job | str, *, charged: bool) -> Record:
        """Say what you found in your account about a job that nobody here can decide.

        Raises:
            InvalidRequest: When it is decided already, or a living process works on it.
        """
        id = self._jobs.journalled(job).id
        return self._jobs.needed_journal().resolve(id, charged=charged)

    def recover(self) -> list[Recovered]:
        """Go on with every open job of this provider that no living process works on.

        What goes wrong with one job stands in its `Recovered` and stops no other.

        Raises:
            ConfigurationError: When the journal is off.
            JournalError: When it cannot be read.
        """
        return list(self.recovering())

    def recovering(self) -> Iterator[Recovered]:
        """The same, one by one as they are done."""
        rows = self._jobs.needed_journal().open_jobs()
        ids = [row["id"] for row in rows if row["provider"] == self.provider]
        return self._jobs.each(ids, self.world, only_open=True)

    def rescuing(self, since: int = 0) -> Iterator[Recovered]:
        """Fetch every picture again whose address is known and that is on no disk here.

        Args:
            since: Leave out jobs from before this time, in milliseconds since 1970.
        """
        journal = self._jobs.needed_journal()
        rows = journal.done_jobs(since)
        ids = [row["id"] for row in rows if row["provider"] == self.provider]
        missing = (id for id in ids if is_missing(journal.get(id)))
        return self._jobs.each(missing, self.world)

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
        asking = flow.inquire(self.adapter, wire, self._jobs.pace, self._jobs.rng)
        return self.adapter.read_balance(run(asking, self.world))

    @cached_property
    def world(self) -> World:
        """Where this client's flows run."""
        return World(
            transport=self._access,
            journal=self.journal,
            gate=Gate(self.config.throttles.get(self.provider, Throttle()), self._jobs.slow_down),
            on_event=self._on_event,
        )
