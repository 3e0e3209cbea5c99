"""`Adapter`: the base of every provider. It says and reads; it never sends, sleeps or holds a key."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from unified_flux import contract, translation
from unified_flux.addresses import origin
from unified_flux.contract import Card
from unified_flux.errors import (
    Charged,
    InsufficientFunds,
    JobFailed,
    Moderated,
    ProtocolError,
    ProviderError,
    RateLimited,
    Unauthorized,
)
from unified_flux.money import NO_CHARGE_KNOWN, Basis, Charge, Money
from unified_flux.request import ImageRequest
from unified_flux.text import safe
from unified_flux.translation import Translation
from unified_flux.wire import (
    Job,
    OpenedReference,
    Output,
    Phase,
    Placeholder,
    Purpose,
    UploadedFile,
    WireRequest,
    WireResponse,
)

API_VERSION = 1

# No provider documents a code for refused content, so their words decide; this only picks the
# error's class, never whether to send again or what was paid.
_MODERATION_WORDS = ("moderat", "content polic", "content_polic", "sensitive", "nsfw")

_BY_STATUS: Mapping[int, type[ProviderError]] = {
    401: Unauthorized,
    402: InsufficientFunds,
    403: Unauthorized,
    429: RateLimited,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """How a key is put on a request; the signer does it.

    Attributes:
        header: The header's name.
        template: Its value, with `{key}`.
        hosts: Hosts beside the base URL's own that may see the key; `*` stands for one label.
    """

    header: str = "Authorization"
    template: str = "Bearer {key}"
    hosts: tuple[str, ...] = ()

    def allows(self, found: str | None) -> bool:
        """Whether an origin is one of the hosts, by https on its usual port."""
        labels = (re.escape(host).replace(r"\*", "[a-z0-9-]+") for host in self.hosts)
        return found is not None and any(
            re.fullmatch(f"https://{host}:443", found) for host in labels
        )

    def key_in(self, headers: Mapping[str, str]) -> str | None:
        """The key that a request came with, header names in lower case; None where there is none."""
        before, _, after = self.template.partition("{key}")
        said = headers.get(self.header.lower(), "").strip()
        fits = said.lower().startswith(before.lower()) and said.endswith(after)
        return (said[len(before) : len(said) - len(after)].strip() or None) if fits else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """What a provider says is wrong, out of whichever shape it said it in."""

    code: str | None = None
    message: str = ""
    request_id: str | None = None


class Adapter(ABC):
    """One provider's dialect.

    A plugin fills the tables and the abstract methods. Everything is pure: values in, values out.

    Attributes:
        name: The entry point's name; variables follow it (`NAME_API_KEY`, `NAME_BASE_URL`).
        base_url: Where the provider is; an instance may be given another.
        auth: How the key goes on.
        phases: The provider's status word → RUNNING, DONE or FAILED; an unseen word counts as
            RUNNING, under the deadline.
        codes: The provider's error code → error class, beside the usual reading of the status.
        idempotent: Whether a submit carries a key under which it may be sent again.
        not_taken: Codes of a 5xx that the provider documents as refused before work.
        uncharged: Status words of failed jobs that the provider documents as not charged.
        options: Settings of this provider → the values they may take, the first is the default.
        card_package: The package whose folder `name` holds the cards.
    """

    name: ClassVar[str]
    base_url: ClassVar[str]
    auth: ClassVar[Auth] = Auth()
    phases: ClassVar[Mapping[str, Phase]]
    codes: ClassVar[Mapping[str, type[ProviderError]]] = {}
    idempotent: ClassVar[bool] = False
    not_taken: ClassVar[frozenset[str]] = frozenset()
    uncharged: ClassVar[frozenset[str]] = frozenset()
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    card_package: ClassVar[str] = contract.BUILT_IN
    api_version: ClassVar[int] = API_VERSION

    def __init__(
        self, base_url: str | None = None, options: Mapping[str, str] | None = None
    ) -> None:
        self.base = (base_url or self.base_url).rstrip("/")
        self.chosen = {name: values[0] for name, values in self.options.items()} | dict(
            options or {}
        )

    @property
    def cards(self) -> tuple[Card, ...]:
        """The cards of all models."""
        return contract.load_cards(self.name, self.card_package)

    def trusts(self, url: str) -> bool:
        """Whether the key may be sent to `url`: the base URL's origin and the declared hosts."""
        found = origin(url)
        return found == origin(self.base) or self.auth.allows(found)

    def translate(
        self, request: ImageRequest, card: Card, references: Sequence[OpenedReference] = ()
    ) -> Translation:
        """Payload and report of a request, with placeholders for local references."""
        return translation.translate(request, card, references, self.place_references)

    def place_references(self, references: Sequence[OpenedReference], card: Card) -> dict[str, Any]:
        """Payload keys and values for the references, as the card says.

        One key each, in order (`keys`); or one list (`items`), but for a single one where the card
        has a key for it (`one`).
        """
        values = [_said(reference, card) for reference in references]
        rules = card.references
        if "keys" in rules:
            return dict(zip(rules["keys"], values, strict=False))
        if len(values) == 1 and "one" in rules:
            return {rules["one"]: values[0]}
        return {rules["items"]: values}

    def upload(self, reference: OpenedReference, card: Card) -> WireRequest:
        """The exchange that brings one local reference to the provider (cards that say "upload")."""
        raise NotImplementedError(f"{self.name} takes no uploads")

    def read_upload(self, response: WireResponse) -> UploadedFile:
        """What the upload returned."""
        raise NotImplementedError(f"{self.name} takes no uploads")

    @abstractmethod
    def submit(self, payload: Mapping[str, Any], card: Card, idempotency_key: str) -> WireRequest:
        """The exchange that starts paid work."""

    @abstractmethod
    def read(self, response: WireResponse, job: Job | None = None) -> Job | Output:
        """The answer of a submit or a poll, best by way of `outcome`; the flow adds the model.

        Args:
            job: Which was asked for; None for a submit.

        Raises:
            ProtocolError: When the answer does not even say which job it is about.
        """

    def outcome(
        self,
        found: Mapping[str, Any],
        *,
        word: str,
        charge: Charge = NO_CHARGE_KNOWN,
        urls: Sequence[str] = (),
        progress: float | None = None,
        id: str | None = None,
        links: Mapping[str, Any] | None = None,
    ) -> Job | Output:
        """A job with `id` and perhaps `error` in `found`, at the phase that its status word says.

        Args:
            id: Its name, where the answer has it elsewhere.
            links: Addresses for it, as the answer has them: `poll`, `result`.
        """
        phase = self.phase(word)
        complaint = read_complaint(found)
        took = Charged.NO if word in self.uncharged else charged(charge)
        job = Job(
            provider=self.name,
            id=text(found, "id") if id is None else id,
            word=word,
            phase=phase,
            charge=charge,
            progress=progress,
            failure=self.failure(complaint, took) if phase is Phase.FAILED else None,
            links={name: url for name, url in (links or {}).items() if _is_plain(url)},
        )
        return Output(job=job, urls=tuple(urls)) if phase is Phase.DONE else job

    def poll(self, job: Job) -> WireRequest:
        """The exchange that asks how a job stands: at the address that an answer named for it.

        Raises:
            ProtocolError: When no such address is known.
        """
        if "poll" not in job.links:
            raise ProtocolError(
                f"{self.name} tells only at an address of its own how {safe(job.id, 80)} stands, and "
                "that address is not known here",
                charged=Charged.MAYBE,
                next_step=f"The journal where it was made knows it; else look at your account at {self.name}.",
            )
        return WireRequest(purpose=Purpose.POLL, url=job.links["poll"])

    def result(self, job: Job) -> WireRequest | None:
        """The exchange that brings a done job's pictures, None where its poll names them."""
        url = job.links.get("result")
        return WireRequest(purpose=Purpose.POLL, url=url) if url else None

    def read_result(self, response: WireResponse, job: Job) -> Output:
        """What that exchange answered."""
        raise NotImplementedError(f"{self.name} names pictures in its polls")

    def balance(self) -> WireRequest | None:
        """The exchange that asks what the account holds, None where none is documented."""
        return None

    def read_balance(self, response: WireResponse) -> Money:
        """What the account holds."""
        raise NotImplementedError(f"{self.name} documents no balance")

    def refusal(self, response: WireResponse) -> ProviderError:
        """A 4xx or 5xx in our words: by the provider's code, its words, then the status."""
        complaint = complain(response)
        status = response.status
        kind = self.classify(complaint, _BY_STATUS.get(status, ProviderError), status)
        code = f" [{safe(complaint.code, 60)}]" if complaint.code else ""
        return kind(
            f"{self.name} answered HTTP {status}{code}: {_reason(complaint)}",
            status=status,
            code=complaint.code,
            retry_after=response.retry_after,
            request_id=complaint.request_id,
            provider=self.name,
        )

    def classify(
        self, complaint: Complaint, usual: type[ProviderError], status: int | None
    ) -> type[ProviderError]:
        """The error class for a complaint, `usual` where nothing speaks for another."""
        if (coded := self.codes.get(complaint.code or "")) is not None:
            return coded
        words = f"{complaint.code} {complaint.message}".lower()
        if usual in {ProviderError, JobFailed} and any(word in words for word in _MODERATION_WORDS):
            return Moderated
        return usual

    def failure(self, complaint: Complaint, took: Charged) -> ProviderError:
        """A failed job's reason, saying whether money was taken."""
        kind = self.classify(complaint, JobFailed, None)
        code = f" [{safe(complaint.code, 60)}]" if complaint.code else ""
        return kind(
            f"{self.name} could not make the picture{code}: {_reason(complaint)}",
            code=complaint.code,
            charged=took,
        )

    def phase(self, word: str) -> Phase:
        """Our phase for the provider's status word."""
        return self.phases.get(word, Phase.RUNNING)


