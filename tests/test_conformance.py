"""The built-in adapters, examined by the kit that outside adapters use."""

from pathlib import Path

from unified_flux.testing import Conformance

GOLDEN = Path(__file__).parent / "golden"


class TestRivya(Conformance):
    """Rivya keeps the house's promises."""

    name = "rivya"
    golden = GOLDEN / "rivya"


class TestVtrix(Conformance):
    """Vtrix keeps the house's promises."""

    name = "vtrix"
    golden = GOLDEN / "vtrix"


class TestBfl(Conformance):
    """Black Forest Labs keeps the house's promises."""

    name = "bfl"
    golden = GOLDEN / "bfl"


class TestFal(Conformance):
    """fal keeps the house's promises."""

    name = "fal"
    golden = GOLDEN / "fal"


class TestReplicate(Conformance):
    """Replicate keeps the house's promises."""

    name = "replicate"
    golden = GOLDEN / "replicate"
