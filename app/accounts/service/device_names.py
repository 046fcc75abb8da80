"""Names of devices, which are derived from the `User-Agent` of their sessions."""

from app.core.translation import gettext

# The first that fits: browsers name those that came before them too.
BROWSERS = {
    "Edg": "Edge",
    "OPR/": "Opera",
    "Firefox/": "Firefox",
    "FxiOS/": "Firefox",
    "Chrome/": "Chrome",
    "CriOS/": "Chrome",
    "Safari/": "Safari",
}
SYSTEMS = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "Macintosh": "macOS",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}


def device_name(user_agent: str | None) -> str:
    """Return a name such as "Firefox on Linux", or the name of a program."""
    given = user_agent or ""
    browser = next((name for mark, name in BROWSERS.items() if mark in given), None)
    system = next((name for mark, name in SYSTEMS.items() if mark in given), None)
    if browser and system:
        return gettext("{browser} on {system}", browser=browser, system=system)
    return browser or given or gettext("Unknown device")
