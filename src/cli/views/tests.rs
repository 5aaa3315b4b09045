//! Documents of the API, and the tables that people see of them.

use serde_json::json;

use super::*;
use crate::model::Timestamp;

/// Noon of a day.
fn noon() -> Timestamp {
    Timestamp::try_from("2026-11-20T12:00:00Z".to_string()).unwrap()
}

fn check(page: Result<Page, serde_json::Error>, expected: &[&str]) {
    let text = anstream::adapter::strip_str(&page.unwrap().text).to_string();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected, "\n{text}");
}

#[test]
fn instances_show_who_is_out_and_why() {
    let drain = json!({
        "subject": "az/us-east/1b", "reason": "power", "author": "ann", "revision": 9,
        "started": "2026-11-20T11:00:00Z", "expires": "2026-11-20T15:00:00Z", "state": "drained", "share": 100.0,
    });
    let mut begun = drain.clone();
    (begun["state"], begun["share"]) = (json!("ramping"), json!(25.0));
    let document = json!({ "name": "web", "revision": 12, "policy": "nearest", "settings": { "ports": { "http": 80 } }, "source": "api", "instances": [
        { "service": "web", "id": "eu1", "addresses": ["192.0.2.10", "2001:db8::10"], "ports": { "http": 8080, "dns": "53/udp" },
          "region": "eu-west", "az": "eu-west-1a", "weight": 100, "source": "api", "revision": 3, "health": "healthy", "why": "",
          "since": "2026-11-20T08:40:00Z", "unconfirmed": true, "parts": {} },
        { "service": "web", "id": "eu2-with-a-long-id", "addresses": ["192.0.2.11"], "region": "eu-west", "az": "eu-west-1b",
          "weight": 5, "health": "unhealthy", "why": "http /healthz: connection refused", "since": "2026-11-20T11:59:48Z" },
        { "service": "web", "id": "us1", "addresses": ["192.0.2.20"], "region": "us-east", "az": "1b", "weight": 100,
          "health": "pending", "why": "", "drained_by": drain },
        { "service": "web", "id": "us2", "addresses": ["192.0.2.21"], "region": "us-east", "az": "1b", "weight": 100,
          "health": "healthy", "why": "tcp: timeout", "since": "2026-11-20T11:59:40Z", "warmth": 40, "wavering": true, "drained_by": begun },
    ]});
    check(
        instances(document.clone(), noon()),
        &[
            "ID                  ADDRESSES                PORTS                 LOCALITY            WEIGHT  DRAINED BY                  HEALTH",
            "eu1                 192.0.2.10,2001:db8::10  dns=53/udp,http=8080  eu-west/eu-west-1a     100                              healthy 3h20m (from before the restart)",
            "eu2-with-a-long-id  192.0.2.11               http=80               eu-west/eu-west-1b       5                              unhealthy 12s: http /healthz: connection refused",
            "us1                 192.0.2.20               http=80               us-east/1b             100  az/us-east/1b (power)       pending",
            "us2                 192.0.2.21               http=80               us-east/1b             100  az/us-east/1b 25 % (power)  healthy 20s, 40% warm, wavering: tcp: timeout",
            "2 of 4 available, policy nearest",
        ],
    );
    let page = instances(document.clone(), noon()).unwrap();
    assert!(page.text.contains("\u{1b}[31munhealthy 12s"), "red");
    assert_eq!(page.document, document, "JSON is what the API gave");
}

