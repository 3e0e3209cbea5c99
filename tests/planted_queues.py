"""Faults planted in the adapters of Black Forest Labs, fal and Replicate, and before emulators."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from planted import Fault, translating

from unified_flux import registry
from unified_flux.adapter import Auth
from unified_flux.errors import ProviderError
from unified_flux.money import Basis, Charge, Money
from unified_flux.wire import Job, Phase, WireRequest

Bfl: Any = registry.adapter_class("bfl")
Fal: Any = registry.adapter_class("fal")
Replicate: Any = registry.adapter_class("replicate")
Rivya: Any = registry.adapter_class("rivya")
Vtrix: Any = registry.adapter_class("vtrix")

WORD_FOR_WORD = "test_a_golden_conversation_is_held_word_for_word"
MAKES = "test_an_emulator_makes_the_picture"
FAULTS = "test_no_fault_costs_twice_or_loses_a_job"


@Fault(WORD_FOR_WORD)
class RebuildsThePollingAddress(Bfl):
    """Asks for a job where it thinks that it is, not where it was told."""

    def poll(self, job: Job) -> WireRequest:
        return dataclasses.replace(super().poll(job), url=f"{self.base}/v1/get_result?id={job.id}")


@Fault("test_the_adapter_introduces_itself")
class TrustsAnyHost(Bfl):
    """Lets the key go to any host of two labels."""

    auth = Auth(header="x-key", template="{key}", hosts=("*.*",))


@Fault(WORD_FOR_WORD)
class CallsErrorsFree(Bfl):
    """Says that a failed job costs nothing, where nobody documents it."""

    uncharged = Bfl.uncharged | {"Error"}


@Fault(MAKES)
class ReadsCreditsAsDollars(Bfl):
    """Takes four credits for four dollars."""

    def read(self, response: Any, job: Any = None) -> Any:
        found = super().read(response, job)
        cost = response.object().get("cost")
        if cost is None or not isinstance(found, Job):
            return found
        money = Money(str(cost).removesuffix(".0"), "USD")
        return dataclasses.replace(found, charge=Charge(money=money, basis=Basis.BILLED))


@Fault("test_every_documented_status_word_is_known")
class ForgetsModeration(Bfl):
    """Takes a moderated job for one that runs."""

    phases: ClassVar[Any] = {k: v for k, v in Bfl.phases.items() if k != "Content Moderated"}


@Fault(WORD_FOR_WORD)
class TakesAnErrorForDone(Fal):
    """Believes COMPLETED, whatever stands beside it."""

    def outcome(self, found: Any, **said: Any) -> Any:
        word = said["word"].partition(" ")[0]
        return super().outcome(found, **{**said, "word": word})


@Fault(WORD_FOR_WORD)
class AsksOneAddress(Fal):
    """Sends references where text is asked for."""

    def submit(self, payload: Any, card: Any, idempotency_key: str) -> WireRequest:
        bare = {k: v for k, v in payload.items() if k not in card.reference_keys}
        url = super().submit(bare, card, idempotency_key).url
        return dataclasses.replace(super().submit(payload, card, idempotency_key), url=url)


@Fault(FAULTS)
class SendsAgain(Fal):
    """Calls itself idempotent, so that its submits are sent again."""

    idempotent = True


@Fault(FAULTS)
class TakesADoubtForANo(Vtrix):
    """Says of a 500 that nothing was taken."""

    not_taken = frozenset({"oops"})

    def refusal(self, response: Any) -> Any:
        found = super().refusal(response)
        found.code = "oops"
        return found


@Fault(MAKES)
class LosesTheResult(Fal):
    """Keeps no address of the result."""

    def result(self, job: Job) -> None:
        return None


@Fault(WORD_FOR_WORD)
class SendsBareBase64(Fal):
    """Sends a local reference as base64 where a data URI is asked for."""

    def place_references(self, references: Any, card: Any) -> dict[str, Any]:
        found = super().place_references(references, card)
        return {
            key: dataclasses.replace(value, before="") if hasattr(value, "before") else value
            for key, value in found.items()
        }


@Fault("test_every_documented_status_word_is_known")
class ForgetsCanceled(Replicate):
    """Waits for a job that somebody canceled."""

    phases: ClassVar[Any] = {k: v for k, v in Replicate.phases.items() if k != "canceled"}


@Fault("test_an_emulator_tells_of_jobs_that_fail")
class WaitsForTheFailed(Replicate):
    """Waits for a job that has failed."""

    phases: ClassVar[Any] = Replicate.phases | {"failed": Phase.RUNNING}


@Fault(WORD_FOR_WORD)
class WaitsForEver(Replicate):
    """Lets every submit wait for a minute."""

    def submit(self, payload: Any, card: Any, idempotency_key: str) -> WireRequest:
        found = super().submit(payload, card, idempotency_key)
        return dataclasses.replace(found, headers={"Prefer": "wait=60"})


@Fault("test_an_emulator_refuses_what_its_provider_would")
class TakesAStrangerForAFault(Replicate):
    """Does not see that a key was refused."""

    def refusal(self, response: Any) -> Any:
        found = super().refusal(response)
        return ProviderError(found.message, status=found.status, provider=self.name)


@Fault("test_any_request_is_told_completely_or_refused")
class ForgetsAWatermark(Rivya):
    """Forgets a watermark where the format is set as well."""

    translate = translating(
        lambda t: t, lambda r: dataclasses.replace(r, watermark=None) if r.output_format else r
    )


@Fault("test_any_request_is_told_completely_or_refused")
class RefusesAlmostAll(Replicate):
    """Refuses what is longer than a few letters."""

    translate = translating(
        lambda t: t,
        lambda r: dataclasses.replace(r, output_format="webp") if len(r.prompt) > 3 else r,
    )
