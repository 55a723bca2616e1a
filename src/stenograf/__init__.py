"""stenograf: self-hosted speech to text, Russian first."""

__version__ = "0.1.0"
