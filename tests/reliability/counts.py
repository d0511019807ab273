"""What a campaign tried, how much of it held, and what did not."""

from dataclasses import dataclass, field


@dataclass
class Counts:
    """One campaign's counts; `failed` says of each what was done and what came of it.

    skipped: what could not be tried here, with the reason.
    """

    tried: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def held(self) -> int:
        return self.tried - len(self.failed)

    def add(self, what: str, problem: str) -> None:
        """Count one trial, whose problem is "" where it held."""
        self.tried += 1
        if problem:
            self.failed.append(f"{what}: {problem}")

    def line(self) -> str:
        skipped = f"; skipped: {self.skipped}" if self.skipped else ""
        return f"tried {self.tried:,}, held {self.held:,}{skipped}"

    def __add__(self, other: "Counts") -> "Counts":
        skipped = self.skipped or other.skipped
        return Counts(self.tried + other.tried, self.failed + other.failed, skipped)
