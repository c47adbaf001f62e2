"""Figures of any talking video, beside those of people (docs/score.md)."""
