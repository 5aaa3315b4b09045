//! `status`: the server, its regions and azs, and what is drained.

use serde::Deserialize;
use serde_json::Value;

use super::Page;
use super::table::{BAD, Cell, FAINT, GOOD, HEADING, ODD, Table, plain, push};
use super::views::{DrainList, count, drain_table, length, page, read, share_style};
use crate::model::Timestamp;

/// Most zones that are named; a server may hold thousands.
const ZONES_SHOWN: usize = 5;

#[derive(Debug, Deserialize)]
struct Server {
    version: String,
    uptime_seconds: u64,
    ready: bool,
    generation: u64,
    revision: u64,
    #[serde(default)]
    region: Option<String>,
    #[serde(default)]
    az: Option<String>,
    #[serde(default)]
    files: Option<Files>,
    zones: Vec<String>,
    services: u64,
    instances: Tally,
    #[serde(default)]
    forward: Option<Forward>,
    listen: Listen,
}

#[derive(Debug, Deserialize)]
struct Forward {
    queries: u64,
    hits: u64,
    failed: u64,
    upstreams: Vec<Upstream>,
}

#[derive(Debug, Deserialize)]
struct Upstream {
    upstream: String,
    is_aside: bool,
}

#[derive(Debug, Deserialize)]
struct Files {
    in_force: bool,
    #[serde(default)]
    refused: Option<Timestamp>,
    #[serde(default)]
    findings: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Listen {
    dns: Vec<String>,
    api: String,
}

#[derive(Debug, Deserialize)]
struct Tally {
    total: u64,
    pending: u64,
    unhealthy: u64,
    drained: u64,
    available: u64,
}

#[derive(Debug, Deserialize)]
struct RegionList {
    regions: Vec<Region>,
}

#[derive(Debug, Deserialize)]
struct Region {
    name: String,
    instances: Tally,
    azs: Vec<Az>,
}

#[derive(Debug, Deserialize)]
struct Az {
    name: String,
    instances: Tally,
}

/// `status`: the server's document is the page's; regions and drains stand beside it where the token may see them.
pub(super) fn status(server: Value, regions: Option<&Value>, drains: Option<&Value>, now: Timestamp) -> Result<Page, serde_json::Error> {
    let mut text = String::new();
    about(&mut text, &read(&server)?, now);
    if let Some(regions) = regions {
        let list: RegionList = read(regions)?;
        if !list.regions.is_empty() {
            text.push('\n');
            text.push_str(&region_table(&list).render());
        }
    }
    if let Some(drains) = drains {
        let list: DrainList = read(drains)?;
        if !list.drains.is_empty() {
            text.push('\n');
            text.push_str(&drain_table(&list.drains, now).render());
        }
    }
    Ok(page(server, text))
}

fn about(text: &mut String, server: &Server, now: Timestamp) {
    push(text, &format!("Signpost {}", plain(&server.version)), HEADING);
    match server.ready {
        true => push(text, " ready", GOOD),
        false => push(text, " not ready", BAD),
    }
    text.push_str(&format!(", up {}\n", length(std::time::Duration::from_secs(server.uptime_seconds))));
    let mut line = |name: &str, value: String| {
        push(text, &format!("  {name:<10}"), FAINT);
        text.push_str(&plain(&value));
        text.push('\n');
    };
    line("DNS", server.listen.dns.join(", "));
    line("API", format!("http://{}", server.listen.api));
    if let Some(region) = &server.region {
        line("here", server.az.iter().fold(region.clone(), |here, az| format!("{here}/{az}")));
    }
    let more = server.zones.len().saturating_sub(ZONES_SHOWN);
    let shown = server.zones.iter().take(ZONES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match (server.zones.len(), more) {
        (0, _) => line("zones", "none".into()),
        (_, 0) => line("zones", shown),
        _ => line("zones", format!("{shown} and {more} more")),
    }
    line("services", format!("{}, with {} of {} instances available", server.services, server.instances.available, server.instances.total));
    line("revision", format!("{}, snapshot {}", server.revision, server.generation));
    if let Some(forward) = &server.forward {
        line("forwards", forwarded(forward));
    }
    if let Some(files) = server.files.as_ref().filter(|files| !files.in_force) {
        push(text, &format!("  {:<10}", "files"), FAINT);
        let ago = files.refused.map(|at| format!(" {} ago", length(now.since(at)))).unwrap_or_default();
        push(text, &format!("refused when they were read{ago}: what was read before is served"), BAD);
        text.push('\n');
        for finding in &files.findings {
            text.push_str(&format!("            {}\n", plain(finding)));
        }
    }
}

/// `to 2 upstreams (10.0.0.1 does not answer); 80 queries, 60 answered from what was known, 1 failed`
fn forwarded(forward: &Forward) -> String {
    let aside: Vec<&str> = forward.upstreams.iter().filter(|u| u.is_aside).map(|u| u.upstream.as_str()).collect();
    let silent = match aside.len() {
        0 => String::new(),
        1 => format!(" ({} does not answer)", aside[0]),
        _ => format!(" ({} do not answer)", aside.join(", ")),
    };
    let s = if forward.upstreams.len() == 1 { "" } else { "s" };
    let Forward { queries, hits, failed, .. } = forward;
    format!("to {} upstream{s}{silent}; {queries} queries, {hits} answered from what was known, {failed} failed", forward.upstreams.len())
}

fn region_table(list: &RegionList) -> Table {
    let mut table = Table::new(["REGION", "AVAILABLE", "INSTANCES", "UNHEALTHY", "PENDING", "DRAINED"]);
    let mut row = |name: String, tally: &Tally| {
        let style = if tally.total == 0 { FAINT } else { share_style(tally.available, tally.total) };
        table.row([
            Cell::new(name),
            Cell::number(tally.available).styled(style),
            Cell::number(tally.total),
            count(tally.unhealthy, BAD),
            count(tally.pending, ODD),
            count(tally.drained, ODD),
        ]);
    };
    for region in &list.regions {
        row(region.name.clone(), &region.instances);
        for az in &region.azs {
            row(format!("  {}", az.name), &az.instances);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_server_its_regions_and_its_drains_stand_on_one_page() {
        let tally = |total: u64, available: u64, drained: u64| {
            json!({ "total": total, "healthy": available + drained, "pending": 0, "unhealthy": total - available - drained,
                    "drained": drained, "available": available })
        };
        let server = json!({
            "version": "0.1.0", "started": "2026-11-20T08:40:00Z", "uptime_seconds": 12_000, "ready": true, "generation": 34, "revision": 12,
            "region": "boston", "az": "az-1", "zones": ["a.", "b.", "c.", "d.", "e.", "f.", "g."], "services": 2,
            "instances": tally(8, 3, 4), "drains": 1, "listen": { "dns": ["127.0.0.1:5300", "[::1]:5300"], "api": "127.0.0.1:8053" },
        });
        let az = |name: &str, total, available, drained| json!({ "name": name, "instances": tally(total, available, drained), "load": {} });
        let regions = json!({ "revision": 12, "regions": [
            { "name": "boston", "declared": true, "instances": tally(4, 0, 4), "load": {}, "azs": [az("az-1", 2, 0, 2), az("az-2", 2, 0, 2)] },
            { "name": "london", "declared": true, "instances": tally(4, 3, 0), "load": {}, "azs": [az("az-1", 4, 3, 0)] },
        ]});
        let drains = json!({ "drains": [{ "subject": "region/boston", "reason": "drill", "author": "local",
            "started": "2026-11-20T11:59:00Z", "expires": "2026-11-20T15:59:00Z" }] });
        let noon = Timestamp::try_from("2026-11-20T12:00:00Z".to_string()).unwrap();
        let page = status(server.clone(), Some(&regions), Some(&drains), noon).unwrap();
        let text = anstream::adapter::strip_str(&page.text).to_string();
        let expected = "\
Signpost 0.1.0 ready, up 3h20m
  DNS       127.0.0.1:5300, [::1]:5300
  API       http://127.0.0.1:8053
  here      boston/az-1
  zones     a., b., c., d., e. and 2 more
  services  2, with 3 of 8 instances available
  revision  12, snapshot 34

REGION  AVAILABLE  INSTANCES  UNHEALTHY  PENDING  DRAINED
boston          0          4          0        0        4
  az-1          0          2          0        0        2
  az-2          0          2          0        0        2
london          3          4          1        0        0
  az-1          3          4          1        0        0

DRAINED        FOR  ENDS IN  BY     REASON
region/boston  1m   3h59m    local  drill
";
        assert_eq!(text, expected, "\n{text}");
        assert_eq!(page.document, server);
        let mut server = server;
        let upstream =
            |name: &str, aside: bool| json!({ "upstream": name, "queries": 9, "failures": 1, "round_trip_us": 5, "is_aside": aside });
        let upstreams = json!([upstream("9.9.9.9", false), upstream("tcp://10.0.0.1", true)]);
        server["forward"] = json!({ "queries": 80, "hits": 60, "failed": 1, "upstreams": upstreams });
        let text = anstream::adapter::strip_str(&status(server.clone(), None, None, noon).unwrap().text).to_string();
        let expected =
            "  forwards  to 2 upstreams (tcp://10.0.0.1 does not answer); 80 queries, 60 answered from what was known, 1 failed\n";
        assert!(text.ends_with(expected), "{text}");
        server["files"] =
            json!({ "in_force": false, "refused": "2026-11-20T11:55:00Z", "findings": ["zones/a.toml:2: records.www.A[0]: x"] });
        let text = anstream::adapter::strip_str(&status(server, None, None, noon).unwrap().text).to_string();
        let expected = "  files     refused when they were read 5m ago: what was read before is served\n            zones/a.toml:2: records.www.A[0]: x\n";
        assert!(text.ends_with(expected), "{text}");
        assert!(status(json!({ "ready": true }), None, None, noon).is_err());
    }
}
