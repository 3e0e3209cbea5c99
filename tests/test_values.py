"""Money, text, geometry, addresses, secrets, reports: the small values at the bottom."""

from __future__ import annotations

import json
import pickle
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

import unified_flux
from unified_flux import errors, geometry
from unified_flux.addresses import is_loopback, is_public, objection
from unified_flux.errors import Charged, ConfigurationError, InvalidRequest, ProtocolError
from unified_flux.money import Basis, Charge, Money, parse_amount, total
from unified_flux.report import LOSSES, Entry, Outcome, Policy
from unified_flux.secret import Secret, shown_address
from unified_flux.text import did_you_mean, safe
from unified_flux.wire import Job, WireResponse, parse_json


@pytest.mark.parametrize(
    ("raw", "amount"),
    [("0.04", "0.04"), (4, "4"), (0.0065, "0.0065"), ("", None), (None, None), ("free", None),
     (True, None), ("NaN", None), ([], None), ("1e9999999999", None), ("1" * 50, None)],
)  # fmt: skip
def test_an_amount_is_exact_or_unknown_and_never_a_guess(raw: Any, amount: str | None) -> None:
    """Text and numbers become exact decimals; everything else is unknown, not 0."""
    assert parse_amount(raw) == (None if amount is None else Decimal(amount))


def test_credits_and_dollars_never_add() -> None:
    """Two units have no sum."""
    with pytest.raises(TypeError, match="cannot add USD to credits:rivya"):
        Money(Decimal(4), "credits:rivya") + Money(Decimal(1), "USD")


def _charge(amount: str, unit: str = "USD", basis: Basis = Basis.BILLED) -> Charge:
    return Charge(money=Money(Decimal(amount), unit), basis=basis)


def test_a_total_is_unknown_as_soon_as_one_part_is() -> None:
    """Adding a known and an unknown charge gives no figure."""
    assert total([_charge("0.1"), _charge("0.2")]).to_json()["amount"] == "0.3"
    assert total([_charge("0.1"), Charge()]) == Charge()
    assert total([_charge("0.1"), _charge("4", "credits:rivya")]) == Charge()
    assert total([]) == Charge()


def test_a_total_claims_no_more_than_its_weakest_part() -> None:
    """Billed and reserved together are reserved."""
    mixed = total([_charge("1"), _charge("1", basis=Basis.RESERVED)])
    assert mixed.basis is Basis.RESERVED
    assert total([_charge("1"), _charge("1", basis=Basis.DOCUMENTED)]).basis is Basis.DOCUMENTED


def test_an_unknown_charge_is_null_with_its_basis() -> None:
    """Unknown is never 0."""
    unknown = {"amount": None, "unit": None, "basis": "unknown", "usd": None}
    assert Charge().to_json() == unknown
    assert str(Charge()) == "cost unknown"


@pytest.mark.parametrize(
    "text", ["\x1b]52;c;x\x07", "\x1b[31m", "\u202eevil", "a\u200bb", "\x00", "\x85", "\udc80"]
)
def test_foreign_text_cannot_steer_a_terminal(text: str) -> None:
    """Escape, control, bidi and zero-width characters are spelled out."""
    shown = safe(text)
    assert "\\u" in shown
    assert not set("\x1b\u202e\u200b\x00\x07\x85\udc80") & set(shown)


def test_foreign_text_is_cut() -> None:
    """A megabyte of text does not reach an error message."""
    assert len(safe("x" * 10**6, 100)) == 100
    assert safe("two\nlines") == "two lines"


def test_a_near_name_is_offered_and_a_far_one_is_not() -> None:
    """A slip of the finger finds its word, whatever its case; nonsense finds none."""
    assert did_you_mean("rivia", ["rivya", "vtrix"]) == ' (did you mean "rivya"?)'
    assert did_you_mean("RIVYA", ["rivya"]) == ' (did you mean "rivya"?)'
    assert did_you_mean("zzz", ["rivya", "vtrix"]) == ""


@pytest.mark.parametrize(
    ("ratio", "resolution", "size"),
    [("16:9", "1K", (1536, 864)), ("4:3", "1K", (1152, 864)), ("1:1", "1K", (1024, 1024)),
     ("21:9", "1K", (1568, 672)), ("9:16", "1K", (864, 1536)), ("16:9", "2K", (2560, 1440)),
     ("1:1", "2K", (2048, 2048))],
)  # fmt: skip
def test_a_resolution_is_the_exact_ratio_nearest_to_its_pixels(
    ratio: str, resolution: str, size: tuple[int, int]
) -> None:
    """1K and 2K mean the size of exactly that ratio, in steps of 32, nearest to 1 or 4 megapixels."""
    parsed = geometry.parse_ratio(ratio)
    assert parsed is not None
    assert geometry.size_of(parsed, resolution) == size


