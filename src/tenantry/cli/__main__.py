"""`python -m tenantry.cli`: the command line without its script on PATH."""

from tenantry.cli.main import main

main()
