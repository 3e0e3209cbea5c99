"""`Emulator`: what every emulated provider does alike: keys, tasks, scripted faults, pictures, the meter."""

from __future__ import annotations

import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import urlsplit

from unified_flux import contract
from unified_flux.adapter import Auth
from unified_flux.contract import Card
from unified_flux.sandbox import drawing, orders, scenarios
from unified_flux.sandbox.drawing import Shown
from unified_flux.sandbox.exchange import (
    FACES,
    BadCallError,
    Call,
    Fault,
    RefusedError,
    Reply,
    Route,
    paced,
    pattern,
    say,
)
from unified_flux.sandbox.scenarios import Scenario, Step
from unified_flux.sandbox.tasks import Order, Task
from unified_flux.text import did_you_mean, safe
from unified_flux.wire import WireRequest

__all__ = ["Emulator", "Fault", "Reply"]

# The sandbox's own, where a provider documents no price.
PRICE = Decimal("0.01")


@dataclass(slots=True)
class _Meter:
    counts: Counter[str] = field(default_factory=Counter)
    charged: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))


class Emulator(ABC):
    """One provider, emulated: a pure function of request, own store and own clock. Thread-safe.

    Args:
        key: The sandbox's key, which this emulator accepts with every right.
        clock: Seconds that only move forward: tasks ripen by it.
        wall: The time of day, for the dates in answers.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    routes: ClassVar[tuple[Route, ...]]
    auth: ClassVar[Auth] = Auth()
    card_package: ClassVar[str] = "unified_flux.schemas"

    def __init__(
        self,
        *,
        key: str,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.key = key
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._tasks: dict[str, Task] = {}
        self._files: dict[str, tuple[Task, int]] = {}
        self._open: dict[str, Task] = {}
        self._tries: Counter[str] = Counter()
        self._meter = _Meter()

    # What a provider brings.

    def admit(self, token: str | None, scope: str) -> str:
        """The account that a key belongs to: left alone, that of the sandbox's key.

        Raises:
            RefusedError: When the key is missing, unknown or lacks the right.
        """
        if token != self.key:
            raise RefusedError(self.refusal("401"))
        return "sandbox"

    @abstractmethod
    def refusal(self, kind: str, message: str = "") -> Reply:
        """The provider's no, by status or by name, in its own shape."""

    @abstractmethod
    def new_id(self) -> str:
        """An id for a task, of the provider's look."""

    def price(self, card: Card) -> Decimal:
        """What one picture costs, in `unit`: left alone, the card's first price, or a cent of our own."""
        stated = (row.price for row in card.prices)
        return next((one.amount for one in stated if one.unit == self.unit), PRICE)

    @abstractmethod
    def describe(self, task: Task, progress: float, base: str) -> dict[str, Any]:
        """The task as submit and poll answer it."""

    def replayed(self, order: Order) -> Reply | None:
        """The answer that the same order has had already; called under the lock."""
        return None

    def unaffordable(self, order: Order) -> Reply | None:
        """The refusal of an order that the account cannot pay for; called under the lock."""
        return None

    def taken(self, task: Task, order: Order) -> Reply:
        """The answer to the submit of a new task; called under the lock."""
        return self._answer(task, order.call.base)

    # What they share.

    def handle(self, request: WireRequest) -> Reply:
        """The answer to one request."""
        try:
            route, call = self._route(request)
            return route.answer(self, call)
        except RefusedError as refused:
            return refused.reply
        except BadCallError as bad:
            return self.refusal("422", str(bad))

    def meter(self) -> dict[str, Any]:
        """What was asked of this emulator, and what a bill would say; `charged` is exact, as text."""
        with self._lock:
            self._settle_all()
            counts = self._meter.counts
            names = ("accepted", "uploads", "polls", "downloads")
            charged = sum(self._meter.charged.values(), Decimal(0))
            return {
                **{name: counts[name] for name in names},
                "charged": f"{charged:f}",
                "unit": self.unit,
            }

    def _route(self, request: WireRequest) -> tuple[Route, Call]:
        parts = urlsplit(request.url)
        headers = {name.lower(): text for name, text in request.headers.items()}
        for route in (*self.routes, *_SHARED):
            match = pattern(route.path).fullmatch(parts.path)
            if not match or route.method != request.method.upper():
                continue
            token = self.auth.key_in(headers)
            account = "" if route.scope is None else self.admit(token, route.scope)
            call = Call(
                request=request,
                headers=headers,
                base=f"{parts.scheme}://{parts.netloc}{match['base']}",
                query=parts.query,
                id=match.groupdict().get("id") or "",
                account=account,
            )
            return route, call
        raise RefusedError(self.refusal("404", f"no route {request.method} {safe(parts.path, 80)}"))

    def charged(self, account: str) -> Decimal:
        """What an account was charged so far; called under the lock."""
        return self._meter.charged[account]

    def card(self, model: Any) -> Card:
        """The card of a model id.

        Raises:
            BadCallError: When this provider has no such model.
        """
        cards = {card.model: card for card in self.cards}
        if not isinstance(model, str) or model not in cards:
            hint = did_you_mean(str(model), cards)
            raise BadCallError(f'model: there is no model "{safe(model, 60)}"{hint}')
        return cards[model]

    @property
    def cards(self) -> tuple[Card, ...]:
        """The cards of all models."""
        return contract.load_cards(self.name, self.card_package)

    def references(self, call: Call, card: Card, payload: Mapping[str, Any]) -> list[Shown]:
        """What the references of a payload show; left alone, URLs and base64 in the card's keys."""
        return orders.references(card, orders.said(card, payload))

    def order(self, call: Call, payload: Mapping[str, Any], key: str | None = None) -> Order:
        """A submit, held against the card of its model.

        Args:
            payload: Flat as the card has it, its model among it.

        Raises:
            BadCallError: When the payload is not valid; left alone, it is refused with 422.
        """
        card = self.card(payload.get("model"))
        broken = card.checker.violations(orders.shortened(payload, orders.said(card, payload)))
        if broken:
            raise BadCallError("; ".join(f"{found.path} {found.message}" for found in broken))
        try:
            scenario = scenarios.read(orders.value(card, payload, "prompt"))
            shown = self.references(call, card, payload)
        except ValueError as error:
            raise BadCallError(str(error)) from error
        return Order(
            call=call,
            card=card,
            picture=orders.picture(card, payload, shown, scenario),
            scenario=scenario,
            count=orders.value(card, payload, "n") or 1,
            key=key,
        )

    def submit(self, order: Order) -> Reply:
        """The answer to a valid submit, its scripted faults included."""
        with self._lock:
            known = self.replayed(order)
            if known is not None:
                return known
            step = self._due(order)
            if step is not None and not step.accepted:
                return self._act(step, order.scenario)
            refused = self.unaffordable(order)
            if refused is not None:
                return refused
            answer = self._taken(order)
        return self._act(step, order.scenario, answer) if step else answer

    def _taken(self, order: Order) -> Reply:
        # A provider that never says in its first answer that a job is done would be asked late.
        return paced(self.taken(self._accept(order), order), order.scenario.pace)

    def _due(self, order: Order) -> Step | None:
        """The step that this try of a submit meets; a good answer starts the count afresh."""
        if not order.scenario.submit:
            return None
        about = order.key or order.digest
        step = scenarios.due(order.scenario.submit, self._tries[about])
        self._tries[about] += 1
        if step is None:
            del self._tries[about]
        return step

    def _accept(self, order: Order) -> Task:
        now = self._wall()
        task = Task(
            id=self.new_id(),
            account=order.call.account,
            card=order.card,
            picture=order.picture,
            scenario=order.scenario,
            price=self.price(order.card) * order.count,
            files=tuple(
                f"{secrets.token_urlsafe(16)}.{order.picture.format}" for _ in range(order.count)
            ),
            accepted=self._clock(),
            created=now,
            changed=now,
        )
        self._tasks[task.id] = self._open[task.id] = task
        self._files |= {file: (task, position) for position, file in enumerate(task.files)}
        self._meter.counts["accepted"] += 1
        self._meter.charged[task.account] += task.price
        return task

    def poll(self, call: Call) -> Reply:
        """How a task stands."""
        with self._lock:
            task = self._tasks.get(call.id)
            if task is None or task.account != call.account:
                return self.refusal("404")
            self._meter.counts["polls"] += 1
            step = scenarios.due(task.scenario.poll, task.polls)
            task.polls += 1
            answer = self._answer(task, call.base)
        return paced(self._act(step, task.scenario), task.scenario.pace) if step else answer

    def _answer(self, task: Task, base: str) -> Reply:
        self._settle(task)
        progress = task.progress(self._clock())
        answer = say(200, self.describe(task, progress, base))
        return paced(answer, task.scenario.pace) if progress < 1 else answer

    def _settle(self, task: Task) -> None:
        if task.settled or task.progress(self._clock()) < 1:
            return
        task.settled = True
        task.changed = self._wall()
        del self._open[task.id]
        if task.refunded:
            self._meter.charged[task.account] -= task.price

    def _settle_all(self) -> None:
        for task in list(self._open.values()):
            self._settle(task)

    def urls(self, task: Task, base: str) -> list[str]:
        """Where the task's pictures are."""
        files = () if task.scenario.withheld else task.files
        return [f"{base}/sandbox/pictures/{file}" for file in files]

    def download(self, call: Call) -> Reply:
        """A finished picture, drawn now: the store keeps what to draw, never the drawing."""
        with self._lock:
            task, position = self._files.get(call.id, (None, 0))
            if task is None or task.progress(self._clock()) < 1:
                return self.refusal("404")
            self._meter.counts["downloads"] += 1
            step = scenarios.due(task.scenario.download, task.downloads)
            task.downloads += 1
        if step is not None and step.kind != "truncated":
            return self._act(step, task.scenario)
        drawn = drawing.draw(task.picture_at(position))
        reply = Reply(
            status=200, headers={"content-type": f"image/{task.picture.format}"}, body=drawn
        )
        return self._act(step, task.scenario, reply) if step else reply

    def _act(self, step: Step, scenario: Scenario, answer: Reply | None = None) -> Reply:
        """The scripted answer, in place of `answer` or as a fault of it."""
        if step.kind == "slow" and answer:
            return replace(answer, fault=Fault.SLOW, seconds=scenario.answer_after)
        if step.kind == "truncated" and answer:
            return replace(answer, fault=Fault.TRUNCATE)
        reply = FACES.get(step.kind) or self.refusal(step.kind)
        return paced(reply, scenario.retry_after) if step.kind == "429" else reply


_SHARED = (Route("GET", "/sandbox/pictures/{id}", Emulator.download, None),)
