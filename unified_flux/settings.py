"""The table of settings: names, kinds, defaults, and the variables that follow a provider's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from unified_flux.errors import ConfigurationError
from unified_flux.retry import Pace
from unified_flux.text import safe

PREFIX = "UNIFIED_FLUX_"
CALL = "the call"
# Its address may hold a password.
QUEUE = "queue"
# The variables that two providers' own tools read; no plugin from outside has one.
ALIASES = {"fal": "FAL_KEY", "replicate": "REPLICATE_API_TOKEN"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting: its dotted name in TOML, its kind, its default, what it does."""

    name: str
    kind: type
    default: Any
    help: str
    variable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Settings of the wire; times in seconds.

    Attributes:
        connect_timeout, read_timeout: For connecting, and between two bytes of an answer.
        total_timeout: For one whole answer.
        ca_bundle: A file of certificates, None for the one that requests ships.
        proxies: The proxies for a URL, as requests takes them.
    """

    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    total_timeout: float = 300.0
    ca_bundle: str | None = None
    proxies: Callable[[str], Mapping[str, str]] = lambda url: {}


_PACE, _NETWORK = Pace(), Network()
SETTINGS = (
    Setting(name="provider", kind=str, default=None, help="which provider to use", variable=True),
    Setting(name="model", kind=str, default="flux-kontext-pro", help="family or provider's model id", variable=True),
    Setting(name="fallback", kind=list, default=[], help="providers to go on with, in this order, where one refuses before anything is paid"),
    Setting(name="fallback_max_increase", kind=str, default="0%", help="how much more than the first a fallback may cost"),
    Setting(name="project", kind=str, default=None, help="the project that costs are reported under", variable=True),
    Setting(name="home", kind=str, default=None, help="folder of the journal and of fetched pictures", variable=True),
    Setting(name="allow", kind=list, default=[], help="losses allowed in translation, such as drop:seed"),
    Setting(name="plugins.allow", kind=list, default=None, help="the only providers whose plugins may load; left out, all"),
    Setting(name="timeout", kind=float, default=_PACE.timeout, help="seconds until a picture must be done"),
    Setting(name="retry_within", kind=float, default=_PACE.retry_within, help="seconds to get an unpaid exchange through"),
    Setting(name="resend_within", kind=float, default=_PACE.resend_within, help="seconds in which a submit of unknown outcome is sent again under its own key"),
    Setting(name="connect_timeout", kind=float, default=_NETWORK.connect_timeout, help="seconds to connect"),
    Setting(name="read_timeout", kind=float, default=_NETWORK.read_timeout, help="seconds between two bytes of an answer"),
    Setting(name="threads", kind=int, default=128, help="threads that many pictures at once may take"),
    Setting(name=QUEUE, kind=str, default=None, help="PostgreSQL address of the journal and queue that many machines share", variable=True),
    Setting(name="lease", kind=float, default=20.0, help="seconds after which a worker of a queue that gives no sign counts as dead"),
    Setting(name="spool_days", kind=float, default=7.0, help="days that fetched pictures stay in the spool"),
    Setting(name="spool_mb", kind=float, default=2000.0, help="MB of fetched pictures in the spool, those of the last day not counted"),
    Setting(name="journal.enabled", kind=bool, default=True, help="whether jobs are kept on disk, so that none is lost with its process"),
    Setting(name="journal.store_prompts", kind=bool, default=True, help="whether the journal keeps prompts, or only their SHA-256 and length"),
    Setting(name="journal.same_within", kind=float, default=86400.0, help="seconds in which the same request with the same client_request_id is the same job"),
    Setting(name="journal.wait", kind=float, default=5.0, help="seconds to wait for another process that writes the journal"),
)  # fmt: skip
BY_NAME = {setting.name: setting for setting in SETTINGS}


def key_name(provider: str) -> str:
    """The variable that holds a provider's key."""
    return f"{variable(provider)}_API_KEY"


def url_name(provider: str) -> str:
    """The variable that holds another address for a provider."""
    return f"{variable(provider)}_BASE_URL"


def variable(provider: str) -> str:
    """A provider's name as variables spell it."""
    return provider.upper().replace("-", "_")


def typed(setting: Setting, value: Any, source: str) -> Any:
    """A setting's value as its kind, or a ConfigurationError that says what it must be."""
    if setting.kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if 0 < value < float("inf"):
            return float(value)
    elif setting.kind is int:
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    elif setting.kind is bool:
        if isinstance(value, bool):
            return value
    elif setting.kind is list:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value
    elif setting.kind is str and isinstance(value, str) and value:
        return value
    wanted = {
        float: "a number above 0",
        int: "a whole number above 0",
        bool: "true or false",
        list: "a list of texts",
        str: "a text",
    }[setting.kind]
    place = "" if source == CALL else f"{source}: "
    said = "another kind" if setting.name == QUEUE and value else safe(value, 60)
    raise ConfigurationError(f"{place}{setting.name} must be {wanted}, not {said}")
