"""`compare --run`: the pictures of every provider that can make them, and the page that shows them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from unified_flux.cli.delivery import PARTLY_DONE, Delivery, image_json
from unified_flux.cli.group import print_json
from unified_flux.cli.live import Watch
from unified_flux.cli.session import Compared, Session
from unified_flux.client import Client
from unified_flux.compare import Candidate
from unified_flux.errors import Charged, InvalidRequest, MissingKey, OutputError, UnifiedFluxError
from unified_flux.limits import Limits, call_limit
from unified_flux.many import Asked, Begun, Stream
from unified_flux.money import Charge, Money
from unified_flux.output import Target, slug
from unified_flux.prices import Rates
from unified_flux.reports.gallery import Exhibit, gallery
from unified_flux.result import Image, ImageResult
from unified_flux.router import Router
from unified_flux.settings import key_name
from unified_flux.spool import reason, write_whole
from unified_flux.text import safe

TEMPLATE = "{provider}-{model}-{job}"
PAGE = "gallery.html"


@dataclass(slots=True, kw_only=True)
class Run:
    """One candidate that is to make pictures, and what came of it."""

    candidate: Candidate
    client: Client
    result: ImageResult | None = None
    written: tuple[tuple[Image, Path], ...] = ()
    error: UnifiedFluxError | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.candidate.provider}/{self.candidate.model}"

    @property
    def charge(self) -> Charge:
        """What its pictures cost, as far as is known."""
        return self.result.charge if self.result else Charge()

    @property
    def charged(self) -> str:
        """The same for a person, with its basis."""
        if self.result is not None:
            said = self.charge.said(sandbox=self.client.sandbox)
            return f"{said} ({self.charge.basis})" if self.charge.money else said
        known = self.error.charged if self.error else Charged.NO
        words = {Charged.NO: "nothing was charged", Charged.MAYBE: "it may have been charged"}
        return words.get(known, "it was charged")


def run(told: Compared, values: dict[str, Any], show: Callable[[], None]) -> int:
    """Show the comparison, ask, make the pictures side by side; the exit code."""
    if not values["as_json"]:
        show()
    watch = Watch(values["quiet"])
    runs = _ready(told, values, watch)
    _check_cost(told, runs, values["max_cost"])
    _ask_first(told, runs, sure=values["yes"])
    folder = _folder(values, told.request.prompt)
    page = folder / PAGE
    _make(folder, page, force=values["force"])
    target = Target(str(folder / TEMPLATE), values["force"])
    with watch:
        _generate_all(told, runs, target, lines=not values["as_json"])
    _write_page(told, runs, page, force=values["force"])
    if values["as_json"]:
        print_json(_json(told, runs, page))
    else:
        click.echo(f"{safe(page)}  all of it side by side")
    for one in runs:
        if one.error:
            click.echo(f"error: {one.name}: {one.error}", err=True)
    errors = [one.error for one in runs if one.error]
    if not errors:
        return 0
    came = any(one.written for one in runs)
    return PARTLY_DONE if came else max(error.exit_code for error in errors)


def _ready(told: Compared, values: dict[str, Any], watch: Watch) -> list[Run]:
    """The candidates that can make pictures now; why the others cannot is told.

    Raises:
        MissingKey, InvalidRequest: When none can.
    """
    runs: list[Run] = []
    keyless: list[str] = []
    for one in told.comparison.candidates:
        if not one.possible:
            told.note(f"{one.provider}/{one.model} is left out: it cannot do this as it stands")
        elif not values["sandbox"] and told.config.key(one.provider) is None:
            keyless.append(key_name(one.provider))
            told.note(f"{one.provider}/{one.model} is left out: {keyless[-1]} is not set")
        else:
            client = Client(
                one.provider,
                sandbox=values["sandbox"],
                config=told.config.overridden({"model": one.model}),
                allow=values["allow"],
                adapt=values["adapt"],
                timeout=values["timeout"],
                on_event=watch,
            )
            watch.emulated, watch.journalled = client.emulated, client.journal is not None
            runs.append(Run(candidate=one, client=client))
    if runs:
        return runs
    if keyless:
        names = " or ".join(dict.fromkeys(keyless))
        raise MissingKey(
            "no provider that can do this has a key; nothing was sent",
            next_step=f"Set {names}; --sandbox needs none.",
        )
    raise InvalidRequest(
        "no provider can do this request as it stands; nothing was sent",
        next_step="--adapt permits every approximation and drop at once.",
    )


def _total(told: Compared, runs: list[Run]) -> str:
    """What all of it will cost, in USD where every part is known there, else part by part."""
    quotes = [one.candidate.quote for one in runs]
    if all(quote.usd for quote in quotes):
        amount = sum((quote.usd.amount for quote in quotes if quote.usd), Decimal(0))
        return f"{amount:f} USD"
    sums: dict[str, Money] = {}
    for quote in quotes:
        if quote.money:
            known = sums.get(quote.money.unit)
            sums[quote.money.unit] = known + quote.money if known else quote.money
    unknown = [one.name for one in runs if one.candidate.quote.money is None]
    parts = [f"{money.amount:f} {money.unit}" for money in sums.values()]
    parts += [f"what nobody can say ({', '.join(unknown)})"] if unknown else []
    return " and ".join(parts)


def _check_cost(told: Compared, runs: list[Run], max_cost: str | None) -> None:
    """The limit of this command counts all providers together."""
    if max_cost is None:
        return
    limit = call_limit(max_cost)
    limits = Limits(
        limits=(limit,),
        rates=told.config.tariff.rates,
        unknown_allowed=told.policy.unknown_price,
        how_to_price="compare says what would make it known.",
    )
    quotes = [one.candidate.quote for one in runs]
    limits.check(limit, [], [q.most.times(q.pictures) if q.most else None for q in quotes])


def _ask_first(told: Compared, runs: list[Run], *, sure: bool) -> None:
    """Paying is the person's own word, given for this total."""
    total = _total(told, runs)
    pictures = sum(one.candidate.quote.pictures for one in runs)
    what = "1 picture" if pictures == 1 else f"{pictures} pictures"
    told.note(f"{what} of {', '.join(one.name for one in runs)}: {total}")
    if sure or all(one.client.sandbox for one in runs):
        return
    if not sys.stdin.isatty():
        raise InvalidRequest(
            "this would be paid, and nobody is here to ask; nothing was sent",
            next_step="--yes says that this is meant.",
        )
    click.confirm("Pay for them?", abort=True, err=True)


