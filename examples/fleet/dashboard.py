#!/usr/bin/env python3
"""Prints the Grafana dashboard of a fleet: examples/fleet/dashboard.json.

    python3 examples/fleet/dashboard.py >examples/fleet/dashboard.json

Import the JSON in Grafana, and choose a data source: Prometheus, or VictoriaMetrics by its API of
Prometheus. The recording rules in recording.yml are required.
"""

import json

# Both variables select all by the regular expression `.*`.
OF = 'host=~"$host",plugin=~"$plugin"'

# Title, unit of Grafana, kind of panel, width of 24, queries with their legends.
PANELS = [
    ("Hosts", "short", "stat", 4, [("count(count by (host) (plugmeter_plugins))", "hosts")]),
    ("Plugins up", "short", "stat", 4, [(f"sum(max by (host, plugin) (plugin_up{{{OF}}}))", "up")]),
    (
        "Not up",
        "short",
        "stat",
        4,
        [(f"sum(1 - max by (host, plugin) (plugin_up{{{OF}}}))", "not up")],
    ),
    (
        "Crashes in an hour",
        "short",
        "stat",
        4,
        [('round(sum(plugin:plugin_crashes:increase1h{plugin=~"$plugin"}))', "crashes")],
    ),
    (
        "Findings",
        "short",
        "stat",
        4,
        [
            (
                f'sum(max by (host, plugin, kind) (plugin_findings{{{OF},severity!="notice"}})) or vector(0)',
                "warnings and critical ones",
            )
        ],
    ),
    ("Cores", "short", "stat", 4, [('sum(host:plugin_tree_cpu_seconds:rate1m{host=~"$host"})', "cores")]),
    (
        "CPU by host, with descendants",
        "short",
        "timeseries",
        12,
        [('host:plugin_tree_cpu_seconds:rate1m{host=~"$host"}', "{{host}}")],
    ),
    (
        "CPU by plugin: 95th percentile over hosts",
        "short",
        "timeseries",
        12,
        [('plugin:plugin_cpu_seconds:rate1m_p95{plugin=~"$plugin"}', "{{plugin}}")],
    ),
    (
        "CPU percent of an hour: 95th percentile over time and hosts",
        "percent",
        "bargauge",
        12,
        [('topk(20, plugin:plugin_cpu_percent:p95_1h{plugin=~"$plugin"})', "{{plugin}}")],
    ),
    (
        "CPU percent of an hour: 95th percentile over time, by host",
        "percent",
        "bargauge",
        12,
        [(f"topk(20, host_plugin:plugin_cpu_percent:p95_1h{{{OF}}})", "{{plugin}} on {{host}}")],
    ),
    (
        "Memory by host",
        "bytes",
        "timeseries",
        12,
        [('host:plugin_resident_memory_bytes:sum{host=~"$host"}', "{{host}}")],
    ),
    (
        "Memory by plugin: largest of all hosts",
        "bytes",
        "timeseries",
        12,
        [('plugin:plugin_resident_memory_bytes:max{plugin=~"$plugin"}', "{{plugin}}")],
    ),
    (
        "CPU: the busiest",
        "short",
        "timeseries",
        12,
        [
            (
                f"topk(10, max by (host, plugin) (rate(plugin_cpu_seconds_total{{{OF}}}[$__rate_interval])))",
                "{{plugin}} on {{host}}",
            )
        ],
    ),
    (
        "Events a second",
        "short",
        "timeseries",
        12,
        [(f"topk(10, host_plugin:plugin_events:rate1m{{{OF}}})", "{{plugin}} on {{host}}")],
    ),
    (
        "Crashes and restarts in ten minutes",
        "short",
        "timeseries",
        12,
        [
            (
                f"round(sum by (plugin) (max by (host, plugin) (increase(plugin_crashes_total{{{OF}}}[10m]))))",
                "crashes of {{plugin}}",
            ),
            (
                f"round(sum by (plugin) (max by (host, plugin) (increase(plugin_restarts_total{{{OF}}}[10m]))))",
                "restarts of {{plugin}}",
            ),
        ],
    ),
    (
        "Cost of sampling",
        "percent",
        "timeseries",
        12,
        [
            (
                '100 * max by (host) (rate(plugmeter_sampler_cpu_seconds_total{host=~"$host"}[$__rate_interval]))',
                "{{host}}",
            )
        ],
    ),
    (
        "Versions",
        "short",
        "table",
        12,
        [(f"count by (plugin, version) (max by (host, plugin, version) (plugin_info{{{OF}}}))", "")],
    ),
    (
        "States that are not RUNNING",
        "short",
        "table",
        12,
        [(f'max by (host, plugin, plugin_state) (plugin_state{{{OF},plugin_state!="RUNNING"}}) == 1', "")],
    ),
]

SOURCE = {"type": "prometheus", "uid": "${source}"}
HEIGHTS = {"stat": 4}


def panel(number, place, title, unit, kind, width, queries):
    is_table = kind in ("table", "stat", "bargauge")
    targets = [
        {
            "refId": chr(ord("A") + i),
            "datasource": SOURCE,
            "expr": query,
            "legendFormat": legend or "__auto",
            "instant": is_table,
            "range": not is_table,
            "format": "table" if kind == "table" else "time_series",
        }
        for i, (query, legend) in enumerate(queries)
    ]
    return {
        "id": number,
        "type": kind,
        "title": title,
        "datasource": SOURCE,
        "gridPos": {"x": place[0], "y": place[1], "w": width, "h": HEIGHTS.get(kind, 8)},
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "options": {},
        "targets": targets,
    }


def panels():
    x = y = height = 0
    for number, (title, unit, kind, width, queries) in enumerate(PANELS, 1):
        if x + width > 24:
            x, y = 0, y + height
        height = HEIGHTS.get(kind, 8)
        yield panel(number, (x, y), title, unit, kind, width, queries)
        x += width


def variable(name, query):
    return {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "sort": 1,
    }


DASHBOARD = {
    "uid": "plugmeter-fleet",
    "title": "Plugins of a fleet",
    "tags": ["plugmeter"],
    "schemaVersion": 39,
    "editable": True,
    "refresh": "30s",
    "time": {"from": "now-3h", "to": "now"},
    "templating": {
        "list": [
            {"name": "source", "label": "data source", "type": "datasource", "query": "prometheus"},
            variable("host", "label_values(plugmeter_plugins, host)"),
            variable("plugin", 'label_values(plugin_up{host=~"$host"}, plugin)'),
        ]
    },
    "panels": list(panels()),
}

print(json.dumps(DASHBOARD, indent=2))
