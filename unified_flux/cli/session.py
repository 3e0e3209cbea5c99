"""From flags to a client and a request: settings read, provider chosen, prompt and references named."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import click

from unified_flux import config as configuration, registry
from unified_flux.access import open_journal
from unified_flux.client import Client
from unified_flux.compare import Comparison, compare
from unified_flux.config import Config
from unified_flux.contract import Card, typed
from unified_flux.errors import InvalidRequest
from unified_flux.images import EXTENSION
from unified_flux.output import Target, names_of
from unified_flux.record import Record
from unified_flux.references import opened
from unified_flux.report import Policy, Report
from unified_flux.request import ImageRequest, Reference
from unified_flux.router import Router
from unified_flux.text import safe

_SAME_NAME = (
    "model", "aspect_ratio", "resolution", "seed", "prompt_upsampling", "safety_tolerance",
    "translate_prompt", "watermark", "n", "client_request_id", "tags",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a command works with: the providers that it may speak to, and how to talk to the person."""

    router: Router
    quiet: bool

    @property
    def client(self) -> Client:
        """The provider of a command that speaks to one."""
        return self.router.clients[0]

    def note(self, text: str) -> None:
        """A line for humans, on standard error."""
        if not self.quiet:
            click.echo(text, err=True)


def open_session(
    values: Mapping[str, Any],
    *,
    fallback: str | None = None,
    several: bool = False,
    overrides: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Session:
    """Read the settings and choose the provider.

    Args:
        values: The command's flags.
        fallback: What to say when the sandbox serves because nothing at all is configured; without
            it, that is an error.
        several: Whether several providers may be chosen from, for each request anew.
        overrides: Settings that the command itself wants otherwise.
        settings: For `Client`.
    """
    if values.get("verbose"):
        log_to_stderr()
    config = read_config(values).overridden(overrides or {})
    asked = bool(values.get("sandbox"))
    named = config.get("provider") or config.get("fallback")
    nothing = not (asked or named or config.keys())
    sandbox = asked or (nothing and fallback is not None)
    if several:
        router = Router.of(config, sandbox=sandbox, **settings)
    else:
        chosen = registry.choose_provider(config, sandbox=sandbox)
        router = Router(clients=[Client(chosen, sandbox=sandbox, config=config, **settings)])
    session = Session(router=router, quiet=bool(values.get("quiet")))
    for warning in config.warnings:
        session.note(f"warning: {warning}")
    if nothing and fallback is not None:
        session.note(fallback.format(provider=session.client.provider))
    return session


def log_to_stderr() -> None:
    """Our own log and nobody else's: other libraries' may show headers."""
    log = logging.getLogger("unified_flux")
    log.handlers = [logging.StreamHandler(sys.stderr)]
    log.setLevel(logging.DEBUG)
    log.propagate = False


def read_config(values: Mapping[str, Any]) -> Config:
    """The settings of this working folder; the provider and model flags win over all."""
    flags = {name: values.get(name) for name in ("provider", "model", "queue")}
    return configuration.load(registry.names(), arguments=flags)


def journalled(name: str) -> Record | None:
    """The journal's record of a job, None where it has none or is off."""
    journal = open_journal(read_config({}))
    if journal is None or not journal.exists():
        return None
    try:
        return journal.find(name)
    finally:
        journal.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as the command line asked it, and where its pictures go."""

    session: Session
    request: ImageRequest
    target: Target
    format_from_output: bool

    def check_target(self) -> None:
        """Refuse, before paying, a place that pictures cannot go to, whoever will make them."""
        for _, card in self.session.router.cards(self.request.model):
            check_target(self.target, self.request, card)

    def explain(self, report: Report) -> Report:
        """The report, saying so where `-o` chose the format."""
        if not self.format_from_output:
            return report
        reason = f"asked by -o {safe(self.target.asked, 80)}"
        entries = tuple(
            replace(entry, reason=reason) if entry.field == "output_format" else entry
            for entry in report.entries
        )
        return replace(report, entries=entries)


def check_target(target: Target, request: ImageRequest, card: Card) -> None:
    """Refuse, before paying, a place that a model's pictures cannot go to.

    Raises:
        OutputError: When it does not exist, or is taken.
    """
    # What placeholders stand for, picture by picture; the jobs are not known yet.
    names = names_of(request, card)
    # The formats that may come: the one asked for, the card's, or any where it has no say.
    options, asked = card.options("output_format"), request.output_format
    kinds = (asked,) if asked is not None and asked in options else options
    target.check(names, kinds or tuple(EXTENSION))


def ask(values: Mapping[str, Any], *, fallback: str, **settings: Any) -> Asked:
    """The flags of generate and translate as a client, a request and a target."""
    session = open_session(
        values,
        fallback=fallback,
        several=True,
        allow=values["allow"],
        adapt=values["adapt"],
        timeout=values["timeout"],
        **settings,
    )
    target = Target(values["output"], values["force"])
    cards = [card for _, card in session.router.cards()]
    extra = _extra(cards, values["sets"])
    # `-o x.png` asks for png where the model has a choice that includes it.
    wanted = target.wanted_format
    offered = all(wanted in card.options("output_format") for card in cards)
    suggested = wanted if offered else None
    return Asked(
        session=session,
        request=read_request(values, output_format=suggested, extra=extra),
        target=target,
        format_from_output=suggested is not None and not values["output_format"],
    )


def read_request(
    values: Mapping[str, Any],
    *,
    output_format: str | None = None,
    extra: Mapping[str, Mapping[str, Any]] | None = None,
) -> ImageRequest:
    """The flags of a request.

    Args:
        output_format: What is asked for where no flag says it.
    """
    width, height = values["size"] or (None, None)
    return ImageRequest(
        prompt=read_prompt(values["prompt"]),
        references=tuple(_reference(image) for image in values["images"]),
        width=width,
        height=height,
        output_format=values["output_format"] or output_format,
        extra=extra or {},
        **{name: values[name] for name in _SAME_NAME},
    )


def _extra(cards: Sequence[Card], sets: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """`--set` as the provider's own parameters, typed by the card."""
    if sets and len(cards) > 1:
        raise InvalidRequest(
            "--set names one provider's own parameter, and several providers may be asked",
            next_step="Say with -p which provider is meant.",
        )
    extra: dict[str, Any] = {}
    for key, text in sets:
        if key in extra:
            raise InvalidRequest(f"--set {safe(key, 60)} is given twice; give it once")
        extra[key] = typed(text, cards[0].leaves.get(cards[0].parameter(key), {}))
    return {cards[0].provider: extra} if extra else {}


def read_prompt(argument: str) -> str:
    """The prompt itself, `@file`, or `-` for standard input.

    Raises:
        InvalidRequest: When the file cannot be read as text.
    """
    if argument == "-":
        return _stdin().read().rstrip("\n")
    if not argument.startswith("@") or argument == "@":
        return argument
    try:
        return Path(argument[1:]).read_text("utf-8").rstrip("\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise InvalidRequest(
            f"the prompt's file {safe(argument[1:])}: {reason.lower()}",
            next_step="A prompt that begins with @ names a file; pipe it into - to say it as it is.",
        ) from None


def _stdin() -> TextIO:
    if sys.stdin is None or sys.stdin.closed:
        raise InvalidRequest("standard input is closed, so - cannot be read")
    return sys.stdin


def _reference(image: str) -> Reference:
    if image == "-":
        return Reference(_stdin().buffer, name="stdin")
    return Reference(image)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A request as the command line asked it, held against every provider."""

    config: Config
    request: ImageRequest
    policy: Policy
    comparison: Comparison
    quiet: bool

    def note(self, text: str) -> None:
        """A line for humans, on standard error."""
        if not self.quiet:
            click.echo(text, err=True)


def open_comparison(values: Mapping[str, Any]) -> Compared:
    """The flags of compare as a comparison; nothing is sent."""
    if values["verbose"]:
        log_to_stderr()
    config = read_config({})
    policy = Policy.of([*config.policy.allow, *values["allow"]], values["adapt"])
    request = opened(read_request({**values, "model": None}))
    comparison = compare(
        request,
        config=config,
        policy=policy,
        providers=_names(values["providers"]),
        models=_names(values["models"]),
        sandbox=bool(values["sandbox"]),
    )
    return Compared(
        config=config,
        request=request,
        policy=policy,
        comparison=comparison,
        quiet=bool(values["quiet"]),
    )


def _names(said: Sequence[str]) -> tuple[str, ...]:
    """Names as flags give them, several in one or one in each; each name once."""
    names = [name.strip() for one in said for name in one.split(",")]
    return tuple(dict.fromkeys(name for name in names if name))
