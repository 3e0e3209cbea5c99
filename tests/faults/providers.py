"""The providers that the proofs by faults are made with, and in what they differ there."""

from __future__ import annotations

from unified_flux import registry

PROVIDERS = ("rivya", "vtrix", "bfl", "fal", "replicate")
# The providers that take the same submit twice for one job.
WITH_KEY = {name for name in PROVIDERS if registry.adapter_class(name).idempotent}
# One of each kind, for proofs that are too long for all: with such a key, and without.
KINDS = ("rivya", "vtrix")
# The providers whose answers say nothing of money: what a picture cost there is nobody's to tell.
UNBILLED = {"fal", "replicate"}
