"""Start the bot: `python -m stenograf.telegram`."""

from stenograf.telegram.app import main

if __name__ == "__main__":
    main()
