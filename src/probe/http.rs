//! HTTP checks: one GET over a connection of its own.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Duration, timeout};

use crate::model::HttpCheck;

use super::attempt::{Failure, Progress};

/// The most that is read of a body, and the most that the head of an answer may hold.
const LIMIT: usize = 64 << 10;

/// The longest that the rest of an answer is waited for once the verdict is clear.
const PARTING: Duration = Duration::from_millis(100);

const AGENT: &str = concat!("signpost/", env!("CARGO_PKG_VERSION"));

/// What is asked and what counts as a pass.
#[derive(Debug)]
pub(super) struct Question {
    path: Uri,
    /// What `Host` says; `None`: the instance's address and port.
    host: Option<HeaderValue>,
    status: (u16, u16),
    body: Option<String>,
}

impl Question {
    /// The question of a check. Fails where the path or the host cannot be sent.
    pub(super) fn new(check: &HttpCheck) -> Result<Question, String> {
        let path = check.path.parse().map_err(|e| format!("the path {:?} cannot be asked for: {e}", check.path))?;
        let value = |host| HeaderValue::try_from(host).map_err(|_| format!("the host {host:?} cannot be sent in a header"));
        Ok(Question { path, host: check.host.as_ref().map(value).transpose()?, status: check.status, body: check.body.clone() })
    }

    /// Asks the instance at `address`, and notes the verdict in `progress` as soon as it is clear.
    pub(super) async fn ask<S>(&self, stream: S, address: SocketAddr, progress: &Progress) -> Result<(), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        progress.stage("waiting for an answer");
        let mut builder = http1::Builder::new();
        builder.max_buf_size(LIMIT);
        let (mut sender, connection) = builder.handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(failure)?;
        let conversation = async {
            let answer = sender.send_request(self.request(address)?).await.map_err(failure)?;
            let status = answer.status().as_u16();
            let (low, high) = self.status;
            let mut body = answer.into_body();
            // Redirects are not followed: a 3xx passes or fails by its own status.
            let passed = match (low <= status && status <= high, &self.body) {
                (false, _) if low == high => Err(Failure::Instance(format!("status {status}, expected {low}"))),
                (false, _) => Err(Failure::Instance(format!("status {status}, expected {low}-{high}"))),
                (true, None) => Ok(()),
                (true, Some(text)) => {
                    progress.stage("reading the body");
                    look_for(text, &mut body).await
                }
            };
            progress.conclude(passed);
            // Servers that write head and body apart would log an error if the connection went away in between.
            let _ = timeout(PARTING, read_on(&mut body)).await;
            Ok(())
        };
        tokio::pin!(conversation, connection);
        tokio::select! {
            biased;
            concluded = &mut conversation => concluded,
            // The connection is over, its errors were handed to the conversation, and what came before waits there.
            _ = &mut connection => conversation.await,
        }
    }

    fn request(&self, address: SocketAddr) -> Result<Request<Empty<Bytes>>, Failure> {
        let host = self.host.clone().map_or_else(|| HeaderValue::try_from(address.to_string()), Ok);
        Request::builder()
            .method(Method::GET)
            .uri(self.path.clone())
            .header(HOST, host.map_err(|error| Failure::instance(&error))?)
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, "*/*")
            .header(CONNECTION, "close")
            .body(Empty::new())
            .map_err(|error| Failure::Instance(error.to_string()))
    }
}

/// Reads until `text` was seen, the body ends or [`LIMIT`] is reached.
async fn look_for(text: &str, body: &mut Incoming) -> Result<(), Failure> {
    let mut read: Vec<u8> = Vec::new();
    let mut searched = 0;
    loop {
        if contains(&read[searched..], text.as_bytes()) {
            return Ok(());
        }
        // The text may begin in this piece and end in the next.
        searched = read.len().saturating_sub(text.len());
        if read.len() >= LIMIT {
            return Err(Failure::Instance(format!("the first 64 KiB of the body do not hold {text:?}")));
        }
        match body.frame().await {
            None => return Err(Failure::Instance(format!("body does not hold {text:?}"))),
            Some(frame) => {
                if let Some(piece) = frame.map_err(failure)?.data_ref() {
                    read.extend_from_slice(&piece[..piece.len().min(LIMIT - read.len())]);
                }
            }
        }
    }
}

fn contains(whole: &[u8], part: &[u8]) -> bool {
    part.is_empty() || whole.windows(part.len()).any(|window| window == part)
}

/// Reads the rest of a body, up to [`LIMIT`].
async fn read_on(body: &mut Incoming) {
    let mut left = LIMIT;
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

/// What went wrong, for people who know HTTP but not hyper.
fn failure(error: hyper::Error) -> Failure {
    const CUT: &str = "connection closed before the answer was whole";
    match () {
        () if error.is_parse_too_large() => Failure::Instance("the head of the answer is larger than 64 KiB".into()),
        () if error.is_parse_version_h2() => Failure::Instance("the answer is HTTP/2, asked was HTTP/1.1".into()),
        () if error.is_parse() => Failure::Instance("the answer is not HTTP/1.1".into()),
        () if error.is_incomplete_message() => Failure::Instance(CUT.into()),
        () => {
            let mut deepest: &dyn std::error::Error = &error;
            while let Some(source) = deepest.source() {
                deepest = source;
            }
            match deepest.downcast_ref::<io::Error>() {
                Some(error) if error.kind() == io::ErrorKind::UnexpectedEof => Failure::Instance(CUT.into()),
                _ => Failure::instance(deepest),
            }
        }
    }
}
