"""`python -m stenograf.backend`."""

from stenograf.backend.server import main

main()
