"""Training: losses, schedules, data, teachers and the loop."""
