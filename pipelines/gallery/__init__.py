"""Refining queries against a gallery: in one go, or from the gallery's stored state."""
