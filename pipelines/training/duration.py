"""How long a training will take, from its first steps; where that is long, a way out."""

import time
from dataclasses import dataclass, field

STEPS, SECONDS = 8, 15.0  # timed, after the first, which is slower; the fewer of the two
LEAST = 60.0  # seconds that are worth a word
LONG = 3 * 3600.0  # seconds on a CPU that are worth another recipe


@dataclass
class Estimate:
    """Counts steps; after the first ones `after` returns a sentence, once.

    steps: still to be made when the training starts or goes on.
    """

    steps: int
    on_cpu: bool
    made: int = 0
    begun: float = 0.0
    told: bool = field(default=False)

    def after(self, now: float | None = None) -> tuple[str, bool] | None:
        """Count a step; return what to say and whether it is long, when that is known, or None."""
        now = time.perf_counter() if now is None else now
        self.made += 1
        if self.made == 1:
            self.begun = now
            return None
        timed, spent = self.made - 1, now - self.begun
        if self.told or not (timed >= STEPS or (timed >= 2 and spent >= SECONDS)):
            return None
        self.told = True
        left = (self.steps - self.made) * spent / timed
        if left < LEAST:
            return None
        said = f"about {in_words(left)} to go, by the first {timed} steps"
        if not (self.on_cpu and left > LONG):
            return said, False
        return (
            f"{said}. This machine computes on its CPU: --recipe laptop trains a small network on "
            "small images instead. Ctrl-C ends this; the same command goes on after its last epoch",
            True,
        )


def in_words(seconds: float) -> str:
    """Return a duration as people say it: 40 minutes, 3.5 hours, 52 hours."""
    if seconds < 2 * 3600:
        minutes = max(1, round(seconds / 60))
        return f"{minutes} minute" + "s" * (minutes > 1)
    hours = seconds / 3600
    return f"{hours:.1f} hours" if hours < 10 else f"{hours:,.0f} hours"
