"""The seed's way of moving sound (JSON numbers, fixed cuts) beside ours, on one recording."""