def test_the_nearest_ratio_is_nearest_in_shape() -> None:
    """3:2 is nearer to 4:3 than to 16:9, and tall ratios mirror wide ones."""
    options = ["21:9", "16:9", "4:3", "1:1", "3:4", "9:16"]
    assert geometry.nearest_ratio(Fraction(3, 2), options) == "4:3"
    assert geometry.nearest_ratio(Fraction(2, 3), options) == "3:4"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.com/a.png", "only https"),
        ("file:///etc/passwd", "only https"),
        ("https://u:p@example.com/", "credentials"),
        ("https://127.0.0.1/", "private"),
        ("https://127.1/", "private"),
        ("https://2130706433/", "private"),
        ("https://0x7f000001/", "private"),
        ("https://0177.0.0.1/", "private"),
        ("https://10.1.2.3/", "private"),
        ("https://169.254.169.254/latest", "private"),
        ("https://[::1]/", "private"),
        ("https://[::ffff:10.0.0.1]/", "private"),
        ("https://[64:ff9b::7f00:1]/", "private"),
        ("https://localhost/", "this machine"),
        ("https://printer.local/", "local network"),
        ("https://intranet/", "local name"),
        ("https://①②⑦.example/", "ASCII"),
        ("https://exa mple.com/", "not a URL"),
        ("https:///path", "no host"),
        ("https://example.com:99999/", "not a URL"),
    ],
)
def test_a_strangers_url_that_leads_inside_is_refused_without_dns(url: str, reason: str) -> None:
    """Every spelling of a private place is caught before any name is looked up."""
    assert reason in (objection(url) or "nothing said")


@pytest.mark.parametrize("url", ["https://cdn.example.com/a.png", "https://93.184.216.34/x"])
def test_an_ordinary_url_is_accepted(url: str) -> None:
    """Public hosts over https pass."""
    assert objection(url) is None


@pytest.mark.parametrize(
    ("address", "public"),
    [("8.8.8.8", True), ("2606:4700::1111", True), ("100.64.0.1", False), ("192.0.0.8", False),
     ("198.18.0.1", False), ("240.0.0.1", False), ("224.0.0.1", False), ("2002:7f00:1::", False),
     ("fec0::1", False), ("::127.0.0.1", False), ("2001:db8::1", False), ("fe80::1%eth0", False),
     ("::ffff:8.8.8.8", True), ("nonsense", False)],
)  # fmt: skip
def test_public_means_public_on_every_python(address: str, public: bool) -> None:
    """The list of ranges is ours, since the standard library's has changed between versions."""
    assert is_public(address) is public


def test_this_machine_is_recognised() -> None:
    """Loopback is 127.0.0.0/8, ::1 and localhost."""
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"))
    assert not is_loopback("10.0.0.1")


@pytest.mark.parametrize("text", ["", " ", "two words", "line\nbreak", "schlüssel", "a\x00b"])
def test_a_key_that_no_header_may_carry_is_refused_without_showing_it(text: str) -> None:
    """The error names the variable and never the key."""
    with pytest.raises(ConfigurationError) as caught:
        Secret(text, "RIVYA_API_KEY")
    assert "RIVYA_API_KEY" in str(caught.value)
    assert not text.strip() or text not in str(caught.value)


def test_a_key_shows_itself_to_nobody() -> None:
    """repr, str, format, JSON and pickle give no key away; blanks around it are gone."""
    secret = Secret("  rvya_sk_1\n", "K")
    assert secret.reveal() == "rvya_sk_1"
    assert {repr(secret), str(secret), f"{secret}"} == {"***"}
    for leak in (json.dumps, pickle.dumps, vars):
        with pytest.raises(TypeError):
            leak(secret)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:hush@db.example:5432/flux", "postgresql://me:***@db.example:5432/flux"),
        ("postgres://me@db.example/flux?password=hush", "postgres://me@db.example/flux"),
        ("postgresql:///flux?host=/run&password=hush", "postgresql:///flux"),
        ("postgresql://me:hush@[::1]:5432,b:2/flux", "postgresql://me:***@[::1]:5432,b:2/flux"),
        *(
            (said, "postgresql://***")
            for said in (
                "postgresql://me:hu/sh@db.example/flux",
                "postgresql://me:hu?sh@db.example/flux",
                "postgresql://me:hu@sh@db.example/flux",
                "postgresql://me:hush",
                "postgresql://db.example/flux?password=a@hush",
                "host=db.example password=hush",
                "hush",
            )
        ),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, shown: str) -> None:
    """Whatever is not written as it should be is not shown at all."""
    assert shown_address(address) == shown


