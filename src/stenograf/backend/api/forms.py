"""See `stenograf.forms`."""

from stenograf.forms import FilePart, Form, FormReader

__all__ = ["FilePart", "Form", "FormReader"]