def _said(reference: OpenedReference, card: Card) -> str:
    """A reference as a payload says it: its URL, or its bytes in the card's way."""
    if reference.url is not None:
        return reference.url
    as_uri = card.references["local"] == "data_uri"
    return Placeholder(reference, f"data:{reference.mime};base64," if as_uri else "")


def _reason(complaint: Complaint) -> str:
    return safe(complaint.message).rstrip(". ") or "no reason given"


def charged(charge: Charge) -> Charged:
    """Whether a settled charge took money: only a billed figure can say no."""
    if charge.money is None:
        return Charged.MAYBE
    if charge.money.amount > 0:
        return Charged.YES
    return Charged.NO if charge.basis is Basis.BILLED else Charged.MAYBE


def text(found: Mapping[str, Any], name: str) -> str:
    """A field that an answer cannot do without, as printable text.

    Raises:
        ProtocolError: When it is missing, no text, or holds what no id or URL needs.
    """
    value = found.get(name)
    if not isinstance(value, str) or not value:
        raise ProtocolError(f'the answer has no "{name}"')
    if not _is_plain(value):
        raise ProtocolError(f'the answer\'s "{name}" is too long or holds control characters')
    return value


def _is_plain(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 2000 and value.isprintable()


def complain(response: WireResponse) -> Complaint:
    """The complaint in an error answer, whatever its shape; HTML and nonsense make an empty one."""
    try:
        found = response.object()
    except ProtocolError:
        return Complaint()
    return read_complaint(found)


def read_complaint(found: Any) -> Complaint:
    """Code, message and request id out of the shapes that providers use (docs/contracts.md).

    `{"error": {...}}`, `{"error": "text"}`, `{"status": {...}}`, `{"detail": ...}`, `{"message": ...}`;
    of a list of complaints the first. A code is kept as text, since some have leading zeros and some
    are numbers.
    """
    if not isinstance(found, Mapping):
        return Complaint(message=str(found) if isinstance(found, str) else "")
    for wrapper in ("error", "status", "detail"):
        inner = found.get(wrapper)
        inner = inner[0] if isinstance(inner, list) and inner else inner
        if isinstance(inner, Mapping) or (isinstance(inner, str) and wrapper != "status" and inner):
            complaint = read_complaint(inner)
            request_id = complaint.request_id or _first(found, "requestId", "request_id")
            code = complaint.code or _first(found, "error_code", "code", "error_type")
            return Complaint(code=code, message=complaint.message, request_id=request_id)
    return Complaint(
        code=_first(found, "error_code", "code", "type"),
        message=_first(found, "error_message", "message", "msg") or "",
        request_id=_first(found, "requestId", "request_id"),
    )


def _first(found: Mapping[str, Any], *names: str) -> str | None:
    for name in names:
        value = found.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
            return str(value)
    return None
