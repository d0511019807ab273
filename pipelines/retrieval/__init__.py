"""Arrays in, arrays out: neighbours, re-ranking, refiners, metrics. No file is opened here."""
