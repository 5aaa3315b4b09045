//! Drains, and what regions and services tell of them.

use super::*;

#[tokio::test]
async fn services_regions_and_drains_tell_one_story() {
    let desk = Desk::new(&[]).await;
    let instance = |region: &str, rest: &str| {
        format!(r#"{{"addresses":["192.0.2.1","2001:db8::1"],"ports":{{"http":80,"dns":"53/udp"}},"region":"{region}","az":"a"{rest}}}"#)
    };
    let service = r#"{"policy":"weighted","default_port":"http"}"#;
    let response = desk.send("PUT /v1/services/web", &[], service).await;
    let tag = response.headers()["etag"].clone();
    assert_eq!(response.status(), 201);
    for (id, body) in [
        ("eu1", instance("eu", r#","tags":["blue"],"meta":{"Team Name":"a"}"#)),
        ("eu2", instance("eu", r#","weight":50"#)),
        ("us1", instance("us", "")),
    ] {
        assert_eq!(desk.ask(&format!("PUT /v1/services/web/instances/{id}"), &[], &body).await.0, 201);
    }
    desk.ask("PUT /v1/services/web/instances/eu2/status", &[], r#"{"status":"critical"}"#).await;
    assert_eq!(desk.send("GET /v1/services/web", &[], "").await.headers()["etag"], tag);
    let (status, drain) = desk.ask("PUT /v1/drains/region/eu", &[], r#"{"reason":"storm","expires":"1h"}"#).await;
    assert_eq!((status, drain["expires"].as_str()), (201, Some("2023-11-14T23:13:20.000Z")));
    assert_eq!(desk.ask("PUT /v1/drains/region/eu", &[], r#"{"reason":"storm"}"#).await.0, 200);

    // One that is announced, or has not come all the way, leaves everything in the answers of somebody.
    assert_eq!(desk.ask("PUT /v1/drains/region/us", &[], r#"{"reason":"storm","ramp":"10m","override":"test"}"#).await.0, 201);

    for (line, pointer, expected) in [
        ("GET /v1/regions", "/regions/1/drain/state", Value::from("announced")),
        ("GET /v1/services/web/instances/us1", "/drained_by/share", 0.0.into()),
        ("GET /v1/services", "/services/0/name", Value::from("web")),
        ("GET /v1/services", "/services/0/policy", "weighted".into()),
        ("GET /v1/services", "/services/0/instances", 3.into()),
        ("GET /v1/services", "/services/0/healthy", 2.into()),
        ("GET /v1/services", "/services/0/drained", 2.into()),
        ("GET /v1/services", "/services/0/available", 1.into()),
        ("GET /v1/services?region=eu&healthy", "/services", Value::Array(vec![])),
        ("GET /v1/services?tag=blue", "/services/0/instances", 1.into()),
        ("GET /v1/services/web", "/settings/default_port", "http".into()),
        ("GET /v1/services/web?healthy", "/instances/0/id", "us1".into()),
        ("GET /v1/services/web?region=eu", "/instances/1/id", "eu2".into()),
        ("GET /v1/services/web/instances/eu1", "/drained_by/subject", "region/eu".into()),
        ("GET /v1/services/web/instances/eu1", "/drained_by/author", "local".into()),
        ("GET /v1/drains", "/drains/0/reason", "storm".into()),
        ("GET /v1/regions", "/regions/0/name", "eu".into()),
        ("GET /v1/regions", "/regions/0/drain/reason", "storm".into()),
        ("GET /v1/regions", "/regions/0/load/weight", 150.into()),
        ("GET /v1/regions", "/regions/0/load/available", 0.into()),
        ("GET /v1/regions", "/regions/1/azs/0/instances/available", 1.into()),
        ("GET /v1/regions", "/regions/1/load/available", 100.into()),
        ("GET /v1/status", "/instances/total", 3.into()),
        ("GET /v1/status", "/uptime_seconds", 5.into()),
        ("GET /v1/status", "/zones/0", "svc.example.".into()),
        ("GET /v1/sd/prometheus?healthy", "/0/targets/0", "192.0.2.1:80".into()),
        ("GET /v1/sd/prometheus?healthy", "/1", Value::Null),
        ("GET /v1/sd/prometheus", "/0/labels/__meta_signpost_tags", ",blue,".into()),
        ("GET /v1/sd/prometheus", "/0/labels/__meta_signpost_meta_team_name", "a".into()),
        ("GET /v1/sd/prometheus?service=db", "", Value::Array(vec![])),
        ("GET /v1/explain?name=web.svc.example&client=198.51.100.1", "/rcode", "NOERROR".into()),
        ("GET /v1/explain?name=web.svc.example&client=198.51.100.1", "/names/0/levels/0/instances/0/id", "us1".into()),
        ("GET /v1/explain?name=us1.id.web.svc.example&type=AAAA", "/answer/0/data", "2001:db8::1".into()),
        (
            "GET /v1/explain?name=web.svc.example&with=region/eu=serving&with=region/us=drained",
            "/names/0/levels/0/instances/0/id",
            "eu1".into(),
        ),
    ] {
        let (status, document) = desk.ask(line, &[], "").await;
        assert_eq!(status, 200, "{line}: {document}");
        assert_eq!(document.pointer(pointer).cloned().unwrap_or_default(), expected, "{line} {pointer}: {document}");
    }
    assert_eq!(desk.ask("DELETE /v1/drains/region/eu", &[], "").await.0, 200);
    let (status, problem) = desk.ask("DELETE /v1/drains/region/eu", &[], "").await;
    assert_eq!((status, problem["type"].as_str()), (404, Some("urn:signpost:problem:not-drained")));
    assert_eq!(desk.ask("DELETE /v1/services/web", &[("if-match", "\"999\"")], "").await.0, 412);
    assert_eq!(desk.ask("DELETE /v1/services/web", &[], "").await.0, 200);
    assert_eq!(desk.ask("GET /v1/services", &[], "").await.1["services"], Value::Array(vec![]));
}

#[tokio::test]
async fn a_drain_is_held_to_rules_ramped_paused_and_lifted() {
    let desk = Desk::new(&[]).await;
    for (id, region) in [("eu1", "eu"), ("us1", "us")] {
        let body = format!(r#"{{"addresses":["192.0.2.1"],"region":"{region}","az":"a"}}"#);
        assert_eq!(desk.ask(&format!("PUT /v1/services/web/instances/{id}"), &[], &body).await.0, 201);
    }
    let ask = async |line: &str, body: &str, status: u16, expected: &[(&str, Value)]| {
        let (found, document) = desk.ask(line, &[], body).await;
        assert_eq!(found, status, "{line}: {document}");
        for (pointer, expected) in expected {
            assert_eq!(document.pointer(pointer).cloned().unwrap_or_default(), *expected, "{line} {pointer}: {document}");
        }
    };
    let ramped = r#"{"reason":"storm","ramp":"10m","expires":"1h"}"#;
    // It is announced for 30 s, the longest TTL.
    ask("PUT /v1/drains/region/eu", ramped, 201, &[("/whole", "2023-11-14T22:23:50.000Z".into()), ("/over", Value::Null)]).await;
    let list = [
        ("/drains/0/state", "announced".into()),
        ("/drains/0/share", 0.0.into()),
        ("/drains/0/ramp", "10m".into()),
        ("/drains/0/whole", "2023-11-14T22:23:50.000Z".into()),
        ("/drains/0/override", Value::Null),
        ("/safety/min_regions", 1.into()),
        ("/safety/regions_up", 1.into()),
        ("/safety/regions", 2.into()),
        ("/safety/one_region_at_a_time", true.into()),
        ("/safety/wait", "0s".into()),
    ];
    ask("GET /v1/drains", "", 200, &list).await;
    let refused = "0 of 2 regions would be up, 1 is the least; region eu is drained already, and only one may be at a time; \
                   `--override` with a reason overrules";
    let problem = [("/type", "urn:signpost:problem:unsafe".into()), ("/detail", refused.into())];
    ask("PUT /v1/drains/region/us", r#"{"reason":"x"}"#, 409, &problem).await;
    ask("PUT /v1/drains/az/us/a", r#"{"reason":"x"}"#, 409, &problem).await;
    ask("PUT /v1/drains/az/us/a", r#"{"reason":"x","override":"nobody is there"}"#, 201, &[("/whole", Value::Null)]).await;
    let paused = [("/drains/0/state", "paused".into()), ("/drains/0/whole", Value::Null), ("/drains/1/override", "nobody is there".into())];
    ask("POST /v1/drains/region/eu/pause", "", 200, &[("/whole", Value::Null)]).await;
    ask("GET /v1/drains", "", 200, &paused).await;
    ask("POST /v1/drains/region/eu/pause", "", 409, &[("/type", "urn:signpost:problem:not-moving".into())]).await;
    ask("POST /v1/drains/az/us/a/pause", "", 409, &[("/type", "urn:signpost:problem:not-moving".into())]).await;
    ask("POST /v1/drains/az/us/a/resume", "", 409, &[("/type", "urn:signpost:problem:not-paused".into())]).await;
    ask("POST /v1/drains/region/eu/resume", "", 200, &[("/whole", "2023-11-14T22:23:50.000Z".into())]).await;
    ask("DELETE /v1/drains/az/us/a?ramp=5m", "", 200, &[("/over", "2023-11-14T22:18:20.000Z".into())]).await;
    ask("GET /v1/regions", "", 200, &[("/regions/1/azs/0/drain/state", "lifting".into())]).await;
    ask("DELETE /v1/drains/az/us/a?ramp=0s", "", 200, &[("/over", Value::Null)]).await;
    ask("DELETE /v1/drains/region/eu", "", 200, &[("/over", Value::Null)]).await;
    ask("GET /v1/drains", "", 200, &[("/drains", Value::Array(vec![])), ("/safety/regions_up", 2.into())]).await;
    let audit = desk.audit();
    assert!(audit.iter().any(|line| line["status"] == 201 && line["body"]["override"] == "nobody is there"), "{audit:?}");
    assert!(audit.iter().any(|line| line["status"] == 409 && line["reason"] == refused), "{audit:?}");
}
