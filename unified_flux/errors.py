"""What can go wrong, sorted by whose move failed.

UnifiedFluxError                                                            exit
├── ConfigurationError     yours: settings, plugins                            2
│   └── MissingKey         a provider was chosen, its key is absent            4
├── TranslationError       ours: nothing was sent                              3
│   ├── InvalidRequest     a value that no provider could take
│   ├── UnsupportedField   this model cannot say it, and no loss was allowed
│   └── ContractViolation  the payload breaks the model's schema
├── OutputError            the picture cannot be written where it was asked     3
├── JournalError           the journal cannot be read or written                1
├── TransportError         the network's
│   ├── NotDelivered       no byte of the request left                         8
│   ├── OutcomeUnknown     it left, and no answer tells what became of it       9
│   └── DownloadFailed     the picture exists and did not arrive                9
├── ProviderError          they said no                                        8
│   ├── Unauthorized                                                           4
│   ├── InsufficientFunds                                                      5
│   ├── RateLimited                                                            6
│   ├── Moderated                                                              7
│   └── JobFailed                                                              8
├── ProtocolError          they broke their own contract                       8
├── JobTimeout             not yet; carries the job                            9
└── SpendLimitExceeded                                                         5

Exit 2 to 6 and 8 promise that nothing was or may be charged: an error that cannot promise it
exits with 9, whatever its class (`UnifiedFluxError.exit_code`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from unified_flux.text import plain

if TYPE_CHECKING:
    from unified_flux.wire import Job


class Charged(StrEnum):
    """Whether money was taken, as far as anyone here can know."""

    NO = "no"
    MAYBE = "maybe"
    YES = "yes"


_MONEY = {
    Charged.NO: "Nothing was charged.",
    Charged.MAYBE: "It may have been charged.",
    Charged.YES: "It was charged.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with one field, and what would do instead."""

    field: str
    message: str
    nearest: Any = None
    allow: str | None = None

    def __str__(self) -> str:
        said = f"{self.field}: {self.message}"
        if self.nearest is not None:
            said += f"; nearest: {plain(self.nearest)}"
        if self.allow is not None:
            said += f"; --allow {self.allow} permits it"
        return said

    def to_json(self) -> dict[str, Any]:
        """The problem as plain JSON."""
        return {
            "field": self.field,
            "message": self.message,
            "nearest": self.nearest,
            "allow": self.allow,
        }


class UnifiedFluxError(Exception):
    """Anything this library raises on purpose.

    Args:
        message: One sentence: what is wrong.
        problems: Every single problem found, where there can be several.
        provider, model, job, request_id: Where it happened, as far as it is known.
        charged: Whether money was taken.
        next_step: What to do now, as a sentence or a command.

    Attributes:
        id: Our own name of the job, where the journal may know it.
        siblings: Where several pictures failed, the errors of the others.
        steps: Where there was a choice of providers, those that were considered, as plain JSON.
    """

    usual_exit_code: ClassVar[int] = 1
    # Whether its words end with what became of the money; others never came so far.
    about_money: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        problems: Iterable[Problem] = (),
        provider: str | None = None,
        model: str | None = None,
        job: Job | None = None,
        request_id: str | None = None,
        charged: Charged = Charged.NO,
        next_step: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.problems = tuple(problems)
        self.provider = provider
        self.model = model
        self.job = job
        self.request_id = request_id
        self.charged = charged
        self.next_step = next_step
        self.id: str | None = None
        self.siblings: tuple[UnifiedFluxError, ...] = ()
        self.steps: tuple[dict[str, Any], ...] = ()

    @property
    def exit_code(self) -> int:
        """The command line's exit code; 9 where money may be gone without a picture."""
        if self.charged is not Charged.NO and self.usual_exit_code in {2, 3, 4, 5, 6, 8}:
            return 9
        return self.usual_exit_code

    @property
    def name(self) -> str | None:
        """What `resume` calls what is left behind: the provider's job, or ours where none was named."""
        if self.job is not None:
            return str(self.job)
        return self.id if self.exit_code == 9 else None

    def __str__(self) -> str:
        lines = [self.message, *(f"  - {problem}" for problem in self.problems)]
        if self.about_money or self.charged is not Charged.NO:
            lines.append(_MONEY[self.charged])
        if self.next_step:
            lines.append(self.next_step)
        lines += [f"and {self._whose(sibling)}: {sibling}" for sibling in self.siblings]
        return "\n".join(lines)

    def _whose(self, sibling: UnifiedFluxError) -> str:
        same = sibling.provider in {None, self.provider}
        return "another picture" if same else str(sibling.provider)

    def to_json(self) -> dict[str, Any]:
        """The error as the object that `--json` prints under `error`."""
        found: dict[str, Any] = {
            "type": type(self).__name__,
            "message": self.message,
            "exit_code": self.exit_code,
            "charged": str(self.charged),
            "provider": self.provider,
            "model": self.model,
            "job": self.name,
            "request_id": self.request_id,
            "next_step": self.next_step,
            "problems": [problem.to_json() for problem in self.problems],
        }
        if self.steps:
            found["steps"] = list(self.steps)
        if self.siblings:
            found["siblings"] = [sibling.to_json() for sibling in self.siblings]
        return found


