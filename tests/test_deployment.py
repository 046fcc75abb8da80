"""The files in deploy/ name settings that exist, and values that production accepts."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from app.core.config import Settings
from tests.databases import ROOT

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
