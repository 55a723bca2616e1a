"""What was odd about a file, as warnings a reader understands."""

from collections.abc import Mapping

from stenograf.contract.transcript import Warning


def warnings(findings: Mapping[str, float]) -> tuple[Warning, ...]:
    """Warnings for the counters of the decoding process, in a fixed order."""
    return tuple(
        Warning(code=code, message=sentence.format(findings[counter]))
        for counter, code, sentence in _SENTENCES
        if findings[counter] > 0
    )


_SENTENCES = (
    ("damaged_packets", "damaged", "{:.0f} damaged pieces of the file were left out."),
    ("broken_off", "truncated", "The file breaks off before its end."),
    ("bad_values", "bad_samples", "{:.0f} samples were not numbers and were silenced."),
    ("shape_changes", "format_changed", "The sound's format changes {:.0f} times in the file."),
    ("filled_s", "gaps_filled", "{:.1f} seconds missing in the file were filled with silence."),
    ("jumps", "clock_jumps", "The file's clock jumps {:.0f} times; times may be off there."),
    ("other_tracks", "other_tracks", "{:.0f} further sound tracks in the file were left out."),
)
