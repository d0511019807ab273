"""Refinement of a large set in parts, each by a task of its own, on one machine or on many."""
