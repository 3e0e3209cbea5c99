"""Everything that is asked of an adapter, asked of Lumen's."""

from pathlib import Path

from unified_flux.testing import Conformance


class TestLumen(Conformance):
    """Cards, translations, conversations, properties, and faults at the emulator."""

    name = "lumen"
    golden = Path(__file__).parent / "golden"
