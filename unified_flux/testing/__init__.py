"""For the tests of adapters: a conformance kit, golden conversations, a simulated clock."""
