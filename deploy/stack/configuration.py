"""What Prometheus and Grafana of the stack are told, as files."""

from pathlib import Path

import yaml

RULES = Path(__file__).resolve().parent / "gpu-rules.yaml"
CHART_RULES = Path("helm/rcnn/rules")
DASHBOARDS = Path("helm/rcnn/dashboards")


def prometheus_file(path: Path, metrics_port: int, own_port: int) -> None:
    """Scrapes the service and itself; evaluates the chart's rules, and those that give GPU series one name each."""
    jobs = {"rcnn": metrics_port, "prometheus": own_port}
    targets = [{"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for job, port in jobs.items()]
    settings = {"scrape_interval": "2s", "evaluation_interval": "2s"}
    content = {
        "global": settings,
        "rule_files": [str(RULES), f"{CHART_RULES.resolve()}/*.yaml"],
        "scrape_configs": targets,
    }
    path.write_text(yaml.safe_dump(content))


def grafana_files(folder: Path, prometheus_port: int, port: int) -> dict[str, str]:
    """Provisioning below folder: the data source and the chart's dashboards. Returns Grafana's environment."""
    source = {
        "name": "Prometheus",
        "type": "prometheus",
        "url": f"http://127.0.0.1:{prometheus_port}",
        "isDefault": True,
    }
    provider = {"name": "rcnn", "type": "file", "options": {"path": str(DASHBOARDS.resolve())}}
    for name, key, row in (("datasources", "datasources", source), ("dashboards", "providers", provider)):
        (folder / "provisioning" / name).mkdir(parents=True)
        content = yaml.safe_dump({"apiVersion": 1, key: [row]})
        (folder / "provisioning" / name / "stack.yaml").write_text(content)
    return {
        "GF_PATHS_PROVISIONING": str(folder / "provisioning"),
        "GF_PATHS_DATA": str(folder / "data"),
        "GF_PATHS_LOGS": str(folder / "logs"),
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(port),
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
    }
