"""The kit's questions about what is sent and how answers are read."""

from __future__ import annotations

import json
import random
from urllib.parse import urlsplit

from unified_flux.adapter import Adapter
from unified_flux.contract import Card, load_answers
from unified_flux.errors import (
    Charged,
    JobTimeout,
    ProtocolError,
    ProviderError,
    RateLimited,
    Unauthorized,
    UnifiedFluxError,
)
from unified_flux.fetching import Finished
from unified_flux.flow import Ask, generate
from unified_flux.request import ImageRequest
from unified_flux.retry import Pace
from unified_flux.testing import golden, samples
from unified_flux.testing.golden import Golden
from unified_flux.testing.kit import Kit
from unified_flux.testing.simulation import Answers, Driven, drive, reply
from unified_flux.testing.watch import watching
from unified_flux.wire import Job, Output, Phase, Purpose, WireRequest, WireResponse

UNSEEN = "a-word-of-tomorrow"
HOSTILE_IDS = ("../../other", "a/b", "a?b=c", "a#b", "@evil.example", "//evil.example/a", "a b\n")


def read(adapter: Adapter, response: WireResponse, card: Card) -> Job | Output | None:
    """What an answer says, None where it breaks its own contract; anything else raised is a fault."""
    try:
        return adapter.read(response)
    except UnifiedFluxError:
        return None


def job_of(found: Job | Output | None) -> Job | None:
    """The job of what was read."""
    return found.job if isinstance(found, Output) else found


def spoken(request: WireRequest) -> str:
    """Everything that an adapter put into an exchange, as text."""
    texts = [request.url, *request.headers, *request.headers.values()]
    texts += samples.texts(request.json)
    texts += [part.value for part in request.parts if isinstance(part.value, str)]
    return "\n".join(texts)


