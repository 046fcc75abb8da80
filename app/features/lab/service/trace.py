"""The event loop's lag of the last seconds, drawn. A stop is as wide as it is long."""

from collections import deque
from time import perf_counter

SECONDS = 20
WIDTH, HEIGHT = 400, 60
FULL_MS = 2000  # as high as it gets, unless it gets worse


class Trace:
    def __init__(self) -> None:
        self._seen = deque([(perf_counter(), 0.0)])

    def add(self, lag_ms: float) -> None:
        """The worst since the last."""
        now = perf_counter()
        self._seen.append((now, lag_ms))
        while self._seen[1][0] < now - SECONDS:
            self._seen.popleft()

    def path(self) -> str:
        """Of SVG; the right edge is now."""
        now, full = self._seen[-1][0], max(FULL_MS, *(lag for _, lag in self._seen))
        points = [
            (max(0, WIDTH * (1 - (now - at) / SECONDS)), HEIGHT * (1 - lag / full))
            for at, lag in self._seen
        ]
        steps = "".join(f"V{y:.1f}H{x:.1f}" for x, y in points[1:])
        return f"M{points[0][0]:.1f} {HEIGHT}{steps}V{HEIGHT}z"
