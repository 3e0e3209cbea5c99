"""One `ImageRequest`, any provider of FLUX image models.

Importing this package imports none of its rooms: each name is fetched from its room when it is
first used.
"""

__version__ = "0.1.0"

_ROOMS = {
    "client": ("Client",),
    "errors": (
        "Charged",
        "ConfigurationError",
        "ContractViolation",
        "DownloadFailed",
        "InsufficientFunds",
        "InvalidRequest",
        "JobFailed",
        "JobTimeout",
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
    "money": ("Basis", "Charge", "Money"),
    "report": ("Entry", "Outcome", "Policy", "Report"),
    "request": ("ImageRequest", "Reference"),
    "result": ("Failed", "Image", "ImageResult"),
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
