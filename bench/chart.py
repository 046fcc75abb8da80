"""Draws the ratios to the floor as SVG, for light and dark mode."""

from bench.results import FLOOR, Result

LEFT, WIDTH, RIGHT = 70, 560, 70
TOP, BAR, GAP, GROUP = 66, 16, 3, 54
STYLE = """
  svg { font: 13px system-ui, sans-serif; --page: #fff; --text: #1f2328;
        --line: #d1d9e0; --soft: #59636e; --project: #0969da; --fastapi: #afb8c1; }
  @media (prefers-color-scheme: dark) {
    svg { --page: #0d1117; --text: #f0f6fc; --line: #3d444d; --soft: #9198a1;
          --project: #4493f8; --fastapi: #656c76; }
  }
  .page { fill: var(--page); }  /* the page around the image may be dark in light mode */
  text { fill: var(--text); } .soft { fill: var(--soft); font-size: 12px; }
  line { stroke: var(--line); } .floor { stroke: var(--text); stroke-dasharray: 4 3; }
  .range { stroke: var(--text); } .project { fill: var(--project); }
  .fastapi { fill: var(--fastapi); }"""


def draw(result: Result) -> str:
    contenders = [name for name in reversed(result.contenders) if name != FLOOR]
    highest = max(
        result.ratio(workload, name).high for workload in result.workloads for name in contenders
    )
    end = max(1.0, highest)
    height = TOP + GROUP * len(result.workloads) + 14
    parts = [_legend(result, contenders), _grid(end, height)]
    for place, workload in enumerate(result.workloads):
        y = TOP + GROUP * place + 10
        parts.append(f'<text x="{LEFT - 10}" y="{y + 22}" text-anchor="end">{workload}</text>')
        for row, name in enumerate(contenders):
            parts.append(_bar(result, workload, name, y + row * (BAR + GAP), end))
    width = LEFT + WIDTH + RIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Requests per second as a ratio to {result.contenders[FLOOR].title}">\n'
        f'<style>{STYLE}\n</style>\n<rect class="page" width="100%" height="100%" rx="6"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _legend(result: Result, contenders: list[str]) -> str:
    title = (
        f"Requests per second, as a ratio to {result.contenders[FLOOR].title} with asyncpg by hand"
    )
    parts = [f'<text x="{LEFT}" y="18">{title}</text>']
    x = LEFT
    for name in contenders:
        label = result.contenders[name].title
        parts.append(f'<rect class="{name}" x="{x}" y="31" width="11" height="11" rx="2"/>')
        parts.append(f'<text class="soft" x="{x + 17}" y="41">{label}</text>')
        x += 110
    parts.append(f'<text class="soft" x="{x}" y="41">thin line: lowest to highest round</text>')
    return "\n".join(parts)


def _grid(end: float, height: int) -> str:
    parts = []
    for tenths in range(0, int(end * 10) + 1, 2):
        x = LEFT + WIDTH * tenths / 10 / end
        kind = ' class="floor"' if tenths == 10 else ""
        parts.append(f'<line{kind} x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{height - 8}"/>')
        label = f"{tenths / 10:g}"
        parts.append(
            f'<text class="soft" x="{x:.1f}" y="{TOP - 6}" text-anchor="middle">{label}</text>'
        )
    return "\n".join(parts)


def _bar(result: Result, workload: str, name: str, y: int, end: float) -> str:
    ratio = result.ratio(workload, name)
    median, low, high = (LEFT + WIDTH * value / end for value in ratio)
    middle = y + BAR / 2
    return (
        f'<rect class="{name}" x="{LEFT}" y="{y}" width="{median - LEFT:.1f}" height="{BAR}"/>'
        f'<line class="range" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>'
        f'<text class="soft" x="{high + 6:.1f}" y="{middle + 4}">{ratio.median:.2f}</text>'
    )
