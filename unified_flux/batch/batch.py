"""`Batch`: a file of requests, a router, and a place for the pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from unified_flux import config as configuration, registry
from unified_flux.batch.checking import Check, Checked, Totals
from unified_flux.batch.costs import Ceiling
from unified_flux.batch.parcel import Parcel
from unified_flux.batch.places import Places
from unified_flux.batch.reading import read_lines
from unified_flux.batch.results import Outcome
from unified_flux.batch.running import Run, Tally
from unified_flux.batch.source import Source, open_source
from unified_flux.batch.wishes import FOR_EVER, Wishes, mark_of
from unified_flux.errors import InvalidRequest
from unified_flux.journal.scratch import Scratch
from unified_flux.many import CONCURRENCY
from unified_flux.money import Money
from unified_flux.output import slug
from unified_flux.router import Router

# What a batch's router is to be set to.
LASTING = {"journal.same_within": FOR_EVER}


class Batch:
    """Many requests from a file; a context manager.

    Args:
        file: A path, or an open binary file such as `sys.stdin.buffer`.
        provider: As for `Router.from_config`.
        sandbox: Let emulators answer.
        format: `jsonl` or `csv`; by the suffix, or else by how the file begins.
        name: What tells this batch from others, from one run to the next; the file's absolute path,
            or the hash of what came through a pipe.
        out: Folder or template for the pictures; a folder beside the file where absent.
        force: Whether files may be overwritten there.
        again: Pay once more for what was made before.
        router: Takes the place of provider, sandbox and settings; it is closed with the batch.
        settings: As for `Client`: allow, adapt, timeout.

    Raises:
        InvalidRequest: When the file cannot be read.
        OutputError: When pictures cannot go there.
    """

    def __init__(
        self,
        file: str | Path | IO[bytes],
        *,
        provider: str | None = None,
        sandbox: bool = False,
        format: str | None = None,
        name: str | None = None,
        out: str | Path | None = None,
        force: bool = False,
        again: bool = False,
        router: Router | None = None,
        **settings: Any,
    ) -> None:
        with ExitStack() as stack:
            self.source: Source = stack.enter_context(open_source(file, format=format))
            self._scratch = stack.enter_context(Scratch())
            self.places = Places.of(out or self._beside("-pictures"), self._scratch, force=force)
            self.router: Router = stack.enter_context(
                router or _router(provider, sandbox=sandbox, **settings)
            )
            self._open = stack.pop_all()
        self._name = name or self.source.name
        wishes = Wishes(mark=mark_of(self._name), scratch=self._scratch)
        self._check = Check(
            router=self.router,
            wishes=wishes,
            scratch=self._scratch,
            places=self.places,
            again=again,
        )
        self._totals: Totals | None = None
        self._run: Run | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of connections, the journal and what was put on disk for this run."""
        self._open.close()

    def results_path(self, suffix: str = ".results.jsonl") -> Path:
        """Where results go by default: beside the file."""
        return self._beside(suffix)

    def ceiling(self, max_cost: str | Money) -> Ceiling:
        """The most that all lines together may cost.

        Raises:
            InvalidRequest: When that is no money.
        """
        first, *others = self.router.clients
        return Ceiling.of(
            max_cost,
            first.config.tariff.rates,
            None if others else first.provider,
            unknown_allowed=first.policy.unknown_price,
        )

    def check(self, each: Callable[[Checked], None] = lambda _: None) -> Totals:
        """Translate and quote every line; nothing is sent.

        Args:
            each: Told what was found of each line.

        Raises:
            InvalidRequest: When the file as a whole cannot be read.
        """
        self._scratch.forget_names()
        self._totals = self._check.all(read_lines(self.source), each)
        return self._totals

    def require_key(self) -> None:
        """Told once, rather than by every line.

        Raises:
            MissingKey: When no provider that may be asked has its key.
        """
        clients = self.router.clients
        if not any(one.emulated or one.config.key(one.provider) for one in clients):
            clients[0].config.secret(clients[0].provider)

    def prepare(
        self,
        each: Callable[[Outcome], None] = lambda _: None,
        *,
        unchecked: bool = False,
        ceiling: Ceiling | None = None,
        concurrency: int = CONCURRENCY,
        fail_fast: bool = False,
    ) -> Run:
        """A run, ready to begin; its `tally` may be read and its `drain` called by other threads.

        Args:
            each: Told what became of each line, as it comes.
            unchecked: Whether lines are checked only as they come.
            ceiling: See `ceiling`.
            concurrency: How many lines are under way at once.
            fail_fast: Send nothing more after the first line that fails.

        Raises:
            InvalidRequest: When a line cannot be asked, or the file was not checked.
            SpendLimitExceeded: When all together may cost more than `ceiling`.
            MissingKey: When nobody can be asked.
            OutputError: When pictures cannot go where they are to go.
        """
        totals = self._totals
        if not unchecked:
            if totals is None:
                totals = self.check()
            if totals.invalid:
                raise _unfit(totals)
            if ceiling is not None:
                ceiling.require(totals.most, totals.lines)
        self.require_key()
        self.places.make()
        self._run = Run(
            lines=read_lines(self.source),
            check=self._check,
            tell=each,
            checked=not unchecked,
            ceiling=ceiling,
            fail_fast=fail_fast,
            concurrency=concurrency,
        )
        return self._run

    def run(self, each: Callable[[Outcome], None] = lambda _: None, **how: Any) -> Tally:
        """Check where that was not done, then ask every line.

        Args:
            each: Told what became of each line, as it comes.
            how: As for `prepare`.

        Raises:
            UnifiedFluxError: As `prepare`; what goes wrong with one line is told, not raised.
        """
        return self.prepare(each, **how).run()

    def parcels(self, settings: dict[str, Any]) -> Iterator[Parcel]:
        """Every line that was checked, as workers elsewhere are given it.

        Raises:
            InvalidRequest: When a line has changed since, or its reference is no file and no URL.
            OutputError: When pictures cannot go where they are to go.
        """
        self.places.make()
        self._scratch.forget_names()
        run = Run(lines=read_lines(self.source), check=self._check, tell=lambda _: None)
        for line in run.lines:
            yield Parcel.of(line.number, line.id, run.ready(line)[0], settings)

    @property
    def queue_name(self) -> str:
        """What the batch is called in a queue."""
        return queue_name(self._name)

    def _beside(self, suffix: str) -> Path:
        given = self.source.given
        return given.with_name(f"{given.stem}{suffix}") if given else Path(f"batch{suffix}")


def queue_name(name: str) -> str:
    """A batch's name as a queue bears it: readable, and of its own for each path."""
    return f"{slug(Path(name).stem, 40) or 'batch'}-{mark_of(name)[:8]}"


def _router(provider: str | None, *, sandbox: bool, **settings: Any) -> Router:
    """A router that knows what was made before, however long ago."""
    config = configuration.load(registry.names(), arguments={"provider": provider})
    return Router.of(config.overridden(LASTING), sandbox=sandbox, **settings)


def _unfit(totals: Totals) -> InvalidRequest:
    lines = "1 line" if totals.invalid == 1 else f"{totals.invalid} lines"
    return InvalidRequest(
        f"{lines} of {totals.lines} cannot be asked as they stand; nothing was sent",
        next_step="Mend them and run the same command again; --dry-run only checks.",
    )
