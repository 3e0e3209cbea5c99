"""The conformance kit: an adapter proves itself by a subclass with a name and a golden folder."""

from __future__ import annotations

from unified_flux.testing.about_cards import CardQuestions
from unified_flux.testing.about_emulators import EmulatorQuestions
from unified_flux.testing.about_properties import PropertyQuestions
from unified_flux.testing.about_requests import RequestQuestions
from unified_flux.testing.about_wires import GoldenQuestions, WireQuestions


class WithoutGolden(
    CardQuestions, RequestQuestions, PropertyQuestions, WireQuestions, EmulatorQuestions
):
    """What can be asked where no golden conversations are at hand."""


class Conformance(WithoutGolden, GoldenQuestions):
    """Everything that is asked of an adapter.

    A whole test module is `class TestAcme(Conformance)` with `name`, the entry point, and `golden`,
    the folder of recorded conversations (`unified_flux.testing.golden` tells their form). Without
    pytest, `for question, ask in TestAcme().questions(): ask()` asks the same.
    """
