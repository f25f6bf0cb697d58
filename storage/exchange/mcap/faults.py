"""What is wrong with a file, one line each with its place: all are counted, the first thousand are told."""

from storage.exchange.common import Skipped, refused

MAX_TOLD = 1000


class Faults:
    """Collects faults; memory stays small however many there are."""

    def __init__(self) -> None:
        self.count = 0
        self._told: list[Skipped] = []

    def add(self, where: str, why: str) -> None:
        self.count += 1
        if len(self._told) < MAX_TOLD:
            self._told.append(Skipped(where=where, why=why))

    def refuse(self) -> None:
        """Raise ImportProblem when there is a fault."""
        if self.count:
            raise refused([self._told[0]] * self.count)

    def told(self) -> list[Skipped]:
        more = self.count - len(self._told)
        return self._told + ([Skipped(where="and more", why=f"{more} others, which are not listed")] if more else [])