class WireQuestions(Kit):
    """No key in sight, every answer read, no job lost."""

    def test_no_exchange_holds_a_credential(self, card: Card) -> None:
        """The signer puts the key on; an adapter says neither its header nor its form."""
        auth = self.adapter.auth
        scheme = auth.template.partition("{key}")[0].strip().lower()
        for request in self.wires(card):
            names = {name.lower() for name in request.headers}
            assert not names & {"authorization", auth.header.lower()}, f"{names} of {request.url}"
            starts = [value.lower() for value in request.headers.values()]
            assert not any(scheme and value.startswith(scheme) for value in starts), starts
            found = spoken(request).lower()
            assert "bearer" not in found and "api_key" not in found, f"a credential in {found}"

    def test_only_its_own_hosts_are_signed(self, card: Card) -> None:
        """What asks for the key goes to the base URL or a declared host, by https."""
        adapter = self.adapter
        for request in self.wires(card):
            if request.signed:
                assert adapter.trusts(request.url), f"the key would go to {request.url}"
                assert urlsplit(request.url).scheme == "https", (
                    f"the key in the open: {request.url}"
                )

    def test_another_base_url_is_kept_to(self, card: Card) -> None:
        """A proxy or an emulator in the provider's place gets every exchange."""
        moved = self.make_adapter("https://proxy.example.com/under")
        for request in self.wires(card, moved):
            inside = request.url.startswith("https://proxy.example.com/under/")
            assert inside or not request.signed, f"{request.url} leaves the configured address"

    def test_a_submit_is_what_the_flow_takes_it_for(self, card: Card) -> None:
        """Its purpose is SUBMIT, it is made of the payload alone, and of the key where it has one."""
        adapter = self.adapter
        payload = adapter.translate(ImageRequest(prompt=samples.PROMPT), card).payload
        before = json.dumps(payload)
        one, same, other = (adapter.submit(payload, card, k) for k in ("key-1", "key-1", "key-2"))
        assert json.dumps(payload) == before, "submit changed the payload"
        assert one.purpose is Purpose.SUBMIT and one == same, (
            "the same submit came out twice as two"
        )
        carries = "key-1" in spoken(one) and "key-2" in spoken(other)
        assert carries == adapter.idempotent, "`idempotent` and the submit's key do not agree"
        assert samples.PROMPT in spoken(one), "the prompt is not sent"

    def test_a_job_can_be_asked_for_by_its_name(self, card: Card) -> None:
        """Its text names it again, and no id, however strange, leads a poll to another place."""
        adapter = self.adapter
        try:
            plain = adapter.poll(Job(provider=self.name, model=card.model, id="job-1"))
        except ProtocolError as error:
            assert error.next_step, "nobody says where the job can be asked for"
            return
        assert plain.purpose is Purpose.POLL
        depth, query = plain.url.count("/"), urlsplit(plain.url).query.count("&")
        for identity in HOSTILE_IDS:
            job = Job(provider=self.name, model=card.model, id=identity)
            again = Job.parse(str(job))
            assert again is not None and adapter.poll(again) == adapter.poll(job), identity
            url = adapter.poll(job).url
            parts = urlsplit(url)
            inside = adapter.trusts(url) and url.count("/") == depth and not parts.fragment
            assert inside and parts.query.count("&") == query, f"{identity!r} leads to {url}"

    def test_nothing_outside_is_touched(self, card: Card) -> None:
        """No file, socket, environment, clock, chance, log or sleep in any of an adapter's methods."""
        adapter = self.adapter
        asked, opened = samples.references("url", 1 if card.references else 0)
        request = ImageRequest(prompt=samples.PROMPT, references=asked, seed=7)
        answers = [
            reply(500, text="x"),
            *(answer for g in self.conversations for answer in g.replies),
        ]
        load_answers(adapter.name, adapter.card_package)
        with watching(self.file) as touched:
            adapter.translate(request, card, opened)
            self.wires(card, adapter)
            for answer in answers:
                read(adapter, answer, card)
                adapter.refusal(answer)
        assert not touched, f"touched: {', '.join(sorted({*touched}))}"

    def test_the_phases_cover_a_jobs_life(self) -> None:
        """There is a word for running, for done and for failed; an unseen one is running."""
        phases = self.adapter.phases
        missing = {Phase.RUNNING, Phase.DONE, Phase.FAILED} - {*phases.values()}
        words = ", ".join(sorted(missing))
        assert not missing, f"{self.set_at('phases')}no status word means {words}"
        assert UNSEEN not in phases

    def test_every_refusal_is_a_provider_error(self, status: int, body: bytes) -> None:
        """Whatever stands in it: with its status, and the pace that a 429 asks for."""
        answer = WireResponse(status=status, headers={"retry-after": "7"}, body=body)
        refusal = self.adapter.refusal(answer)
        assert isinstance(refusal, ProviderError), f"{refusal!r} is no ProviderError"
        assert refusal.status == status, f"status {refusal.status}"
        assert refusal.message and len(refusal.message) < 2000, "no message, or a whole page"
        assert refusal.provider == self.name, "whose refusal it is, is not said"
        if status == 401:
            assert isinstance(refusal, Unauthorized), "a 401 is not about the key"
        if status == 429:
            assert isinstance(refusal, RateLimited), "a 429 is not about the rate"
            assert refusal.retry_after == 7, f"Retry-After became {refusal.retry_after}"

    def test_nonsense_for_an_answer_stays_inside_our_errors(
        self, card: Card, nonsense: bytes
    ) -> None:
        """A good status around it breaks the contract, and leaves a paid submit's outcome unknown."""
        try:
            self.adapter.read(WireResponse(status=200, body=nonsense))
        except ProtocolError:
            pass
        except Exception as error:
            raise AssertionError(f"{nonsense[:40]!r} raises {error!r}, no ProtocolError") from error
        driven = self._drive(card, lambda request: WireResponse(status=200, body=nonsense))
        assert driven.error is not None, f"{nonsense[:40]!r} was taken for a picture"
        assert driven.error.charged is not Charged.NO, "says that no money was taken: nobody knows"

    def _drive(self, card: Card, answers: Answers) -> Driven[Finished]:
        """A bare request against `answers`."""
        ask = Ask(
            adapter=self.adapter,
            card=card,
            translation=self.adapter.translate(ImageRequest(prompt=samples.PROMPT), card),
            idempotency_key=golden.KEY,
            rng=random.Random(0),  # noqa: S311 - jitter, not a secret
        )
        return drive(generate(ask), answers)


