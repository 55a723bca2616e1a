"""Reproduces the embedded demo model: texts, synthesis, training, export, evaluation."""
