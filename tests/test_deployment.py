"""The files in deploy/ name settings that exist, and values that production accepts."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import yaml
from sqlalchemy import make_url

from app.core.config import Settings
from tests.conftest import only
from tests.databases import ROOT, Databases

MONITORING = ROOT / "docs/monitoring.md"
METRIC = re.compile(r"\b(?:http|database|event|websockets|jobs|session|process)(?:_[a-z]+)*\b")
SUFFIX = re.compile("_(bucket|count|sum)$")
OF_THE_CLIENT = {"process_resident_memory_bytes", "process_cpu_seconds_total"}
KUBERNETES = ROOT / "deploy/kubernetes"
NAMES = {name.upper() for name in Settings.model_fields}
SECRETS = {
    "SECRET_KEY": "dfgjkl345lkjDFG-dfgjkl345lkjDFG-",
    "POSTGRES_PASSWORD": "dfgjkl345lkjDFG-",
}


def variables_of(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


def containers() -> Iterator[tuple[str, dict[str, object]]]:
    for file in sorted(KUBERNETES.glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            pod = document.get("spec", {}).get("template", {}).get("spec", {})
            for container in pod.get("containers", ()):
                yield file.name, container


def test_production_accepts_the_settings_of_kubernetes(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = variables_of(KUBERNETES / "settings.env")
    variables |= variables_of(KUBERNETES / "secret.env.example") | SECRETS
    assert variables.keys() <= NAMES
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = Settings(_env_file=None)
    assert settings.environment == "production"
    assert settings.metrics_enabled


def test_pods_are_as_restricted_as_the_containers_of_compose() -> None:
    found = dict(containers())
    assert found.keys() == {"app.yaml", "migrate.yaml", "worker.yaml"}
    for container in found.values():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_deployment_of_compose_sets_what_exists() -> None:
    compose = yaml.load(  # it is ours, and `!reset` is a tag of Compose
        (ROOT / "docker-compose.deploy.yml").read_text(), Loader=ComposeLoader
    )
    for service in ("check", "migrate", "worker", "app"):
        assert compose["services"][service]["environment"].keys() <= NAMES
    text = (ROOT / "docker-compose.deploy.yml").read_text()
    for path in re.findall(r"- \./(\S+?):", text):
        assert (ROOT / path).is_file()


@only("postgresql")
def test_backup_of_compose_is_restored(databases: Databases, tmp_path: Path) -> None:
    if not shutil.which("pg_dump"):
        pytest.skip("PostgreSQL's programs are missing")
    url = databases.create()
    server = make_url(url).set(drivername="postgresql")
    backups, files = tmp_path / "backups", tmp_path / "files"
    backups.mkdir()
    files.mkdir()
    variables = {"PGHOST": str(server.host), "PGPORT": str(server.port or 5432)}
    variables |= {"PGUSER": str(server.username), "PGPASSWORD": server.password or ""}
    variables |= {"PGDATABASE": str(server.database), "BACKUP_DAYS": "1"}
    variables |= {"BACKUP_FOLDER": str(backups), "FILES_FOLDER": str(files)}

    def status_of(*arguments: str) -> int:
        command = ["sh", str(ROOT / "deploy/backup.sh"), *arguments]
        return subprocess.run(command, env=os.environ | variables, check=False).returncode

    def rows() -> list[tuple[int]]:
        with psycopg.connect(server.render_as_string(hide_password=False)) as connection:
            return connection.execute("SELECT n FROM kept").fetchall()

    databases.execute(url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (1)")
    (files / "picture").write_text("old")
    assert status_of("now") == 0
    (name,) = [file.stem for file in backups.glob("*.dump")]
    databases.execute(url, "DELETE FROM kept", "CREATE TABLE later ()")
    (files / "picture").unlink()
    assert status_of("restore", name) == 0
    assert rows() == [(1,)]
    assert (files / "picture").read_text() == "old"
    databases.execute(url, "CREATE TABLE later ()", "INSERT INTO kept VALUES (2)")

    archive = backups / f"{name}.dump"
    archive.write_bytes(archive.read_bytes()[:-50])
    assert status_of("restore", name) != 0
    assert rows() == [(1,), (2,)]
    databases.drop(url)


def test_dashboard_asks_for_metrics_that_exist() -> None:
    dashboard = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    documented = set(re.findall(r"^\| `(\w+)` \|", MONITORING.read_text(), re.MULTILINE))
    for expression in expressions:
        names = {SUFFIX.sub("", name) for name in METRIC.findall(expression)}
        assert names, expression
        assert names <= documented | OF_THE_CLIENT, expression


class ComposeLoader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    pass


ComposeLoader.add_constructor("!reset", lambda loader, node: None)
