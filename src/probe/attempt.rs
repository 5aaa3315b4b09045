//! One probe from beginning to end, bounded by its timeout.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::Duration;

use crate::model::{Check, CheckKind, Period, ProbeResult};

use super::attention::Attention;
use super::roster::Finding;
use super::tls::Tls;
use super::{http, tcp, tls};

/// The longest reason in octets; some come from the instance.
const LONGEST_REASON: usize = 200;

/// A check, ready to be run on any instance.
#[derive(Debug)]
pub(super) struct Probe {
    timeout: Duration,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Tcp,
    Http(Box<http::Question>, Option<tls::Session>),
    /// It cannot be run as it is written, and why.
    Impossible(String),
}

/// Why a probe did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Because of the instance, or what lies between.
    Instance(String),
    /// Because of this machine.
    Here(String),
}

impl Failure {
    /// An error as the instance's, in its own words.
    pub(super) fn instance(error: &(impl std::error::Error + ?Sized)) -> Failure {
        Failure::Instance(error.to_string())
    }
}

/// How far a probe has come: for what is said when its time is up.
#[derive(Debug)]
pub(super) struct Progress {
    stage: Cell<&'static str>,
    verdict: RefCell<Option<Result<(), Failure>>>,
}

impl Progress {
    /// Notes what the probe is at.
    pub(super) fn stage(&self, stage: &'static str) {
        self.stage.set(stage);
    }

    /// Notes the verdict, which stands however the connection ends.
    pub(super) fn conclude(&self, verdict: Result<(), Failure>) {
        self.verdict.replace(Some(verdict));
    }
}

impl Probe {
    /// Makes a check ready.
    pub(super) fn new(check: &Check, tls: &Tls) -> Probe {
        let kind = match &check.kind {
            CheckKind::Tcp => Kind::Tcp,
            CheckKind::Http(check) => match (http::Question::new(check), tls.session(check)) {
                (Ok(question), Ok(session)) => Kind::Http(Box::new(question), session),
                (Err(why), _) | (_, Err(why)) => Kind::Impossible(why),
            },
        };
        Probe { timeout: check.timeout.0, kind }
    }

    /// Runs it once.
    pub(super) async fn run(&self, address: SocketAddr, attention: &Attention) -> Finding {
        let progress = Progress { stage: Cell::new("connecting"), verdict: RefCell::new(None) };
        let ended = attention.within(self.timeout, self.attempt(address, &progress)).await;
        let verdict = match (progress.verdict.take(), ended) {
            (Some(verdict), _) => verdict,
            (None, Some(ended)) => ended,
            (None, None) => Err(Failure::Instance(format!("timeout after {}, {}", Period(self.timeout), progress.stage.get()))),
        };
        match verdict {
            Ok(()) => Finding::Result(ProbeResult::Pass),
            Err(Failure::Instance(why)) => Finding::Result(ProbeResult::Fail(shortened(why))),
            Err(Failure::Here(why)) => Finding::NotProbed(why),
        }
    }

    async fn attempt(&self, address: SocketAddr, progress: &Progress) -> Result<(), Failure> {
        match &self.kind {
            Kind::Impossible(why) => Err(Failure::Instance(why.clone())),
            Kind::Tcp => tcp::connect(address).await.map(drop),
            // What comes after the connection is boxed: thousands may be waiting for a region that is gone, and wait as lightly as they can.
            Kind::Http(question, None) => {
                let stream = tcp::connect(address).await?;
                Box::pin(question.ask(stream, address, progress)).await
            }
            Kind::Http(question, Some(session)) => {
                let stream = tcp::connect(address).await?;
                // A small write must not wait for the one before to be acknowledged. It cannot fail on an open socket.
                let _ = stream.set_nodelay(true);
                progress.stage("in the TLS handshake");
                let stream = Box::pin(session.handshake(stream, address.ip())).await?;
                Box::pin(question.ask(stream, address, progress)).await
            }
        }
    }
}

fn shortened(mut why: String) -> String {
    if why.len() > LONGEST_REASON {
        let end = (0..=LONGEST_REASON).rev().find(|end| why.is_char_boundary(*end)).unwrap_or(0);
        why.truncate(end);
        why.push('…');
    }
    why
}
