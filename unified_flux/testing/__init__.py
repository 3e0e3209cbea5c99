"""For the tests of adapters: a conformance kit, golden conversations, a simulated clock.

from unified_flux.testing import Conformance

class TestAcme(Conformance):
    name = "acme"
    golden = Path(__file__).parent / "golden" / "acme"
"""

from __future__ import annotations

from unified_flux.testing.conformance import Conformance

__all__ = ["Conformance"]
