"""Losses, loops, schedules, samplers, resumable state, and choosing by cross-validation."""
