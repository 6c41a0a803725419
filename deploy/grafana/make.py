#!/usr/bin/env python3
"""Makes the dashboards beside it: `make.py` writes them, `make.py --check` fails when a file differs from what would be written.

A panel is (title, kind, unit, what it says, [(query, legend)], link). Queries know no data source: that is a variable of each dashboard.
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
ADMIN = "${console}/admin"
TRUNK = '{trunk=~"$trunk"}'
NAMED = " * on (trunk) group_left (name) warp_trunk_info"
VENDOR = " * on (vendor) group_left (name) warp_vendor_info"


def quantiles(metric, by="", where="", of=("0.5", "0.95", "0.99")):
    inner = f"sum by (le{by}) (rate({metric}_bucket{where}[5m]))"
    return [(f"histogram_quantile({q}, {inner})", f"p{q[2:].ljust(2, '0')}") for q in of]


CALLS = ADMIN + "/calls"
DASHBOARDS = {
    "overview": ("WARP overview", [], [
        ("Active calls", "stat", "short", "Calls of customers that are up now.", [('sum(warp_sip_active_calls{direction="ingress"})', "calls")], CALLS),
        ("Calls a second", "timeseries", "reqps", "Calls of customers that ended, a second.", [('sum(rate(warp_sip_calls_total{direction="ingress"}[1m]))', "CPS")], CALLS),
        ("ASR and NER", "timeseries", "percentunit", "Answered, and reached, of all calls of customers (ITU-T E.411, E.425).", [("warp:asr:ratio5m", "ASR"), ("warp:ner:ratio5m", "NER")], CALLS + "?outcome=failed"),
        ("Outcomes", "bars", "reqps", "How calls of customers end.", [('sum by (outcome) (rate(warp_sip_calls_total{direction="ingress"}[5m]))', "{{outcome}}")], CALLS),
        ("Post-dial delay", "timeseries", "s", "From the INVITE to the first ringing.", quantiles("warp_sip_pdd_seconds"), CALLS),
        ("Length of calls (ACD)", "timeseries", "s", "Mean length of answered calls.", [("warp:acd:seconds5m", "ACD")], CALLS + "?outcome=answered"),
        ("Bad audio", "timeseries", "percentunit", "Share of streams with an estimated MOS of 3.6 or less.", [("warp:mos:bad_ratio5m", "MOS ≤ 3.6")], CALLS),
        ("Vendor trunks that are down", "table", "short", "They answer no OPTIONS, or their calls time out.", [("warp_sip_trunk_up == 0", "{{trunk}}")], ADMIN + "/vendors"),
        ("Parts and dependencies", "table", "short", "1: there. 0: away.", [("warp_dependency_up", "{{name}}")], ADMIN),
        ("Starts", "timeseries", "short", "Processes that started within five minutes.", [("sum(changes(warp_start_time_seconds[5m]))", "starts")], ADMIN + "/audit"),
    ]),
    "trunks": ("WARP trunks", ["trunk"], [
        ("Calls against the limit", "timeseries", "percentunit", "Active calls as a share of the channels.", [("sum by (trunk) (warp_sip_active_calls" + TRUNK + ") / on (trunk) warp_sip_call_limit" + NAMED, "{{name}}")], CALLS + "?trunk=$trunk"),
        ("Final codes", "bars", "reqps", "Final answers to INVITE.", [("sum by (code) (rate(warp_sip_trunk_invite_final_total" + TRUNK + "[5m]))", "{{code}}")], CALLS + "?trunk=$trunk"),
        ("ASR", "timeseries", "percentunit", "Answered of all calls, by trunk.", [("warp:asr:trunk_ratio5m" + TRUNK + NAMED, "{{name}}")], CALLS + "?trunk=$trunk"),
        ("Calls a second", "timeseries", "reqps", "Calls that ended, by trunk.", [("sum by (trunk) (rate(warp_sip_calls_total" + TRUNK[:-1] + ',direction="ingress"}[5m]))' + NAMED, "{{name}}")], CALLS + "?trunk=$trunk"),
        ("Post-dial delay", "timeseries", "s", "From the INVITE to the first ringing.", quantiles("warp_sip_pdd_seconds", where=TRUNK), CALLS + "?trunk=$trunk"),
        ("MOS", "timeseries", "short", "Median and worst twentieth of the streams.", quantiles("warp_media_stream_mos", where=TRUNK, of=("0.05", "0.5")), CALLS + "?trunk=$trunk"),
    ]),
    "vendors": ("WARP vendors", [], [
        ("Up", "table", "short", "1: takes calls.", [("warp_sip_trunk_up", "{{trunk}}")], ADMIN + "/vendors"),
        ("Failovers", "timeseries", "reqps", "Calls that a vendor did not take, by reason.", [("sum by (from_vendor, reason) (rate(warp_sip_failover_total[5m])) > 0 or sum by (from_vendor, reason) (rate(warp_sip_failover_total[5m]))", "{{from_vendor}} {{reason}}")], CALLS),
        ("Cost an hour", "timeseries", "short", "What each vendor charges, in its currency.", [("sum by (vendor, currency) (increase(warp_cost_total[1h]))" + VENDOR, "{{name}} {{currency}}")], ADMIN + "/vendors"),
        ("Minutes", "timeseries", "m", "Minutes that each vendor charges, in an hour.", [("sum by (vendor) (increase(warp_cost_seconds_total[1h])) / 60" + VENDOR, "{{name}}")], ADMIN + "/vendors"),
        ("Prices loaded", "table", "short", "Rows of each deck that calls are decided with.", [("warp_lcr_routes_loaded", "{{deck}}")], ADMIN + "/decks"),
    ]),
    "media": ("WARP media", [], [
        ("Sessions and streams", "timeseries", "short", "What the relay carries.", [("sum(warp_media_sessions)", "sessions"), ("sum by (codec) (warp_media_streams)", "{{codec}}")], CALLS),
        ("Packets a second", "timeseries", "pps", "By direction and way.", [("sum by (direction, path) (rate(warp_media_packets_total[1m]))", "{{direction}} {{path}}")], CALLS),
        ("Bits a second", "timeseries", "bps", "By direction.", [("8 * sum by (direction) (rate(warp_media_bytes_total[1m]))", "{{direction}}")], CALLS),
        ("Lost, reordered, late", "timeseries", "pps", "As receiver reports and sequence numbers say.", [("sum(rate(warp_media_packets_lost_total[5m]))", "lost"), ("sum(rate(warp_media_packets_reordered_total[5m]))", "reordered"), ("sum(rate(warp_media_packets_late_total[5m]))", "late")], CALLS),
        ("Refused packets", "timeseries", "pps", "Why packets were not carried.", [("sum by (reason) (rate(warp_media_packet_errors_total[5m]))", "{{reason}}")], CALLS),
        ("MOS", "timeseries", "short", "Median and worst twentieth.", quantiles("warp_media_stream_mos", of=("0.05", "0.5")), CALLS),
        ("Jitter", "timeseries", "s", "Of streams that ended.", quantiles("warp_media_stream_jitter_seconds"), CALLS),
        ("Time in the relay", "timeseries", "s", "One packet of 1,024 is measured.", quantiles("warp_media_forward_latency_seconds"), CALLS),
        ("Ports", "timeseries", "percentunit", "Share of the ports that are lent.", [("warp_media_ports_used / warp_media_ports", "{{interface}}")], CALLS),
        ("One-way and silent", "timeseries", "short", "Calls in ten minutes.", [("increase(warp_media_one_way_sessions_total[10m])", "one-way"), ("increase(warp_media_silent_timeouts_total[10m])", "silent")], CALLS),
    ]),
    "engine": ("WARP SIP engine", [], [
        ("Requests", "bars", "reqps", "By method.", [('sum by (method) (rate(warp_sip_requests_total{direction="ingress"}[1m]))', "{{method}}")], CALLS),
        ("Responses", "bars", "reqps", "By status.", [('sum by (code) (rate(warp_sip_responses_total{direction="egress"}[1m]))', "{{code}}")], CALLS),
        ("Transactions and dialogs", "timeseries", "short", "What is held.", [("sum by (kind) (warp_sip_transactions)", "{{kind}}"), ("sum by (state) (warp_sip_dialogs)", "{{state}}")], CALLS),
        ("Time inside WARP", "timeseries", "s", "From a datagram to what it causes.", quantiles("warp_sip_proxy_latency_seconds", of=("0.5", "0.99", "0.999")), CALLS),
        ("Retransmissions", "timeseries", "percentunit", "Of all requests that come.", [("warp:retransmit:ratio5m", "retransmitted")], CALLS),
        ("Dropped", "timeseries", "reqps", "By reason.", [("sum by (reason) (rate(warp_sip_dropped_total[5m]))", "{{reason}}")], CALLS),
        ("Sign-ins", "timeseries", "reqps", "Digest, by result.", [("sum by (result) (rate(warp_sip_auth_total[5m]))", "{{result}}")], CALLS),
        ("Overload and work", "timeseries", "percentunit", "Share of new calls that are refused; how busy each worker is.", [("warp_sip_overload_level_ratio", "overload"), ("warp_worker_busy_ratio", "{{worker}}")], CALLS),
    ]),
    "business": ("WARP business", [], [
        ("Revenue and cost an hour", "timeseries", "short", "By the currency that customers pay in; the cost at the exchange rate of each decision. For graphs only; invoices come from the ledger.", [("sum by (currency) (increase(warp_revenue_total[1h]))", "revenue {{currency}}"), ("sum by (currency) (increase(warp_cost_of_revenue_total[1h]))", "cost {{currency}}")], ADMIN + "/ledger"),
        ("Margin", "timeseries", "percentunit", "Of the last hour, by the currency that customers pay in.", [("warp:margin:ratio1h", "margin {{currency}}")], ADMIN + "/ledger"),
        ("Revenue by customer", "timeseries", "short", "In an hour, in the customer's currency.", [("sum by (customer, currency) (increase(warp_revenue_total[1h])) * on (customer) group_left (name) warp_customer_info", "{{name}} {{currency}}")], ADMIN + "/customers"),
        ("Minutes by customer", "timeseries", "m", "Billed, in an hour.", [("sum by (customer) (increase(warp_billed_seconds_total[1h])) / 60 * on (customer) group_left (name) warp_customer_info", "{{name}}")], ADMIN + "/customers"),
        ("Records behind", "timeseries", "s", "Age of the oldest record that is not posted.", [("warp_cdr_lag_seconds", "{{sink}}")], ADMIN + "/ledger"),
        ("Ratings", "timeseries", "reqps", "Second ratings by result.", [("sum by (result) (rate(warp_rating_total[5m]))", "{{result}}"), ("sum by (reason) (rate(warp_rating_failures_total[5m]))", "failed: {{reason}}")], CALLS),
    ]),
    "api": ("WARP API", [], [
        ("Requests", "timeseries", "reqps", "By route.", [("topk(15, sum by (route) (rate(warp_http_requests_total[5m])))", "{{route}}")], ADMIN + "/audit"),
        ("Answers", "bars", "reqps", "By class.", [("sum by (status_class) (rate(warp_http_requests_total[5m]))", "{{status_class}}")], ADMIN + "/audit"),
        ("Time", "timeseries", "s", "From the request to the answer.", quantiles("warp_http_request_seconds"), ADMIN + "/audit"),
        ("Refused by rate", "timeseries", "reqps", "429.", [("sum(rate(warp_http_rate_limited_total[5m]))", "429")], ADMIN + "/keys"),
        ("Tokens refused", "timeseries", "reqps", "By reason.", [("sum by (reason) (rate(warp_tokens_refused_total[5m]))", "{{reason}}")], ADMIN + "/operators"),
        ("Database", "timeseries", "s", "Time of questions to what WARP needs.", [("sum by (name, result) (rate(warp_dependency_request_seconds_sum[5m])) / sum by (name, result) (rate(warp_dependency_request_seconds_count[5m]))", "{{name}} {{result}}")], ADMIN),
    ]),
    "nodes": ("WARP nodes", [], [
        ("Versions", "table", "short", "What runs where.", [("warp_build_info", "{{instance}} {{version}} {{revision}}")], ADMIN),
        ("Processor", "timeseries", "percentunit", "Processors that are used.", [("rate(process_cpu_seconds_total{job=\"warp\"}[1m])", "{{instance}}")], ADMIN),
        ("Memory", "timeseries", "bytes", "Resident.", [("process_resident_memory_bytes{job=\"warp\"}", "{{instance}}")], ADMIN),
        ("Descriptors", "timeseries", "percentunit", "Of those that the process may have.", [("process_open_fds{job=\"warp\"} / process_max_fds", "{{instance}}")], ADMIN),
        ("Disk", "timeseries", "percentunit", "Of the data folder.", [("warp_data_disk_used_ratio", "{{instance}}")], ADMIN),
        ("Journal", "timeseries", "s", "Time of a sync.", quantiles("warp_journal_sync_seconds", of=("0.5", "0.99")), ADMIN),
        ("Snapshots", "timeseries", "short", "Published and failed, in an hour.", [("increase(warp_snapshot_published_total[1h])", "published"), ("increase(warp_snapshot_failures_total[1h])", "failed")], ADMIN + "/audit"),
        ("Log", "bars", "reqps", "Lines by level.", [("sum by (level) (rate(warp_log_messages_total[5m]))", "{{level}}")], ADMIN),
        ("Draining", "table", "short", "1: takes no new call.", [("warp_draining", "{{instance}}")], ADMIN),
        ("Metrics", "timeseries", "short", "Series of the node.", [("warp_metrics_series", "{{instance}}")], ADMIN),
    ]),
}


def variable(name, label, kind, query, **more):
    return {"name": name, "label": label, "type": kind, "query": query, **more}


def panel(index, spec):
    title, kind, unit, says, queries, link = spec
    defaults = {"unit": unit}
    if kind == "bars":
        defaults["custom"] = {"stacking": {"mode": "normal"}, "fillOpacity": 60}
    return {
        "id": index + 1, "title": title, "description": says, "type": "timeseries" if kind == "bars" else kind,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"x": 12 * (index % 2), "y": 8 * (index // 2), "w": 12, "h": 8},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "links": [{"title": "In the console", "url": link, "targetBlank": True}],
        "targets": [
            {"refId": chr(65 + n), "expr": expr, "legendFormat": legend, "instant": kind == "table", "format": "table" if kind == "table" else "time_series",
             "datasource": {"type": "prometheus", "uid": "${datasource}"}}
            for n, (expr, legend) in enumerate(queries)
        ],
    }


def dashboard(name, title, variables, panels):
    listed = [
        variable("datasource", "Data source", "datasource", "prometheus"),
        variable("console", "Console", "textbox", "http://127.0.0.1:8080", current={"text": "http://127.0.0.1:8080", "value": "http://127.0.0.1:8080"}),
    ]
    if "trunk" in variables:
        listed.append(variable("trunk", "Trunk", "query", "label_values(warp_sip_call_limit, trunk)", datasource={"type": "prometheus", "uid": "${datasource}"}, includeAll=True, multi=True, allValue=".*", refresh=2))
    return {
        "uid": f"warp-{name}", "title": title, "tags": ["warp"], "schemaVersion": 38, "version": 1, "editable": True, "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"}, "timezone": "browser", "templating": {"list": listed},
        "links": [{"type": "dashboards", "tags": ["warp"], "asDropdown": True, "title": "WARP", "includeVars": True, "keepTime": True}],
        "annotations": {"list": [{"name": "Starts", "enable": True, "iconColor": "blue", "expr": "changes(warp_start_time_seconds[5m]) > 0", "datasource": {"type": "prometheus", "uid": "${datasource}"}}]},
        "panels": [panel(n, p) for n, p in enumerate(panels)],
    }


def main():
    stale = []
    for name, (title, variables, panels) in DASHBOARDS.items():
        path = HERE / f"{name}.json"
        text = json.dumps(dashboard(name, title, variables, panels), indent=1, ensure_ascii=False) + "\n"
        if "--check" in sys.argv:
            if not path.exists() or path.read_text() != text:
                stale.append(path.name)
        else:
            path.write_text(text)
    if stale:
        sys.exit(f"not what make.py writes: {', '.join(stale)}")


if __name__ == "__main__":
    main()
