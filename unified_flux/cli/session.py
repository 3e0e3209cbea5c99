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
from unified_flux.config import Config
from unified_flux.contract import Card, typed
from unified_flux.errors import InvalidRequest
from unified_flux.images import EXTENSION
from unified_flux.output import Target
from unified_flux.record import Record
from unified_flux.report import Report
from unified_flux.request import ImageRequest, Reference
from unified_flux.text import safe

_SAME_NAME = (
    "model", "aspect_ratio", "resolution", "seed", "prompt_upsampling", "safety_tolerance",
    "translate_prompt", "watermark", "n", "client_request_id",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a command works with: the chosen provider's client, and how to talk to the person."""

    client: Client
    quiet: bool

    def note(self, text: str) -> None:
        """A line for humans, on standard error."""
        if not self.quiet:
            click.echo(text, err=True)


def open_session(
    values: Mapping[str, Any], *, fallback: str | None = None, **settings: Any
) -> Session:
    """Read the settings and choose the provider.

    Args:
        values: The command's flags.
        fallback: What to say when the sandbox serves because nothing at all is configured; without
            it, that is an error.
        settings: For `Client`.
    """
    if values.get("verbose"):
        _log_to_stderr()
    config = read_config(values)
    asked = bool(values.get("sandbox"))
    nothing = not asked and config.get("provider") is None and not config.keys()
    sandbox = asked or (nothing and fallback is not None)
    chosen = registry.choose_provider(config, sandbox=sandbox)
    client = Client(chosen, sandbox=sandbox, config=config, **settings)
    session = Session(client=client, quiet=bool(values.get("quiet")))
    for warning in config.warnings:
        session.note(f"warning: {warning}")
    if nothing and fallback is not None:
        session.note(fallback.format(provider=chosen))
    return session


def _log_to_stderr() -> None:
    """Our own log and nobody else's: other libraries' may show headers."""
    log = logging.getLogger("unified_flux")
    log.handlers = [logging.StreamHandler(sys.stderr)]
    log.setLevel(logging.DEBUG)
    log.propagate = False


def read_config(values: Mapping[str, Any]) -> Config:
    """The settings of this working folder; the provider and model flags win over all."""
    flags = {name: values.get(name) for name in ("provider", "model")}
    return configuration.load(registry.names(), arguments=flags)


def journalled(name: str) -> Record | None:
    """The journal's record of a job, None where it has none or is off."""
    journal = open_journal(read_config({}))
    if journal is None or not journal.path.exists():
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

    def names(self) -> list[dict[str, Any]]:
        """What placeholders stand for, picture by picture; the jobs are not known yet."""
        client = self.session.client
        return [
            {
                "prompt": picture.prompt,
                "provider": client.provider,
                "model": client.card(picture.model).model,
                "seed": picture.seed,
                "index": index,
            }
            for index, picture in enumerate(self.request.pictures(), 1)
        ]

    def formats(self) -> tuple[str, ...]:
        """The formats that may come: the one asked for, the card's, or any where it has no say."""
        options = self.session.client.card(self.request.model).options("output_format")
        asked = self.request.output_format
        return (asked,) if asked is not None and asked in options else options or tuple(EXTENSION)

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


def ask(values: Mapping[str, Any], *, fallback: str, **settings: Any) -> Asked:
    """The flags of generate and translate as a client, a request and a target."""
    session = open_session(
        values,
        fallback=fallback,
        allow=values["allow"],
        adapt=values["adapt"],
        timeout=values["timeout"],
        **settings,
    )
    target = Target(values["output"], values["force"])
    card = session.client.card()
    extra = _extra(card, values["sets"])
    # `-o x.png` asks for png where the model has a choice that includes it.
    wanted = target.wanted_format
    suggested = wanted if wanted in card.options("output_format") else None
    width, height = values["size"] or (None, None)
    request = ImageRequest(
        prompt=read_prompt(values["prompt"]),
        references=tuple(_reference(image) for image in values["images"]),
        width=width,
        height=height,
        output_format=values["output_format"] or suggested,
        extra={session.client.provider: extra} if extra else {},
        **{name: values[name] for name in _SAME_NAME},
    )
    return Asked(
        session=session,
        request=request,
        target=target,
        format_from_output=suggested is not None and not values["output_format"],
    )


def _extra(card: Card, sets: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """`--set` as the provider's own parameters, typed by the card."""
    extra: dict[str, Any] = {}
    for key, text in sets:
        if key in extra:
            raise InvalidRequest(f"--set {safe(key, 60)} is given twice; give it once")
        extra[key] = typed(text, card.leaves.get(card.parameter(key), {}))
    return extra


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
