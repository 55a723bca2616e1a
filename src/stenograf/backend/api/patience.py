"""See `stenograf.patience`."""

from stenograf.patience import START_S, patient_json, patient_text

__all__ = ["START_S", "patient_json", "patient_text"]
