//! What is written comes back: instances, services, heartbeats, measurements.

use super::*;

#[tokio::test]
async fn an_instance_is_registered_seen_and_deregistered() {
    let desk = Desk::new(&[]).await;
    let eu1 = "/v1/services/web/instances/eu1";
    let put = format!("PUT {eu1}");
    let response = desk.send(&put, &[("if-none-match", "*")], INSTANCE).await;
    assert_eq!(response.status(), 201);
    let tag = response.headers()["etag"].to_str().unwrap().to_string();
    let (_, document) = desk.ask(&format!("GET {eu1}"), &[], "").await;
    assert_eq!((document["health"].as_str(), document["source"].as_str()), (Some("healthy"), Some("api")));
    assert_eq!(format!("\"{}\"", document["revision"]), tag);
    assert_eq!(desk.send(&format!("GET {eu1}"), &[], "").await.headers()["etag"], *tag);

    let (status, problem) = desk.ask(&put, &[("if-none-match", "*")], INSTANCE).await;
    assert_eq!((status, &problem["revision"]), (412, &document["revision"]));
    assert_eq!(desk.ask(&put, &[("if-match", "\"999\"")], INSTANCE).await.0, 412);
    assert_eq!(desk.ask(&put, &[("if-match", &tag)], INSTANCE).await.0, 200);
    assert_eq!(desk.ask(&put, &[("if-match", &tag)], INSTANCE).await.0, 412);
    assert_eq!(desk.ask(&put, &[("if-match", "*")], INSTANCE).await.0, 200);

    assert_eq!(desk.ask(&format!("{put}/status"), &[], r#"{"status":"critical","note":"disk full"}"#).await.0, 200);
    let (_, document) = desk.ask(&format!("GET {eu1}"), &[], "").await;
    assert_eq!(document["health"], "unhealthy");
    assert!(document["why"].as_str().unwrap().contains("disk full"), "{document}");
    let (status, problem) = desk.ask(&format!("{put}/heartbeat"), &[], "").await;
    assert_eq!((status, problem["field"].as_str()), (422, Some("heartbeat")), "{problem}");
    let with_heartbeat = INSTANCE.replace('{', "{\"heartbeat\":\"30s\",").replace(":{\"heartbeat\":\"30s\",", ":{");
    assert_eq!(desk.ask(&put, &[], &with_heartbeat).await.0, 200);
    assert_eq!(desk.ask(&format!("{put}/heartbeat"), &[], "").await.0, 204);

    assert_eq!(desk.ask(&format!("DELETE {eu1}"), &[("if-match", "\"999\"")], "").await.0, 412);
    let (status, written) = desk.ask(&format!("DELETE {eu1}"), &[], "").await;
    assert_eq!(status, 200);
    for (line, kind) in [
        (format!("GET {eu1}"), "unknown-instance"),
        (format!("DELETE {eu1}"), "unknown-instance"),
        (format!("{put}/heartbeat"), "unknown-instance"),
        ("GET /v1/services/web".into(), "unknown-service"),
        ("GET /v1/services/web?after=1&wait=5m".into(), "unknown-service"),
        ("DELETE /v1/services/web".into(), "unknown-service"),
        ("DELETE /v1/drains/service/web".into(), "unknown-subject"),
        ("PUT /v1/drains/service/web".into(), "unknown-subject"),
    ] {
        let (status, problem) = desk.ask(&line, &[], r#"{"reason":"test"}"#).await;
        assert_eq!((status, problem["type"].as_str()), (404, Some(format!("urn:signpost:problem:{kind}").as_str())), "{line}: {problem}");
    }
    // Each write made a line with its revision; the refused ones say why.
    let audit = desk.audit();
    let last = audit.iter().rev().find(|line| line["method"] == "DELETE" && line["status"] == 200).unwrap();
    assert_eq!((&last["revision"], &last["author"]), (&written["revision"], &Value::from("local")));
    assert!(audit.iter().all(|line| line["status"].as_u64().unwrap() < 300 || line["reason"].is_string()), "{audit:?}");
}

#[tokio::test]
async fn a_service_is_given_back_as_it_was_set() {
    let desk = Desk::new(&[]).await;
    let settings = [
        r#"{"policy":"nearest","panic_threshold":50,"slow_start":"0s","damping":false}"#,
        r#"{"policy":"sticky","branches":[{"region":"eu","weight":0,"capacity":40},{"region":"us","weight":1,"min_healthy":2}]}"#,
        r#"{"policy":"geoproximity","branches":[{"region":"eu","bias":-99},{"latitude":-33.9,"longitude":151.25},{"tag":"old","resort":true}]}"#,
        r#"{"policy":"cidr","branches":[{"region":"eu","cidrs":["10.0.0.0/8","2001:db8::/32"]},{"default":true}]}"#,
        r#"{"policy":"asn","branches":[{"region":"eu","asns":[64500,4294967295]},{"default":true}]}"#,
        r#"{"policy":"geolocation","branches":[{"continents":["EU"],"countries":["US"],"subdivisions":["CA-QC"]},{"default":true,"az":"1a"}]}"#,
    ];
    for text in settings {
        assert!(desk.ask("PUT /v1/services/web", &[], text).await.0 < 300, "{text}");
        let given: Value = serde_json::from_str(text).unwrap();
        assert_eq!(desk.ask("GET /v1/services/web", &[], "").await.1["settings"], given);
    }
}

#[tokio::test]
async fn heartbeats_of_many_are_taken_each_by_itself() {
    let desk = Desk::new(&[token("agent", &[Right::Register], &["web"]), token("ops", &[Right::Admin], &[])]).await;
    let (agent, ops) = ([("authorization", "Bearer agent")], [("authorization", "Bearer ops")]);
    let with_heartbeat = INSTANCE.replacen('{', "{\"heartbeat\":\"30s\",", 1);
    for (path, body) in
        [("web/instances/a", &with_heartbeat), ("db/instances/a", &with_heartbeat), ("web/instances/still", &INSTANCE.into())]
    {
        assert_eq!(desk.ask(&format!("PUT /v1/services/{path}"), &ops, body).await.0, 201);
    }
    let lines = desk.audit().len();
    let all = r#"{"instances":["web/a","WEB/A","web/still","db/a","web/gone","web","we b/a"]}"#;
    let seen = |answer: &Value| -> Vec<(u64, u64, String)> {
        let refused = answer["refused"].as_array().map(Vec::as_slice).unwrap_or_default().iter();
        let problem = |r: &Value| (r["index"].as_u64().unwrap(), r["problem"]["status"].as_u64().unwrap(), r["instance"].to_string());
        refused.map(problem).collect()
    };
    let (status, answer) = desk.ask("POST /v1/heartbeats", &ops, all).await;
    assert_eq!((status, answer["renewed"].as_u64()), (200, Some(3)), "{answer}");
    let refused = |list: &[(u64, u64, &str)]| list.iter().map(|(n, s, name)| (*n, *s, format!("{name:?}"))).collect::<Vec<_>>();
    let expected = refused(&[(2, 422, "web/still"), (4, 404, "web/gone"), (5, 422, "web"), (6, 422, "we b/a")]);
    assert_eq!(seen(&answer), expected, "{answer}");
    assert_eq!(answer["refused"][2]["problem"]["field"], "instances[5]");
    assert_eq!(desk.audit().len(), lines, "heartbeats leave no line");

    let (status, answer) = desk.ask("POST /v1/heartbeats", &agent, r#"{"instances":["db/a","web/a"]}"#).await;
    assert_eq!((status, answer["renewed"].as_u64(), seen(&answer)), (200, Some(1), refused(&[(0, 403, "db/a")])), "{answer}");
    let audit = desk.audit();
    assert_eq!(audit.len(), lines + 1, "but for what somebody was not allowed to send");
    assert!(audit[lines]["reason"].as_str().unwrap().contains("1 heartbeats"), "{:?}", audit[lines]);

    let many = format!("{{\"instances\":[{}\"web/a\"]}}", "\"web/a\",".repeat(10_000));
    for (body, field) in [(many.as_str(), Some("instances")), (r#"{"instances":["web/a"],"x":1}"#, Some("x")), ("{}", Some("instances"))] {
        let (status, problem) = desk.ask("POST /v1/heartbeats", &agent, body).await;
        assert_eq!((status, problem["field"].as_str()), (422, field), "{problem}");
    }
    assert_eq!(desk.ask("POST /v1/heartbeats", &[], all).await.0, 401);
    assert_eq!(desk.ask("POST /v1/heartbeats", &agent, r#"{"instances":[]}"#).await.1["renewed"], 0);
}

#[tokio::test]
async fn measured_round_trips_are_taken_all_or_none_and_listed() {
    let desk =
        Desk::new(&[token("agent", &[Right::Operate], &[]), token("looker", &[Right::Read], &[]), token("web", &[Right::Admin], &["web"])])
            .await;
    let agent = [("authorization", "Bearer agent")];
    let looker = [("authorization", "Bearer looker")];
    assert_eq!(desk.ask("PUT /v1/services/web/instances/eu1", &[("authorization", "Bearer web")], INSTANCE).await.0, 201);
    let body = |samples: &[(&str, &str, f64)]| {
        let samples: Vec<Value> =
            samples.iter().map(|(client, region, ms)| serde_json::json!({ "client": client, "region": region, "rtt_ms": ms })).collect();
        serde_json::json!({ "samples": samples }).to_string()
    };
    let post = "POST /v1/measurements";
    let good = [("198.51.100.7", "eu-west", 20.0), ("198.51.100.0/24", "EU-West", 30.0), ("2001:db8::/32", "eu-west", 9.5)];
    for (headers, samples, status, field) in [
        (&looker, &good[..], 403, None),
        (&[("authorization", "Bearer web")], &good[..], 403, None),
        (&agent, &[good[0], ("198.51.100.7", "mars", 1.0)], 422, Some("samples[1].region")),
        (&agent, &[good[0], ("198.51.100.7", "eu-west", 0.0)], 422, Some("samples[1].rtt_ms")),
        (&agent, &vec![good[0]; 10_001], 422, Some("samples")),
    ] {
        let (found, problem) = desk.ask(post, headers, &body(samples)).await;
        assert_eq!((found, problem["field"].as_str()), (status, field), "{problem}");
    }
    assert_eq!(desk.ask("GET /v1/measurements", &looker, "").await.1["prefixes"], 0);
    assert_eq!(desk.ask(post, &agent, &body(&good)).await, (202, serde_json::json!({ "taken": 3 })));
    assert_eq!(desk.ask(post, &agent, &body(&vec![good[2]; 10_000])).await.0, 202, "more than other bodies may hold");
    let (_, list) = desk.ask("GET /v1/measurements?client=198.51.100.9", &looker, "").await;
    let mean = serde_json::json!({ "region": "eu-west", "rtt_ms": 23.0, "samples": 2, "last": "2023-11-14T22:13:20.000Z", "age": "0s" });
    let row = serde_json::json!({ "client": "198.51.100.0/24", "regions": [mean] });
    assert_eq!(list, serde_json::json!({ "prefixes": 2, "measurements": [row] }));
    let (_, first) = desk.ask("GET /v1/measurements?limit=1", &looker, "").await;
    assert_eq!(first["next"], "198.51.100.0/24");
    let (_, rest) = desk.ask("GET /v1/measurements?limit=1&after=198.51.100.0/24", &looker, "").await;
    assert_eq!((&rest["measurements"][0]["client"], &rest["next"]), (&Value::from("2001:db8::/32"), &Value::Null));
    assert_eq!(desk.ask("GET /v1/measurements", &agent, "").await.0, 403);
    let audit = desk.audit();
    let line = audit.iter().rfind(|line| line["status"] == 202).unwrap();
    assert!(line["path"] == "/v1/measurements" && line["author"] == "agent" && line["body"].is_null(), "{line}");
}
