"""Concepts of a whole archive: asked for, kept, corrected, imported, judged, read in training."""
