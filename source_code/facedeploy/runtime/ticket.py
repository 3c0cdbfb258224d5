"""What goes through a stream's queues."""

from dataclasses import dataclass

from facedeploy.runtime.operator import Unit


@dataclass
class Ticket:
    """A unit with its place in line, or the exception that a stage or the source raised in its place.

    `queued_at` is when it came into the queue where it waits or last waited, on `time.perf_counter`'s clock.
    """

    number: int
    unit: Unit
    failure: BaseException | None = None
    queued_at: float = 0.0

    def result(self) -> Unit:
        """The unit; raises the exception in its place."""
        if self.failure is not None:
            raise self.failure
        return self.unit
