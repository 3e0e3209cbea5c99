"""What every part of the conformance kit stands on: the adapter, and how questions are put.

A question is a method `test_...`; each of its parameters is an axis of `Kit.axes`, and it is asked
once for every combination. pytest does so through `pytest_generate_tests`; `Kit.questions` does the
same without pytest.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from unified_flux import registry
from unified_flux.adapter import Adapter
from unified_flux.contract import Card
from unified_flux.request import ImageRequest
from unified_flux.testing import golden, samples
from unified_flux.testing.golden import Golden
from unified_flux.testing.places import line_in_card, line_in_class
from unified_flux.translation import Translation
from unified_flux.wire import Job, OpenedReference, WireRequest

Axis = Sequence[tuple[str, Any]]


class Kit:
    """One adapter under examination.

    Attributes:
        name: The adapter's entry point.
        golden: The folder of its golden conversations.
    """

    name: ClassVar[str]
    golden: ClassVar[Path | None] = None

    def make_adapter(
        self, base_url: str | None = None, options: Mapping[str, str] | None = None
    ) -> Adapter:
        """The adapter, through its entry point; a test of the kit itself overrides this."""
        return registry.make_adapter(self.name, base_url, options)

    @property
    def adapter(self) -> Adapter:
        """A fresh adapter at its own address."""
        return self.make_adapter()

    @property
    def file(self) -> str:
        """The adapter's own file."""
        return inspect.getsourcefile(type(self.adapter)) or ""

    def set_at(self, name: str) -> str:
        """`adapter.py:12: ` for where the adapter sets an attribute."""
        place = line_in_class(type(self.adapter), name)
        return f"{place}: " if place else ""

    @staticmethod
    def at(card: Card, pointer: str = "") -> str:
        """`card.json:12: /properties/seed` for a value of a card."""
        place = line_in_card(card.path, pointer)
        return ": ".join(word for word in (place, pointer or "the card") if word)

    @property
    def conversations(self) -> list[Golden]:
        """The golden conversations; none where nobody says where they are."""
        return golden.load(self.golden) if self.golden else []

    def axes(self) -> dict[str, Callable[[], Axis]]:
        """Parameter of a question → its values, each with a word that names it."""
        return {
            "card": lambda: [(card.model, card) for card in self.adapter.cards],
            "field": lambda: [(f, f) for f in samples.SETTABLE if f not in {"references", "extra"}],
            "kind": lambda: [("url", "url"), ("local", "local")],
            "status": lambda: [(str(status), status) for status in samples.STATUSES],
            "body": lambda: list(samples.BODIES.items()),
            "nonsense": lambda: list(samples.NONSENSE.items()),
            "conversation": lambda: [(one.id, one) for one in self.conversations],
        }

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Ask each question once for every value of its parameters."""
        for name, axis in self.axes().items():
            if name in metafunc.fixturenames:
                found = axis()
                metafunc.parametrize(
                    name, [value for _, value in found], ids=[word for word, _ in found]
                )

    def questions(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Every question of the kit, by name and values, ready to be called; no pytest needed."""
        axes = self.axes()
        for name in sorted(dir(self)):
            if not name.startswith("test_"):
                continue
            ask = getattr(self, name)
            chosen = [axes[parameter]() for parameter in inspect.signature(ask).parameters]
            for combination in itertools.product(*chosen):
                words = "-".join(word for word, _ in combination)
                yield f"{name}[{words}]", partial(ask, *(value for _, value in combination))

    def translated(
        self, card: Card, opened: Sequence[OpenedReference] = (), **fields: Any
    ) -> Translation:
        """The translation of a request, with a prompt where none is given."""
        request = ImageRequest(**{"prompt": samples.PROMPT, **fields})
        return self.adapter.translate(request, card, opened)

    def wires(self, card: Card, adapter: Adapter | None = None) -> list[WireRequest]:
        """Every kind of exchange that the adapter itself words for a model."""
        speaker = adapter or self.adapter
        links = {name: f"{speaker.base}/job-1/{name}" for name in ("poll", "result")}
        job = Job(provider=self.name, model=card.model, id="job-1", links=links)
        found = [speaker.poll(job)]
        for kind in ("url", "local") if card.references else ():
            asked, opened = samples.references(kind, 1)
            request = ImageRequest(prompt=samples.PROMPT, references=asked)
            payload = speaker.translate(request, card, opened).payload
            found.append(speaker.submit(payload, card, golden.KEY))
            if opened[0].source is not None and card.references.get("local") == "upload":
                found.append(speaker.upload(opened[0], card))
        request = ImageRequest(prompt=samples.PROMPT)
        bare = speaker.translate(request, card).payload
        balance = speaker.balance()
        found.append(speaker.submit(bare, card, golden.KEY))
        return found if balance is None else [*found, balance]