class GoldenQuestions(WireQuestions):
    """What the provider documents, word for word."""

    def test_there_are_golden_conversations(self) -> None:
        """At least one ends in a picture and one in an error; each says where it comes from."""
        found = self.conversations
        ends = ["error" if "error" in one.facts["end"] else "urls" for one in found]
        assert {*ends} == {"error", "urls"}, f"{self.golden} holds {len(found)}: {ends}"
        for one in found:
            told = one.facts.get("source") and one.facts.get("read") and one.facts.get("about")
            assert told, f"{one.id} does not say where it comes from"

    def test_a_golden_conversation_is_held_word_for_word(self, conversation: Golden) -> None:
        """What is sent is what is recorded, and the answers lead to the recorded end."""
        adapter = self.make_adapter(options=conversation.options)
        driven = golden.replay(conversation, adapter)
        for request in driven.sent:
            own = adapter.trusts(request.url)
            assert own or not request.signed, f"the key would go to {request.url}"
            assert request.purpose is not Purpose.FETCH or not request.signed, "a signed download"

    def test_every_documented_status_word_is_known(self, conversation: Golden) -> None:
        """Each word in the recorded answers is in the table of phases."""
        adapter = self.adapter
        for turn, answer in zip(conversation.turns, conversation.replies, strict=True):
            if answer.status >= 300 or "parts" in turn["send"]:
                continue
            job = job_of(read(adapter, answer, adapter.cards[0]))
            assert job is None or job.word in adapter.phases, f'"{job.word}" is not in `phases`'

    def test_an_unseen_word_keeps_running_under_the_deadline(self, card: Card) -> None:
        """It is asked again until the time is up, told once, and the error carries the job."""
        taken, running = self._running_answers(card)
        known = job_of(read(self.adapter, reply(json=taken), card))
        assert known is not None
        unseen = samples.replaced(running, self._running_word(running), UNSEEN)
        for first in (taken, samples.replaced(taken, known.word, UNSEEN)):
            said = {Purpose.SUBMIT: reply(json=first), Purpose.POLL: reply(json=unseen)}
            driven = self._drive(card, lambda request, said=said: said[request.purpose])  # type: ignore[misc]
            error = driven.error
            assert isinstance(error, JobTimeout), f'"{UNSEEN}" ended the job: {error!r}'
            assert error.job is not None and error.job.id == known.id, "the job is lost"
            assert len(driven.of(Purpose.SUBMIT)) == 1, "submitted again"
            assert len(driven.of(Purpose.POLL)) > 2, "given up early"
            assert driven.clock.now <= Pace().timeout + 1, f"waited {driven.clock.now} s"
            told = [note for note in error.job.notes if UNSEEN in note]
            assert len(told) == 1, f"told {len(told)} times: {error.job.notes}"

    def _running_answers(self, card: Card) -> tuple[dict[str, object], dict[str, object]]:
        """The answers of a submit and of a poll, of one job, that say that it runs."""
        for one in self.conversations:
            told = [answer.object() for answer in one.replies if self._runs(answer, card)]
            if told and any(self._running_word(answer) for answer in told):
                return told[0], next(answer for answer in told if self._running_word(answer))
        raise AssertionError("no golden conversation has a running job in it")

    def _runs(self, answer: WireResponse, card: Card) -> bool:
        job = job_of(read(self.adapter, answer, card)) if answer.status < 300 else None
        return job is not None and self.adapter.phases.get(job.word) is Phase.RUNNING

    def _running_word(self, answer: object) -> str:
        words = [word for word, phase in self.adapter.phases.items() if phase is Phase.RUNNING]
        said = list(samples.texts(answer))
        return next((word for word in words if word.casefold() in map(str.casefold, said)), "")

    def test_a_distorted_answer_is_an_error_of_ours(self, conversation: Golden) -> None:
        """Any one value missing or of another type: read leniently, or refused in our words."""
        adapter = self.adapter
        for answer in conversation.replies:
            try:
                said = answer.object()
            except UnifiedFluxError:
                continue
            for other in samples.distorted(said):
                found = reply(answer.status, other, headers=answer.headers)
                job = job_of(read(adapter, found, adapter.cards[0]))
                assert job is None or isinstance(job.id, str), f"no id in {other}"
                assert isinstance(adapter.refusal(found), ProviderError)
