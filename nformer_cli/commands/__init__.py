"""One file for each command: options -> one stage call -> one table."""
