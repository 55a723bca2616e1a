"""Engines and peers on the same weights and the same sound."""
