//! The calls of simulation, on a world of two regions with one service that a token may not see.

use super::*;

/// Two services in two regions; `db` has nothing in the second.
async fn desk(tokens: &[Token]) -> Desk {
    let desk = Desk::new(tokens).await;
    let admin = [("authorization", "Bearer root")];
    for (path, region) in [("web/instances/eu1", "eu"), ("web/instances/us1", "us"), ("db/instances/eu1", "eu")] {
        let body = format!(r#"{{"addresses":["192.0.2.10"],"region":"{region}","az":"a"}}"#);
        assert_eq!(desk.ask(&format!("PUT /v1/services/{path}"), &admin, &body).await.0, 201);
    }
    desk
}

#[tokio::test]
async fn a_loss_is_simulated_and_changes_nothing() {
    let desk = desk(&[]).await;
    let audited = desk.audit().len();
    let (status, report) = desk.ask("POST /v1/simulate", &[], r#"{"lose":["region/eu"],"clients":["10.1.0.0/16","2001:db8::7"]}"#).await;
    assert_eq!(status, 200, "{report}");
    assert_eq!((&report["lost"][0], report["clients"].as_u64()), (&Value::from("region/eu"), Some(2)));
    let names: Vec<&str> = report["names"].as_array().unwrap().iter().map(|name| name["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["db.svc.example.", "web.svc.example."], "those of which most move first");
    assert_eq!(report["names"][0]["emptied"], 1.0);
    let listed = &report["names"][1]["listed"];
    assert_eq!((&listed[0]["client"], &listed[1]["client"]), (&Value::from("10.1.0.0/16"), &Value::from("2001:db8::7/128")));
    assert_eq!((&listed[0]["from"]["region/eu"], &listed[0]["to"]["region/us"]), (&Value::from(0.5), &Value::from(1.0)));
    assert_eq!(desk.audit().len(), audited, "a question is no write");

    let named = r#"{"lose":["instance/web/us1"],"names":["WEB.svc.example"]}"#;
    let (_, report) = desk.ask("POST /v1/simulate", &[], named).await;
    assert_eq!((report["names"].as_array().unwrap().len(), &report["names"][0]["moved"]), (1, &Value::from(0.5)), "{report}");
    assert!(report["names"][0].get("listed").is_none() && report["clients"].as_u64() > Some(100), "clients from all over stand for all");

    let (status, list) = desk.ask("GET /v1/simulate", &[], "").await;
    assert_eq!((status, list["losses"].as_array().unwrap().len()), (200, 2));
    assert_eq!(list["losses"][0]["lost"], "region/eu");
    assert_eq!(list["losses"][0]["warnings"][0], "without region/eu, 100.0 % of the clients of db.svc.example. get no answer");
    assert_eq!(list["losses"][1]["warnings"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn what_cannot_be_simulated_names_its_field() {
    let desk = desk(&[]).await;
    let many = |what: &str, count: usize| vec![format!("\"{what}\""); count].join(",");
    let (lost, clients) = (many("region/eu", 17), many("::", 1_001));
    for (body, field) in [
        (r#"{}"#.to_string(), "lose"),
        (r#"{"lose":[]}"#.into(), "lose"),
        (format!(r#"{{"lose":[{lost}]}}"#), "lose"),
        (r#"{"lose":["region/eu","region/nowhere"]}"#.into(), "lose[1]"),
        (r#"{"lose":["service/none"]}"#.into(), "lose[0]"),
        (r#"{"lose":["eu"]}"#.into(), "lose[0]"),
        (r#"{"lose":["region/eu"],"names":[]}"#.into(), "names"),
        (r#"{"lose":["region/eu"],"names":["web.svc.example","no.svc.example"]}"#.into(), "names[1]"),
        (r#"{"lose":["region/eu"],"names":["a..b"]}"#.into(), "names[0]"),
        (r#"{"lose":["region/eu"],"clients":[]}"#.into(), "clients"),
        (r#"{"lose":["region/eu"],"clients":["10.0.0.0/8","here"]}"#.into(), "clients[1]"),
        (format!(r#"{{"lose":["region/eu"],"clients":[{clients}]}}"#), "clients"),
        (r#"{"lose":["region/eu"],"loose":1}"#.into(), "loose"),
    ] {
        let (status, problem) = desk.ask("POST /v1/simulate", &[], &body).await;
        assert_eq!((status, problem["field"].as_str()), (422, Some(field)), "{body}: {problem}");
    }
    let big = format!(r#"{{"lose":["region/eu"],"names":["{}"]}}"#, "x".repeat(request::MAX_BODY));
    assert_eq!(desk.ask("POST /v1/simulate", &[], &big).await.0, 413);
    assert_eq!(desk.ask("POST /v1/simulate", &[("origin", "https://attacker.example")], r#"{"lose":["region/eu"]}"#).await.0, 403);
}

#[tokio::test]
async fn a_token_sees_its_own_names_only() {
    let tokens = [token("root", &[Right::Admin], &[]), token("web-reader", &[Right::Read], &["web"]), token("ops", &[Right::Operate], &[])];
    let desk = desk(&tokens).await;
    let reader = [("authorization", "Bearer web-reader")];
    let (_, report) = desk.ask("POST /v1/simulate", &reader, r#"{"lose":["region/eu"]}"#).await;
    assert_eq!((report["names"].as_array().unwrap().len(), &report["names"][0]["name"]), (1, &Value::from("web.svc.example.")), "{report}");
    let (_, list) = desk.ask("GET /v1/simulate", &reader, "").await;
    assert_eq!(list["losses"][0]["warnings"].as_array().unwrap().len(), 0, "{list}");
    for body in [r#"{"lose":["region/eu"],"names":["db.svc.example"]}"#, r#"{"lose":["service/db"]}"#, r#"{"lose":["instance/nope/x"]}"#] {
        assert_eq!(desk.ask("POST /v1/simulate", &reader, body).await.0, 403, "{body}");
    }
    let operator = [("authorization", "Bearer ops")];
    assert_eq!(desk.ask("POST /v1/simulate", &operator, r#"{"lose":["region/eu"]}"#).await.0, 403, "it lacks the right to read");
    assert_eq!(desk.ask("POST /v1/simulate", &[], r#"{"lose":["region/eu"]}"#).await.0, 401);
}
