"""Write docs/configuration.md from the settings class and `.env.example`: `make docs`."""

import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from app.core.config import Settings
from app.core.provider_settings import OidcProvider

FOLDER = Path(__file__).parent
PAGE = FOLDER / "configuration.md"
EXAMPLE = FOLDER.parent / ".env.example"
SETTING = re.compile(r"# ([A-Z0-9_]+)=(.*)")
PRODUCTION = re.compile(r"((?:Required|Needed) (?:in production|behind a proxy))")
TYPES = {
    "bool": "`true` or `false`",
    "EmailStr": "email address",
    "float": "number",
    "int": "integer",
    "NameEmail": "name and email address",
    "OidcProvider": "JSON list",
    "Path": "path",
    "RateLimitItem": "rate limit",
    "SecretStr": "secret text",
    "str": "text",
}
INTRODUCTION = """\
# Configuration

<!-- `make docs` writes this file from the settings class and .env.example. -->

Settings come from environment variables, then from the file `.env`. The class is `Settings` in
[`app/core/config.py`](../app/core/config.py); [`.env.example`](../.env.example) is a template for
`.env`. Names are written in capitals, an empty value means "unset", and a wrong value stops the
start with a message such as this one:

```
PORT: Input should be less than or equal to 65535
```

What production needs is in bold. [Deployment](deployment.md) has a complete example.

To add a setting, declare it in `Settings`, describe it in `.env.example`, and run `make docs`.
"""


def page() -> str:
    return INTRODUCTION + "".join(f"\n{line}\n" if line[0] == "#" else line for line in lines())


def lines() -> list[str]:
    """Return the headings and the table rows, in the order of `.env.example`."""
    found, description = list[str](), list[str]()
    for line in EXAMPLE.read_text().splitlines():
        if line.startswith("## "):
            found += [line, "\n| Setting | Type | Default | Description |\n|---|---|---|---|\n"]
        elif setting := SETTING.fullmatch(line):
            found.append(row(setting[1], setting[2], " ".join(description)))
            description = []
        elif line and found:  # the introduction of the file comes before the first heading
            description.append(line.removeprefix("# "))
    return found


def row(name: str, default: str, description: str) -> str:
    if not description:
        raise ValueError(f"{name} has no description of its own in .env.example.")
    description = PRODUCTION.sub(r"**\1**", description).replace("|", "\\|")
    kind = type_of(Settings.model_fields[name.lower()].annotation)
    shown = f"`{default}`" if default else "unset"
    return f"| `{name}` | {kind} | {shown} | {description} |\n"


def type_of(annotation: Any) -> str:
    """Describe the type of a setting, without the None of one that may be unset."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is list and arguments[0] is not OidcProvider:
        return "list, separated by commas"
    return type_of(arguments[0]) if arguments else TYPES[annotation.__name__]


if __name__ == "__main__":
    PAGE.write_text(page())
