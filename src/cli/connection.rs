//! A connection to a server's API.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use super::failure::{Failure, Problem};

/// Longest time until somebody answers the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest time for a whole request: a registration waits for the disk.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Where the API is and who asks.
#[derive(Debug)]
pub(super) struct Connection {
    api: String,
    token: Option<String>,
    client: reqwest::Client,
}

/// What the API gave: a status that is no error, and a document.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Connection {
    /// Makes ready to talk to `api`. Nothing is sent yet.
    pub(super) fn new(api: &Url, token: Option<String>) -> Result<Connection, Failure> {
        let name = api.as_str().trim_end_matches('/').to_owned();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("signpost/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT);
        if api.scheme() == "http" {
            // Without TLS no roots are needed: a health check must work in a container that has no certificates.
            builder = builder.tls_certs_only([]);
        }
        if is_loopback(api) {
            // A proxy's loopback is not ours.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|e| Failure::usage(format!("cannot talk to {name}: {}", innermost(&e))))?;
        Ok(Connection { api: name, token, client })
    }

    /// Gets a document.
    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Reply, Failure> {
        self.send(Method::GET, path, query, None).await
    }

    /// Puts a document.
    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<Reply, Failure> {
        self.send(Method::PUT, path, &[], Some(body)).await
    }

    /// Posts a document.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Reply, Failure> {
        self.send(Method::POST, path, &[], Some(body)).await
    }

    /// Deletes.
    pub(super) async fn delete(&self, path: &str) -> Result<Reply, Failure> {
        self.send(Method::DELETE, path, &[], None).await
    }

    /// Gets a document in another form than JSON; `accept` names it.
    pub(super) async fn get_text(&self, path: &str, accept: &'static str) -> Result<String, Failure> {
        let request = self.client.get(format!("{}{path}", self.api)).header(reqwest::header::ACCEPT, accept);
        let (status, body) = self.answer(request).await?;
        match status.is_success() {
            true => Ok(body),
            false => Err(Failure::Refused(Box::new(Problem::read(status, &body)))),
        }
    }

    async fn send(&self, method: Method, path: &str, query: &[(&str, &str)], body: Option<&Value>) -> Result<Reply, Failure> {
        let (status, body) = self.exchange(method, path, query, body).await?;
        if !status.is_success() {
            return Err(Failure::Refused(Box::new(Problem::read(status, &body))));
        }
        let body = match body.trim() {
            "" => Value::Null,
            text => serde_json::from_str(text).map_err(|e| self.stranger(format!("{path} is no JSON: {e}")))?,
        };
        Ok(Reply { status, body })
    }

    /// Sends a request and reads whatever comes back.
    pub(super) async fn exchange(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<(StatusCode, String), Failure> {
        let mut request = self.client.request(method, format!("{}{path}", self.api)).query(query);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.answer(request).await
    }

    async fn answer(&self, mut request: reqwest::RequestBuilder) -> Result<(StatusCode, String), Failure> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let unreachable = |e: reqwest::Error| match e.is_timeout() {
            true => Failure::Unreachable { api: self.api.clone(), reason: format!("no answer within {}s", TIMEOUT.as_secs()) },
            false => Failure::Unreachable { api: self.api.clone(), reason: innermost(&e) },
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        if status.is_redirection() {
            return Err(self.stranger(format!("{status}")));
        }
        Ok((status, response.text().await.map_err(unreachable)?))
    }

    /// An answer that no Signpost gives.
    pub(super) fn stranger(&self, reason: impl Into<String>) -> Failure {
        Failure::Stranger { api: self.api.clone(), reason: reason.into() }
    }
}

/// The token: `--token-file`, else `SIGNPOST_TOKEN`.
pub(super) fn token(file: Option<&Path>, variable: Option<String>) -> Result<Option<String>, Failure> {
    let token = match file {
        None => variable,
        Some(path) => {
            let failed = |reason: String| Failure::Input { path: path.to_owned(), reason };
            Some(std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?)
        }
    };
    let Some(token) = token.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()) else {
        return match file {
            Some(path) => Err(Failure::Input { path: path.to_owned(), reason: "holds no token".into() }),
            None => Ok(None),
        };
    };
    match token.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(Some(token)),
        false => Err(Failure::usage("the token holds blanks or characters that no token has")),
    }
}

fn is_loopback(api: &Url) -> bool {
    let host = api.host_str().unwrap_or_default();
    let address: Result<std::net::IpAddr, _> = host.trim_matches(['[', ']']).parse();
    host == "localhost" || address.is_ok_and(|a| a.is_loopback())
}

/// The cause at the bottom of an error: "connection refused" rather than "error sending request".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
