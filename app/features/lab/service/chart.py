"""Draws the results as SVG. Each bar is labeled with its step and its value."""

from html import escape

from app.features.lab.schemas import Results
from app.features.lab.service.figures import panels

TITLE = "From sync to async"
WIDTH, ROW, BAR = 540, 22, 160
BAR_OFFSETS = (60, 300)
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.quiet { fill: #59636e }
rect { fill: #0969da }
.trap { fill: #bc4c00 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .quiet { fill: #9198a1 }
  rect { fill: #4493f8 }
  .trap { fill: #db6d28 }
}
"""


def draw(results: Results) -> str:
    drawing = Drawing()
    for panel in panels(results.plan, results.measurements):
        drawing.next_row(1.5)
        drawing.text(0, panel.title, "title")
        drawing.next_row()
        for x, column in zip(BAR_OFFSETS, panel.columns, strict=True):
            drawing.text(x, column.meaning, "quiet")
        for row in panel.rows:
            drawing.next_row()
            drawing.text(0, row.step)
            for x, bar in zip(BAR_OFFSETS, row.bars, strict=False):  # a step may not be measured
                width = round(BAR * bar.length)
                drawing.bar(x, width, row.step)
                drawing.text(x + width + 8, bar.label)
    delay, machine = f"{results.plan.query_ms:g} ms a query", results.machine
    drawing.next_row(1.5)
    drawing.text(0, f"{delay}, {machine['database']}, {machine['cores']} cores", "quiet")
    return drawing.render()


class Drawing:
    """An SVG image that is written row by row, from the top down."""

    def __init__(self) -> None:
        self._y = 0.0
        self._parts: list[str] = []

    def next_row(self, rows: float = 1) -> None:
        self._y += rows * ROW

    def text(self, x: int, text: str, kind: str = "") -> None:
        self._parts.append(f'<text class="{kind}" x="{x}" y="{self._y:g}">{escape(text)}</text>')

    def bar(self, x: int, width: int, kind: str) -> None:
        size = f'width="{max(1, width)}" height="14"'
        self._parts.append(f'<rect class="{kind}" x="{x}" y="{self._y - 12:g}" {size} rx="2"/>')

    def render(self) -> str:
        height = round(self._y + ROW / 2)
        size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        start = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{TITLE}">'
        return "\n".join([start, f"<style>{STYLE}</style>", *self._parts, "</svg>\n"])
