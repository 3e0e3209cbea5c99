"""One `ImageRequest`, any provider of FLUX image models.

Importing this package imports none of its rooms: each name is fetched from its room when it is
first used.
"""

__version__ = "0.1.0"

# Type checkers read the names here; at run time they are fetched when first used.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from unified_flux.async_client import AsyncClient as AsyncClient
    from unified_flux.client import Client as Client
    from unified_flux.compare import Candidate as Candidate, Comparison as Comparison
    from unified_flux.effects import Event as Event
    from unified_flux.errors import (
        Charged as Charged,
        ConfigurationError as ConfigurationError,
        ContractViolation as ContractViolation,
        DownloadFailed as DownloadFailed,
        InsufficientFunds as InsufficientFunds,
        InvalidRequest as InvalidRequest,
        JobFailed as JobFailed,
        JobTimeout as JobTimeout,
        JournalError as JournalError,
        MissingKey as MissingKey,
        Moderated as Moderated,
        NotDelivered as NotDelivered,
        OutcomeUnknown as OutcomeUnknown,
        OutputError as OutputError,
        Problem as Problem,
        ProtocolError as ProtocolError,
        ProviderError as ProviderError,
        RateLimited as RateLimited,
        SpendLimitExceeded as SpendLimitExceeded,
        TranslationError as TranslationError,
        TransportError as TransportError,
        Unauthorized as Unauthorized,
        UnifiedFluxError as UnifiedFluxError,
        UnsupportedField as UnsupportedField,
    )
    from unified_flux.many import Asked as Asked, Made as Made, Many as Many
    from unified_flux.money import Basis as Basis, Charge as Charge, Money as Money
    from unified_flux.pricing import Kind as Kind, Observed as Observed, Quote as Quote
    from unified_flux.record import Record as Record
    from unified_flux.report import (
        Entry as Entry,
        Outcome as Outcome,
        Policy as Policy,
        Report as Report,
    )
    from unified_flux.request import ImageRequest as ImageRequest, Reference as Reference
    from unified_flux.result import (
        Failed as Failed,
        Image as Image,
        ImageResult as ImageResult,
        Recovered as Recovered,
        Step as Step,
    )
    from unified_flux.router import Router as Router
    from unified_flux.translation import Translation as Translation
    from unified_flux.wire import Job as Job, Phase as Phase

_ROOMS = {
    "async_client": ("AsyncClient",),
    "client": ("Client",),
    "compare": ("Candidate", "Comparison"),
    "effects": ("Event",),
    "errors": (
        "Charged",
        "ConfigurationError",
        "ContractViolation",
        "DownloadFailed",
        "InsufficientFunds",
        "InvalidRequest",
        "JobFailed",
        "JobTimeout",
        "JournalError",
        "MissingKey",
        "Moderated",
        "NotDelivered",
        "OutcomeUnknown",
        "OutputError",
        "Problem",
        "ProtocolError",
        "ProviderError",
        "RateLimited",
        "SpendLimitExceeded",
        "TranslationError",
        "TransportError",
        "Unauthorized",
        "UnifiedFluxError",
        "UnsupportedField",
    ),
    "many": ("Asked", "Made", "Many"),
    "money": ("Basis", "Charge", "Money"),
    "pricing": ("Kind", "Observed", "Quote"),
    "record": ("Record",),
    "report": ("Entry", "Outcome", "Policy", "Report"),
    "request": ("ImageRequest", "Reference"),
    "result": ("Failed", "Image", "ImageResult", "Recovered", "Step"),
    "router": ("Router",),
    "translation": ("Translation",),
    "wire": ("Job", "Phase"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}
__all__ = ["__version__", *_ROOM_OF]  # noqa: PLE0604 - the table above is the list


def __getattr__(name: str) -> object:
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{_ROOM_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
