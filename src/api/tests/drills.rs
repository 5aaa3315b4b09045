//! The calls of drills, with somebody behind them who only writes down what was asked.

use std::sync::Mutex;

use futures_util::future::BoxFuture;

use super::*;
use crate::model::{DrillFields, DrillList, DrillOrder, DrillRefusal, DrillReport, DrillRun, Subject};

/// Begins whatever is asked, but for drills of service/busy.
#[derive(Default)]
pub(super) struct Rehearsal {
    reports: Mutex<Vec<Arc<DrillReport>>>,
}

impl DrillDesk for Rehearsal {
    fn list(&self) -> DrillList {
        DrillList { drills: Vec::new(), runs: self.reports.lock().unwrap().iter().map(|report| report.line()).collect() }
    }

    fn report(&self, run: &str) -> Option<Arc<DrillReport>> {
        self.reports.lock().unwrap().iter().find(|report| report.run == run).cloned()
    }

    fn page(&self, report: &DrillReport) -> String {
        format!("# Drill {}\n", report.run)
    }

    fn begin(&self, order: DrillOrder, author: String) -> BoxFuture<'_, Result<DrillRun, DrillRefusal>> {
        let (name, drill) = match order {
            DrillOrder::Described(drill) => (None, drill),
            DrillOrder::Named { name } if name.as_str() == "unknown" => {
                return Box::pin(async move { Err(DrillRefusal::UnknownDrill(name)) });
            }
            DrillOrder::Named { name } => (Some(name), DrillFields::new(Subject::parse("region/eu").unwrap())),
        };
        if drill.lose.to_string() == "service/busy" {
            return Box::pin(async { Err(DrillRefusal::Busy("another".into())) });
        }
        let report = DrillReport::begin(name, drill, &author, Timestamp(1_795_514_400_000));
        let line = report.line();
        self.reports.lock().unwrap().push(Arc::new(report));
        Box::pin(async move { Ok(line) })
    }

    fn abort(&self, run: String, _: String) -> BoxFuture<'_, Result<DrillRun, DrillRefusal>> {
        let line = self.report(&run).map(|report| report.line());
        Box::pin(async move { line.ok_or(DrillRefusal::UnknownRun(run)) })
    }
}

const METRIC: &str = r#"{"lose":"region/eu","abort":{"metric":{"url":"http://127.0.0.1:9090/","max":1}}}"#;

#[tokio::test]
async fn drills_are_begun_read_and_stopped() {
    let desk = Desk::new(&[]).await;
    let response = desk.send("POST /v1/drills", &[], r#"{"name":"evacuate-eu"}"#).await;
    assert_eq!(
        (response.status().as_u16(), response.headers()["location"].to_str().unwrap()),
        (201, "/v1/drills/20261124T100000Z-evacuate-eu")
    );
    let (status, run) = desk.ask("POST /v1/drills", &[], METRIC).await;
    assert_eq!((status, &run["run"], &run["author"]), (201, &"20261124T100000Z-region-eu".into(), &"local".into()));
    let (_, list) = desk.ask("GET /v1/drills", &[], "").await;
    assert_eq!(list["runs"].as_array().unwrap().len(), 2);
    let (_, report) = desk.ask("GET /v1/drills/20261124T100000Z-region-eu", &[], "").await;
    assert_eq!((&report["state"], &report["drill"]["lose"]), (&"checking".into(), &"region/eu".into()));
    for (accept, kind) in [
        ("text/markdown", "text/markdown; charset=utf-8"),
        ("text/html, text/markdown;q=0.9, */*", "text/markdown; charset=utf-8"),
        ("application/json, text/markdown", "application/json"),
        ("*/*", "application/json"),
    ] {
        let response = desk.send("GET /v1/drills/20261124T100000Z-evacuate-eu", &[("accept", accept)], "").await;
        assert_eq!(response.headers()["content-type"], kind, "{accept}");
    }
    assert_eq!(desk.ask("DELETE /v1/drills/20261124T100000Z-region-eu", &[], "").await.0, 202);
    assert_eq!(desk.audit().len(), 3);
}

#[tokio::test]
async fn what_cannot_be_drilled_is_a_problem() {
    let desk = Desk::new(&[]).await;
    let check = async |line: &str, body: &str, status: u16, kind: &str, field: Option<&str>| {
        let (found, problem) = desk.ask(line, &[], body).await;
        let kind = format!("urn:signpost:problem:{kind}");
        assert_eq!((found, problem["type"].as_str(), problem["field"].as_str()), (status, Some(&*kind), field), "{line} {body}: {problem}");
    };
    check("POST /v1/drills", "", 400, "syntax", None).await;
    check("POST /v1/drills", r#"{"name":"unknown"}"#, 404, "unknown-drill", None).await;
    check("POST /v1/drills", r#"{"name":"a","lose":"region/eu"}"#, 422, "field", Some("lose")).await;
    check("POST /v1/drills", r#"{"hold":"1m"}"#, 422, "field", Some("lose")).await;
    check("POST /v1/drills", r#"{"lose":"region/eu","hodl":"1m"}"#, 422, "field", Some("hodl")).await;
    check("POST /v1/drills", r#"{"lose":"region/eu","schedule":"daily 03:00"}"#, 400, "parameter", Some("schedule")).await;
    check("POST /v1/drills", r#"{"lose":"region/eu","ramp":"25h"}"#, 422, "field", Some("ramp")).await;
    let wrong = r#"{"lose":"region/eu","abort":{"metric":{"url":"ftp://a","max":1}}}"#;
    check("POST /v1/drills", wrong, 422, "field", Some("abort.metric.url")).await;
    check("POST /v1/drills", r#"{"lose":"service/busy"}"#, 409, "drill-busy", None).await;
    check("GET /v1/drills/nothing", "", 404, "unknown-run", None).await;
    check("DELETE /v1/drills/..%2F..%2Fetc", "", 404, "unknown-run", None).await;
}

#[tokio::test]
async fn who_may_operate_may_drill_and_only_admin_names_a_metric() {
    let tokens = [
        token("look", &[Right::Read], &[]),
        token("oncall", &[Right::Operate], &[]),
        token("team", &[Right::Operate], &["web"]),
        token("boss", &[Right::Admin], &[]),
    ];
    let desk = Desk::new(&tokens).await;
    let plain = r#"{"lose":"region/eu"}"#;
    for (who, line, body, status) in [
        ("look", "GET /v1/drills", "", 200),
        ("oncall", "GET /v1/drills", "", 403),
        ("look", "POST /v1/drills", plain, 403),
        ("team", "POST /v1/drills", plain, 403),
        ("oncall", "POST /v1/drills", plain, 201),
        ("oncall", "POST /v1/drills", METRIC, 403),
        ("boss", "POST /v1/drills", METRIC, 201),
        ("look", "DELETE /v1/drills/x", "", 403),
        ("oncall", "DELETE /v1/drills/x", "", 404),
    ] {
        let bearer = format!("Bearer {who}");
        assert_eq!(desk.ask(line, &[("authorization", &bearer)], body).await.0, status, "{who}: {line} {body}");
    }
}
