"""The kit's questions about a provider's emulator, and, through it, about money under faults."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from unified_flux import registry
from unified_flux.contract import Card
from unified_flux.errors import (
    Charged,
    InsufficientFunds,
    JobFailed,
    Moderated,
    OutcomeUnknown,
    Unauthorized,
)
from unified_flux.fetching import Finished
from unified_flux.money import Basis
from unified_flux.request import ImageRequest
from unified_flux.testing import golden, samples
from unified_flux.testing.kit import Axis, Kit
from unified_flux.testing.simulation import Driven, Scripted
from unified_flux.testing.stand import FAULTS, KEY, Fault, Spoilt, Stand
from unified_flux.wire import Purpose, WireResponse

# Asked of one model only: what befalls an exchange does not depend on the model.
MOMENTS = (Purpose.UPLOAD, Purpose.SUBMIT, Purpose.POLL, Purpose.FETCH)


def accepted(answer: Scripted) -> bool:
    """Whether an exchange came to a good status."""
    return isinstance(answer, WireResponse) and answer.status < 300


class EmulatorQuestions(Kit):
    """An emulator plays its provider well enough to try the two promises on it."""

    def stand(self) -> Stand | None:
        """A fresh emulator on its stand; None, and a word, where the provider brings none."""
        if not any(one.name == self.name for one in registry.installed(registry.EMULATORS)):
            print(f"{self.name} brings no emulator: not asked")
            return None
        return Stand(self.adapter, registry.emulator_class(self.name))

    def axes(self) -> Any:
        """The kit's, and the faults at each kind of exchange."""
        found: dict[str, Any] = {
            "fault": lambda: list(FAULTS.items()),
            "moment": self._moments,
        }
        return super().axes() | found

    def _moments(self) -> Axis:
        uploads = any(card.references.get("local") == "upload" for card in self.adapter.cards)
        return [(str(m), m) for m in MOMENTS if m is not Purpose.UPLOAD or uploads]

    def test_an_emulator_makes_the_picture(self, card: Card) -> None:
        """From a bare prompt and from local references; its meter counts one and tells what is billed."""
        for count in {0, card.references.get("max_count", 0)}:
            stand = self.stand()
            if stand is None:
                return
            asked, opened = samples.references("local", count)
            driven = stand.generate(card, self._request(references=asked), opened)
            finished, meter = driven.outcome(), stand.meter()
            assert meter["accepted"] == 1, f"{meter['accepted']} accepted for one picture"
            came = [blob.header for blob in finished.blobs if blob is not None]
            assert came and all(came), "what came is no picture"
            charge = finished.job.charge
            if charge.basis is Basis.BILLED and charge.money is not None:
                told = f"billed {charge.money}, metered {meter['charged']} {meter['unit']}"
                assert charge.money.amount == Decimal(meter["charged"]), told
                assert charge.money.unit == meter["unit"], told

    def test_an_emulator_refuses_what_its_provider_would(self, card: Card) -> None:
        """Another key, an empty account, a payload without a prompt: nothing is accepted."""
        stand = self.stand()
        if stand is None:
            return
        strange = stand.generate(card, self._request(), answers=lambda r: stand.send(r, KEY + "x"))
        assert isinstance(strange.error, Unauthorized), f"another key: {strange.error!r}"
        poor = stand.generate(card, self._request("sandbox:402"))
        assert isinstance(poor.error, InsufficientFunds), f"no funds: {poor.error!r}"
        payload = dict(self.adapter.translate(self._request(), card).payload)
        payload.pop(card.fields["prompt"])
        answer = stand.send(self.adapter.submit(payload, card, golden.KEY))
        assert not accepted(answer), "it takes what has no prompt"
        assert stand.meter()["accepted"] == 0, "something was accepted, and charged"

    def test_an_emulator_tells_of_jobs_that_fail(self, card: Card) -> None:
        """A failed and a moderated job end in our words, with the job and what is known of the money."""
        for word in ("failed", "moderated"):
            stand = self.stand()
            if stand is None:
                return
            error = stand.generate(card, self._request(f"sandbox:{word}")).error
            assert isinstance(error, (JobFailed, Moderated)), f"a job that {word}: {error!r}"
            assert error.job is not None, f"{word}: the error names no job: {error!r}"
            assert stand.meter()["accepted"] == 1

    def test_no_fault_costs_twice_or_loses_a_job(self, moment: Purpose, fault: Fault) -> None:
        """Once and for good, at each kind of exchange; what was accepted is brought or flagged."""
        card = self.adapter.cards[0]
        for always in (False, True):
            stand = self.stand()
            if stand is None:
                return
            local = samples.references("local", 1 if moment is Purpose.UPLOAD else 0)
            spoilt = Spoilt(stand, str(moment), fault, always)
            driven = stand.generate(card, self._request(references=local[0]), local[1], spoilt)
            assert spoilt.met, "the fault never happened: nothing is proved"
            self._judge(stand, card, driven)

    @staticmethod
    def _judge(stand: Stand, card: Card, driven: Driven[Finished]) -> None:
        count, error = stand.meter()["accepted"], driven.error
        assert count <= 1, f"{count} paid submits for one picture"
        if error is None:
            assert count == 1, "a picture that nobody was paid for"
        elif count == 0:
            return
        elif isinstance(error, OutcomeUnknown):
            assert error.charged is Charged.MAYBE and error.next_step, f"unknown, and: {error!r}"
        else:
            assert error.charged is not Charged.NO, f"accepted, and called free: {error!r}"
            assert error.job is not None, f"an accepted job is lost: {error!r}"
            stand.follow(card, error.job).outcome()
            assert stand.meter()["accepted"] == 1, "bringing it was paid for again"

    @staticmethod
    def _request(words: str = "sandbox:polls-1", **fields: Any) -> ImageRequest:
        return ImageRequest(prompt=f"{samples.PROMPT} {words}", **fields)
