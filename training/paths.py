"""Where training keeps what it makes and finds what the system packages brought."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = Path(os.environ.get("STENOGRAF_TRAINING_DIR", ROOT / "data" / "training"))
MODEL = ROOT / "data" / "models" / "whisper-demo-ru"
SAMPLES = ROOT / "data" / "samples"
ARTEFACTS = ROOT / "artefacts" / "training"
PROMPT_RECORDINGS = Path("/usr/share/asterisk/sounds/ru_RU_f_IvrvoiceRU")
FESTVOX = Path("/usr/share/festival/voices/russian/msu_ru_nsh_clunits")