def test_an_unknown_loss_is_refused_with_the_nearest_word() -> None:
    """A misspelt allowance would silently allow nothing."""
    with pytest.raises(InvalidRequest) as caught:
        Policy.of(["drop:sed"])
    assert 'did you mean "drop:seed"' in str(caught.value)


def test_each_loss_is_allowed_alone_and_the_prompt_never() -> None:
    """An allowance permits its own loss; --adapt permits all but prompt and references."""
    dropped = Entry(field="seed", outcome=Outcome.DROPPED, said=7)
    assert not Policy.of().permits(dropped)
    assert Policy.of(["drop:seed"]).permits(dropped)
    assert not Policy.of(["drop:watermark"]).permits(dropped)
    assert Policy.of(adapt=True).permits(dropped)
    for name in ("prompt", "references"):
        lost = Entry(field=name, outcome=Outcome.DROPPED, said="x")
        assert not Policy.of(adapt=True).permits(lost)
        assert all(name not in names for names in LOSSES.values())


def test_a_rejection_passes_in_no_mode() -> None:
    """What the model cannot take is never sent."""
    rejected = Entry(field="safety_tolerance", outcome=Outcome.REJECTED, said=0, nearest=1)
    assert not Policy.of(adapt=True).permits(rejected)
    assert "nearest: 1" in str(rejected.problem())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[1",
        b"[" * 100_000,
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b"\xff\xfe",
        b"9" * 5000,
    ],
)
def test_json_that_is_none_is_the_providers_fault(body: bytes) -> None:
    """Nonsense, NaN and bottomless nesting end as ProtocolError, never as anything else."""
    with pytest.raises(ProtocolError):
        parse_json(body)


def test_an_answer_larger_than_any_answer_is_not_parsed() -> None:
    """The size cap comes before the parser."""
    with pytest.raises(ProtocolError, match="larger than"):
        parse_json(b" " * (9 * 1024 * 1024))


@pytest.mark.parametrize(
    ("header", "seconds"), [("2", 2.0), ("0.1", 0.1), ("-1", None), ("inf", None), ("soon", None)]
)
def test_retry_after_is_seconds_or_absent(header: str, seconds: float | None) -> None:
    """Nonsense in the header is no pace."""
    assert WireResponse(status=429, headers={"retry-after": header}).retry_after == seconds


def test_a_job_is_named_by_its_text() -> None:
    """The text form of a job finds the job again, slashes in its id included."""
    job = Job(provider="rivya", model="flux-2-pro", id="task/1")
    again = Job.parse(str(job))
    assert again is not None
    assert (again.provider, again.model, again.id) == ("rivya", "flux-2-pro", "task/1")
    assert Job.parse("rivya/flux-2-pro") is None


def _classes(base: type) -> list[type]:
    return [base, *(found for child in base.__subclasses__() for found in _classes(child))]


@pytest.mark.parametrize("kind", _classes(errors.UnifiedFluxError), ids=lambda kind: kind.__name__)
def test_no_error_promises_that_nothing_was_charged_when_it_may_have_been(
    kind: type[errors.UnifiedFluxError],
) -> None:
    """Exit codes that mean "nothing charged" turn into 9 when money may be gone."""
    maybe = kind("x", charged=Charged.MAYBE)
    assert maybe.exit_code in {1, 2, 7, 9}
    assert maybe.to_json()["charged"] == "maybe"


def test_what_the_package_offers_is_there() -> None:
    """Every public name can be fetched, and the typed list equals the lazy one."""
    for name in unified_flux.__all__:
        assert getattr(unified_flux, name) is not None
    with pytest.raises(AttributeError):
        _ = unified_flux.nonsense  # type: ignore[attr-defined]
    assert set(dir(unified_flux)) == set(unified_flux.__all__)
