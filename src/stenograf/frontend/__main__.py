"""Start the page: `python -m stenograf.frontend`."""

import sys
from pathlib import Path

from streamlit.web import bootstrap

from stenograf.frontend.theme import theme_flags
from stenograf.settings import FrontendSettings
from stenograf.startup import configured, refuse_taken, starting

SCRIPT = Path(__file__).with_name("streamlit_app.py")


def server_flags(settings: FrontendSettings) -> dict[str, object]:
    """Streamlit's configuration, in the form its command line would give it."""
    return {
        "server_address": settings.frontend_host,
        "server_port": settings.frontend_port,
        "server_headless": True,
        "server_enableStaticServing": True,  # the fonts
        "server_fileWatcherType": "none",
        "server_maxUploadSize": 1,  # MB; recordings never pass through this process
        "browser_gatherUsageStats": False,
        "client_showErrorDetails": "none",
        "client_toolbarMode": "viewer",
        "logger_level": settings.log_level,
        **theme_flags(),
    }


def main() -> None:
    """Serve the page until SIGTERM or SIGINT."""
    with starting("page"):
        settings = configured(FrontendSettings)
        refuse_taken("FRONTEND", settings.frontend_host, settings.frontend_port)
    flags = server_flags(settings)
    bootstrap.load_config_options(flags)
    bootstrap.prepare_streamlit_environment(str(SCRIPT))
    bootstrap.run(str(SCRIPT), False, sys.argv[1:], flags)


if __name__ == "__main__":
    main()
