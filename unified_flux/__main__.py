"""`python -m unified_flux` is the console script."""

from unified_flux.cli import main

main()