def _folder(values: dict[str, Any], prompt: str) -> Path:
    if values["output"]:
        return Path(values["output"])
    return Path(f"compare-{slug(prompt, 40) or 'pictures'}-{time.strftime('%Y%m%d-%H%M%S')}")


def _make(folder: Path, page: Path, *, force: bool) -> None:
    """The folder, before anything is paid; and no page of an earlier comparison in it."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {safe(folder)}: {reason(error)}") from None
    Target(str(folder / TEMPLATE), force).check([])
    if page.exists() and not force:
        raise OutputError(
            f"{safe(page)} exists already",
            next_step="--force overwrites it, or choose another -o.",
        )


def _generate_all(told: Compared, runs: list[Run], target: Target, *, lines: bool) -> None:
    """All providers at once; an interrupt stops them all at their next step."""
    asked = Asked(request=told.request, destination=target.absolute, force=target.force)
    begun = [Begun(one, one.client.making(asked), one.client.world) for one in runs]
    with ExitStack() as clients, Stream(begun, len(begun)) as stream:
        for one in runs:
            clients.enter_context(one.client)
        for one, end in stream:
            told_lines = _delivered(told, one, target, end)
            for line in told_lines if lines else ():
                click.echo(line)


def _delivered(
    told: Compared, one: Run, target: Target, end: ImageResult | UnifiedFluxError
) -> list[str]:
    """One provider's pictures, to their files, as lines; what goes wrong stops no other."""
    if isinstance(end, UnifiedFluxError):
        one.error = end
        return []
    try:
        session = Session(router=Router(clients=[one.client]), quiet=told.quiet)
        delivery = Delivery(session=session, result=end, target=target, report=end.report)
        written, failed = delivery.write()
    except UnifiedFluxError as error:
        one.error = error
        return []
    one.result, one.written = end, tuple(written)
    one.error = failed[0].error if failed else None
    return [delivery.line(image, path) for image, path in written]


def _write_page(told: Compared, runs: list[Run], page: Path, *, force: bool) -> None:
    rates = told.config.tariff.rates
    exhibits = []
    for one in runs:
        usd, basis = rates.usd(one.charge.money), one.charge.basis
        exhibits.append(
            Exhibit(
                provider=one.candidate.provider,
                model=one.candidate.model,
                sandbox=one.client.sandbox,
                pictures=tuple(path for _, path in one.written),
                entries=one.candidate.translation.report.entries,
                quoted=str(one.candidate.quote),
                charged=one.charged,
                usd=usd.amount if usd else None,
                usd_basis=rates.basis(one.charge.money.unit, basis) if one.charge.money else None,
                seconds=one.result.seconds if one.result else None,
                error=one.error.message if one.error else None,
                notes=tuple(note for image, _ in one.written for note in image.notes),
            )
        )
    text = gallery(
        told.request.prompt,
        exhibits,
        made_at=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        total=f"quoted {_total(told, runs)}",
    )
    try:
        write_whole(page, [text.encode()], force=force)
    except OSError as error:
        raise OutputError(f"{safe(page)}: {reason(error)}", charged=Charged.YES) from None


def _in_usd(rates: Rates, charge: Charge) -> dict[str, str | None]:
    usd = rates.usd(charge.money)
    basis = rates.basis(charge.money.unit, charge.basis) if charge.money else None
    return {"usd": f"{usd.amount:f}" if usd else None, "usd_basis": str(basis) if basis else None}


def _json(told: Compared, runs: list[Run], page: Path) -> dict[str, Any]:
    rates = told.config.tariff.rates
    return {
        "schema_version": 1,
        **told.comparison.to_json(),
        "runs": [
            {
                "provider": one.candidate.provider,
                "model": one.candidate.model,
                "sandbox": one.client.sandbox,
                "images": [image_json(image, path) for image, path in one.written],
                "quote": one.candidate.quote.to_json(),
                "charge": {**one.charge.to_json(), **_in_usd(rates, one.charge)},
                "seconds": round(one.result.seconds, 3) if one.result else None,
                "error": one.error.to_json() if one.error else None,
            }
            for one in runs
        ],
        "total": _total(told, runs),
        "gallery": str(page),
    }
