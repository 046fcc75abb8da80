"""A list of the settings that are in force, and where each comes from: `app settings`."""

from pydantic import SecretStr
from pydantic_settings import (
    DotEnvSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    SecretsSettingsSource,
)
from sqlalchemy import URL

from app.core.config import Settings


def setting_rows(settings: Settings) -> list[tuple[str, str, str]]:
    """Return the name, the value without secrets, and the origin of each setting."""
    origins = origins_of_settings()
    values = {name: getattr(settings, name) for name in Settings.model_fields}
    values["database_url"] = settings.database  # It is more than a secret.
    return [
        (name.upper(), shown(value), origins.get(name, "default")) for name, value in values.items()
    ]


def origins_of_settings() -> dict[str, str]:
    """Return the origin of each setting that is not left to its default."""
    _, environment, env_file = Settings.settings_customise_sources(
        Settings,
        InitSettingsSource(Settings, {}),
        EnvSettingsSource(Settings),
        DotEnvSettingsSource(Settings),
        SecretsSettingsSource(Settings),
    )
    return dict.fromkeys(env_file(), ".env") | dict.fromkeys(environment(), "environment")


def shown(value: object) -> str:
    """Return a value as it is written in `.env`, without secrets."""
    match value:
        case None | "" | []:
            return "unset"
        case bool():
            return str(value).lower()
        case SecretStr():
            return "********"
        case URL():
            return value.render_as_string(hide_password=True)
        case list():
            return ",".join(map(str, value))
    return str(value)
