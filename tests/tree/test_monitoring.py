"""What conf/ has for Prometheus and Grafana: alerts that fire when they should, a dashboard of metrics that exist."""
import json
import os
import re
import shutil
import subprocess

import pytest
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.dirname(os.path.abspath(__file__))
SUFFIX = re.compile(r"_(bucket|sum|count)$")


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


def known():
    """Name -> type, of all metrics."""
    return dict(re.findall(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \|", read("conf", "METRICS.md"), re.M))


def named(expression):
    """The metrics of a PromQL expression; of a histogram, its own name."""
    names = set(re.findall(r"\b(?:imapferry|process)_[a-z_]+\b", re.sub(r'"[^"]*"', "", expression)))
    return {x if x in known() else SUFFIX.sub("", x) for x in names}


def alerts():
    groups = yaml.safe_load(read("conf", "alerts.yml"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def dashboard():
    return json.loads(read("conf", "grafana.json"))


def panels():
    return [p for p in dashboard()["panels"] if p["type"] != "row"]


def promtool(*args, cwd=None):
    run = subprocess.run(["promtool", *args], capture_output=True, text=True, cwd=cwd, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_alerts_are_rules_of_prometheus():
    promtool("check", "rules", os.path.join(ROOT, "conf", "alerts.yml"))


def test_alerts_fire_and_do_not(tmp_path):
    for path in (os.path.join(ROOT, "conf", "alerts.yml"), os.path.join(HERE, "alerts_test.yml")):
        shutil.copy(path, tmp_path)
    promtool("test", "rules", "alerts_test.yml", cwd=tmp_path)
    tested = [case for test in yaml.safe_load(read("tests", "tree", "alerts_test.yml"))["tests"] for case in test["alert_rule_test"]]
    for kind in (True, False):
        assert {x["alertname"] for x in tested if bool(x["exp_alerts"]) == kind} == set(alerts()), kind


def test_each_alert_says_what_to_do():
    page = read("conf", "ALERTS.md")
    assert re.findall(r"^## (\S+)$", page, re.M) == list(alerts())
    for name, text in re.findall(r"^## (\S+)\n\n(.*?)(?=\n## |\Z)", page, re.M | re.S):
        assert len(text) > 80, name


def test_alerts_look_at_metrics_that_exist():
    for name, rule in alerts().items():
        assert named(rule["expr"]) <= set(known()), name
        assert named(rule["expr"]) or "up{" in rule["expr"], name
        assert rule["labels"]["severity"] in ("critical", "warning"), name


def test_dashboard_shows_each_metric_and_no_other():
    shown = {x for p in panels() for t in p["targets"] for x in named(t["expr"])}
    assert shown == set(known())


def test_dashboard_asks_in_promql(tmp_path):
    """By the parser of Prometheus, with what Grafana puts in for its variables."""
    rules = []
    for p in panels():
        for target in p["targets"]:
            expression = target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")
            assert "$" not in expression, expression
            rules.append({"record": f"panel:{p['id']}:{target['refId']}", "expr": expression})
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    promtool("check", "rules", str(path))


def test_dashboard_has_its_data_source_by_a_variable():
    board = dashboard()
    variables = {v["name"]: v for v in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource" and variables["datasource"]["query"] == "prometheus"
    for p in panels():
        for part in (p, *p["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, p["title"]
    ids = [p["id"] for p in board["panels"]]
    assert len(set(ids)) == len(ids) and len({p["title"] for p in panels()}) == len(panels())
    assert "id" not in board  # it is another one in each Grafana


@pytest.mark.parametrize("kind", ["counter", "gauge", "histogram"])
def test_names_keep_to_the_rules_of_prometheus(kind):
    for name, what in known().items():
        if what == kind:
            assert name.endswith("_total") == (kind == "counter"), name
            assert kind != "histogram" or name.endswith("_seconds"), name