class ConfigurationError(UnifiedFluxError):
    """A setting, a key or a plugin is not as it must be."""

    usual_exit_code = 2


class MissingKey(ConfigurationError):
    """A provider was chosen and there is no key for it."""

    usual_exit_code = 4


class TranslationError(UnifiedFluxError):
    """The request cannot be said to this model. Nothing was sent."""

    usual_exit_code = 3


class InvalidRequest(TranslationError):
    """A value of the request that no provider could take."""


class UnsupportedField(TranslationError):
    """The model cannot say a field as asked, and no loss was allowed."""


class ContractViolation(TranslationError):
    """The translated payload breaks the model's JSON Schema."""


class OutputError(UnifiedFluxError):
    """The picture cannot be written where it was asked to go."""

    usual_exit_code = 3


class JournalError(UnifiedFluxError):
    """The journal cannot be read or written; before paying, that is a reason not to."""


class TransportError(UnifiedFluxError):
    """The exchange itself failed."""

    usual_exit_code = 8
    about_money = True


class NotDelivered(TransportError):
    """No byte of the request reached the provider: sending again is safe."""


class OutcomeUnknown(TransportError):
    """The request left and no answer tells what became of it."""

    usual_exit_code = 9


class DownloadFailed(TransportError):
    """The picture was made and could not be fetched."""

    usual_exit_code = 9


class ProviderError(UnifiedFluxError):
    """The provider's reasoned no.

    Args:
        status: The HTTP status, None where the refusal stood in a task.
        code: The provider's own error code, as text.
        retry_after: Seconds the provider asked to wait.
    """

    usual_exit_code = 8
    about_money = True

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        **context: Any,
    ) -> None:
        super().__init__(message, **context)
        self.status = status
        self.code = code
        self.retry_after = retry_after

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "status": self.status, "code": self.code}


class Unauthorized(ProviderError):
    """The key is missing, wrong, revoked, or lacks the right."""

    usual_exit_code = 4


class InsufficientFunds(ProviderError):
    """The account cannot pay for it."""

    usual_exit_code = 5


class RateLimited(ProviderError):
    """Too many requests for now."""

    usual_exit_code = 6


class Moderated(ProviderError):
    """The provider refused the content."""

    usual_exit_code = 7


class JobFailed(ProviderError):
    """The job was accepted and did not succeed."""


class ProtocolError(UnifiedFluxError):
    """An answer that breaks the provider's own contract."""

    usual_exit_code = 8
    about_money = True


class JobTimeout(UnifiedFluxError):
    """The job is accepted and not finished in the time that was given; it carries the job."""

    usual_exit_code = 9


class SpendLimitExceeded(UnifiedFluxError):
    """A limit that the user set would be passed."""

    usual_exit_code = 5
