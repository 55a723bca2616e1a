"""`python -m stenograf.llm`."""

from stenograf.llm.app import main

main()
