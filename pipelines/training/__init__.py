"""What both training stages share: the loop, schedules, and resumable state."""
