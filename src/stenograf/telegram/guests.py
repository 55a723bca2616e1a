"""Who may use the bot."""


class Guests:
    """An allow-list: numeric ids, @names, or `*` for everybody; empty lets nobody in."""

    def __init__(self, listed: str) -> None:
        names = {part.strip().removeprefix("@").lower() for part in listed.split(",")}
        self._listed = frozenset(names - {""})

    def welcome(self, user_id: int, username: str | None) -> bool:
        """Whether the person is on the list."""
        return bool({"*", str(user_id), (username or "").lower() or "*"} & self._listed)
