"""What the page and the backend agree on about a visitor who has shown a key."""

from typing import Final

from pydantic import BaseModel, ConfigDict

SESSION_COOKIE: Final = "stenograf_session"
"""Set by the backend on the host name that it shares with the page; ports do not matter to it."""


class SessionState(BaseModel):
    """Whether a key is asked for, and whether the request carried a good one."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key_required: bool
    signed_in: bool
