"""What a session's `User-Agent` means to its owner."""

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
    """ "Firefox on Linux", or of a program its own name."""
    given = user_agent or ""
    browser = next((name for mark, name in BROWSERS.items() if mark in given), None)
    system = next((name for mark, name in SYSTEMS.items() if mark in given), None)
    if browser and system:
        return f"{browser} on {system}"
    return browser or given or "Unknown device"
