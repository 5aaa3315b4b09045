//! Reads a number over HTTP: one GET with a limit for everything. Redirects are not followed, proxies not asked.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::Value;

use crate::model::{MetricCheck, MetricStep};

/// How often a metric is read.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);
/// The longest that one reading takes.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The most that is read of a body.
const LIMIT: usize = 64 << 10;
/// The most that is shown of what a server said.
const SHOWN: usize = 80;

/// A metric, ready to be read.
#[derive(Debug, Clone)]
pub(super) struct Metric {
    client: Client,
    url: String,
    steps: Vec<MetricStep>,
}

impl Metric {
    /// Makes a check ready; the error says what is wrong with it.
    pub fn new(check: &MetricCheck) -> Result<Metric, String> {
        let builder = Client::builder()
            .user_agent(concat!("signpost/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(TIMEOUT);
        // Without TLS no roots are needed, and a container may have none.
        let builder = if check.url.starts_with("http://") { builder.tls_certs_only([]) } else { builder };
        let client = builder.build().map_err(|error| innermost(&error))?;
        let steps = check.steps().map_err(|error| error.to_string())?;
        Ok(Metric { client, url: check.url.clone(), steps })
    }

    /// Reads it once.
    pub async fn read(&self) -> Result<f64, String> {
        let failed = |error: reqwest::Error| match error.is_timeout() {
            true => format!("no answer within {} s", TIMEOUT.as_secs()),
            false => innermost(&error),
        };
        let mut response = self.client.get(&self.url).send().await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(format!("status {}, expected 200", response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > LIMIT {
                return Err("the body is larger than 64 KiB".into());
            }
            body.extend_from_slice(&piece);
        }
        number(&body, &self.steps)
    }
}

/// The number in a body.
fn number(body: &[u8], steps: &[MetricStep]) -> Result<f64, String> {
    let text = std::str::from_utf8(body).map_err(|_| "the body is no text".to_string())?.trim();
    let finite = |text: &str| text.trim().parse().ok().filter(|number: &f64| number.is_finite());
    if steps.is_empty() {
        return finite(text).ok_or_else(|| format!("the body is no number: {:?}", shown(text)));
    }
    let document: Value = serde_json::from_str(text).map_err(|error| format!("the body is no JSON: {error}"))?;
    let mut value = &document;
    for step in steps {
        let (next, name) = match step {
            MetricStep::Key(key) => (value.get(key.as_str()), key.clone()),
            MetricStep::Index(index) => (value.get(index), format!("[{index}]")),
        };
        value = next.ok_or_else(|| format!("the document has no {name} where the path leads: {}", shown(text)))?;
    }
    let number = match value {
        Value::Number(number) => number.as_f64(),
        // Prometheus writes its numbers as texts.
        Value::String(text) => finite(text),
        _ => None,
    };
    number.ok_or_else(|| format!("the path leads to no number: {}", shown(&value.to_string())))
}

fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// The cause at the bottom of an error.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn check(path: Option<&str>) -> MetricCheck {
        MetricCheck { url: "http://127.0.0.1:1/".into(), path: path.map(Into::into), max: 1.0 }
    }

    #[test]
    fn numbers_are_found_where_the_path_leads() {
        let read = |path: Option<&str>, body: &str| number(body.as_bytes(), &check(path).steps().unwrap());
        assert_eq!(read(None, " 0.25\n"), Ok(0.25));
        let prometheus = r#"{"status":"success","data":{"result":[{"metric":{},"value":[1795514400.1,"0.007"]}]}}"#;
        assert_eq!(read(Some("data.result[0].value[1]"), prometheus), Ok(0.007));
        assert_eq!(read(Some("[1]"), "[1, 2]"), Ok(2.0));
        for (path, body, said) in [
            (None, "many", "the body is no number: \"many\""),
            (None, "NaN", "no number"),
            (Some("a"), "{", "no JSON"),
            (Some("data.result[0].value[1]"), r#"{"data":{"result":[]}}"#, "no [0] where the path leads"),
            (Some("a"), r#"{"a":null}"#, "leads to no number: null"),
            (Some("a"), r#"{"a":"+Inf"}"#, "no number"),
        ] {
            let error = read(path, body).unwrap_err();
            assert!(error.contains(said), "{body}: {error}");
        }
    }

    /// A server that answers every request with `reply`.
    async fn server(reply: String) -> MetricCheck {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/metric", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(reply.as_bytes()).await;
            }
        });
        MetricCheck { url, path: None, max: 1.0 }
    }

    #[tokio::test]
    async fn one_get_reads_it_and_nothing_leads_elsewhere() {
        let large = "1".repeat(LIMIT + 1);
        for (reply, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n0.5\n".to_string(), Ok(0.5)),
            ("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".into(), Err("status 302, expected 200")),
            ("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".into(), Err("status 500")),
            (format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{large}", large.len()), Err("larger than 64 KiB")),
        ] {
            let found = Metric::new(&server(reply).await).unwrap().read().await;
            match expected {
                Ok(value) => assert_eq!(found, Ok(value)),
                Err(said) => assert!(found.as_ref().is_err_and(|e| e.contains(said)), "{found:?} is not {said}"),
            }
        }
        let refused = Metric::new(&check(None)).unwrap().read().await;
        assert!(refused.is_err(), "{refused:?}");
    }
}
