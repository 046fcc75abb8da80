"""Draws the event loop's lag over the last seconds as an SVG path."""

from collections import deque
from time import perf_counter

SECONDS = 20
WIDTH, HEIGHT = 400, 60
SCALE_MS = 2000  # the height of the drawing, unless the lag is higher


class Trace:
    def __init__(self) -> None:
        self._samples = deque([(perf_counter(), 0.0)])

    def add(self, lag_ms: float) -> None:
        """Add the highest lag since the previous sample."""
        now = perf_counter()
        self._samples.append((now, lag_ms))
        while self._samples[1][0] < now - SECONDS:
            self._samples.popleft()

    def path(self) -> str:
        """Return the path. Its right edge is the current time."""
        now, highest = self._samples[-1][0], max(SCALE_MS, *(lag for _, lag in self._samples))
        points = [
            (max(0, WIDTH * (1 - (now - time) / SECONDS)), HEIGHT * (1 - lag / highest))
            for time, lag in self._samples
        ]
        steps = "".join(f"V{y:.1f}H{x:.1f}" for x, y in points[1:])
        return f"M{points[0][0]:.1f} {HEIGHT}{steps}V{HEIGHT}z"