#[test]
fn services_and_drains_are_tables_or_say_that_there_is_nothing() {
    let line = |name: &str, available: u64| {
        json!({ "name": name, "policy": "nearest", "instances": 3, "healthy": 3, "drained": 3 - available, "available": available,
                "source": "file", "file": "zones/svc.example.toml", "changed": 4 })
    };
    check(
        services(json!({ "revision": 4, "services": [line("web", 3), line("payments", 0)] })),
        &[
            "SERVICE   POLICY   AVAILABLE  INSTANCES  HEALTHY  DRAINED  SET BY",
            "web       nearest          3          3        3        0  zones/svc.example.toml",
            "payments  nearest          0          3        3        3  zones/svc.example.toml",
        ],
    );
    check(services(json!({ "services": [] })), &["no services yet: `signpost register SERVICE/ID …` makes the first"]);
    check(
        drains(
            json!({ "drains": [{ "subject": "region/eu-west", "reason": "power", "author": "ann",
                                 "started": "2026-11-20T11:54:48Z", "expires": "2026-11-22T14:00:00Z" }] }),
            noon(),
        ),
        &["DRAINED         FOR    ENDS IN  BY   REASON", "region/eu-west  5m12s  2d2h     ann  power"],
    );
    let line = |subject: &str, state: &str, share: f64, rest: (&str, &str)| {
        json!({ "subject": subject, "reason": "power", "author": "ann", "state": state, "share": share, rest.0: rest.1,
                "started": "2026-11-20T11:54:48Z", "expires": "2026-11-20T14:00:00Z" })
    };
    check(
        drains(
            json!({
                "drains": [
                    line("region/eu-west", "ramping", 25.5, ("whole", "2026-11-20T12:03:20Z")),
                    line("service/web", "lifting", 10.0, ("over", "2026-11-20T12:00:40Z")),
                    line("instance/web/a", "drained", 100.0, ("override", "tested")),
                ],
                "safety": { "min_regions": 1, "regions_up": 2, "regions": 3, "min_healthy_weight": 50, "one_region_at_a_time": true, "wait": "10m" },
            }),
            noon(),
        ),
        &[
            "DRAINED         STATE                           FOR    ENDS IN  BY   REASON  OVERRULED",
            "region/eu-west  ramping 25.5 %, whole in 3m20s  5m12s  2h       ann  power",
            "service/web     lifting 10 %, gone in 40s       5m12s  2h       ann  power",
            "instance/web/a  drained                         5m12s  2h       ann  power   tested",
            "2 of 3 regions up, at least 1 must be; every service keeps 50 % of its weight; one region at a time, 10m apart",
        ],
    );
    check(drains(json!({ "drains": [] }), noon()), &["nothing is drained"]);
    let to =
        |region: &str, ms: f64| json!({ "region": region, "rtt_ms": ms, "samples": 12, "last": "2026-11-20T11:54:48Z", "age": "1m12s" });
    check(
        measurements(json!({ "prefixes": 7, "next": "10.1.2.0/24", "measurements": [
            { "client": "10.1.2.0/24", "regions": [to("eu-west", 9.04), to("us-east", 88.0)] } ] })),
        &[
            "CLIENTS      REGION     MS  SAMPLES  LAST",
            "10.1.2.0/24  eu-west   9.0       12  1m12s ago",
            "             us-east  88.0       12  1m12s ago",
            "the first 1 of 7 prefixes; --client narrows them",
        ],
    );
    assert!(services(json!({ "hello": "world" })).is_err());
}

#[test]
fn copies_tell_what_troubles_them() {
    let line = |zone: &str, signed_until: &str, failure: &str| {
        json!({ "zone": zone, "serial": 7, "confirmed": "2026-11-20T11:00:00Z", "next": "2026-11-20T13:00:00Z", "expires": "2026-12-01T12:00:00Z",
                "signed_until": signed_until, "expired": false, "failure": failure, "is_catalog": false })
    };
    let document = json!({ "secondaries": [
        line("held.example.", "2026-11-20T12:00:01Z", ""),
        line("lapsed.example.", "2026-11-20T10:00:00Z", ""),
        line("failing.example.", "2026-11-20T10:00:00Z", "nobody answers"),
    ]});
    let text = secondaries(document, noon()).unwrap().text;
    let ends = |n: usize, end: &str| {
        assert!(anstream::adapter::strip_str(text.lines().nth(n).unwrap()).to_string().trim_end().ends_with(end), "{text}")
    };
    ends(1, "in 11d");
    ends(2, "signatures have expired 2h ago");
    ends(3, "nobody answers");
}
