//! One look at a primary, over TCP or TLS: its serial, and where that is later the zone (RFC 5936, RFC 1995), signed where there is a key
//! (RFC 8945).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::codec::HEADER;
use crate::codec::code::{CLASS_IN, rtype};
use crate::model::{Name, Peer, Timestamp};
use crate::tsig::{self, Key, ReplyError, Verifier};

use super::trust::{DOT, TrustError, trust};

use super::copy::{Contents, Copy, CopyError, Progress, Start, is_later, soa_of, text};

/// How long a primary may take to accept a connection, and to send each message.
const CONNECT: Duration = Duration::from_secs(5);
const MESSAGE: Duration = Duration::from_secs(30);
/// How long a whole transfer may take.
const TRANSFER: Duration = Duration::from_secs(1800);

/// What a primary has.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing later than what is known.
    Current(Start),
    /// This zone, as a master file.
    New(Start, String),
}

/// Why a primary is of no help.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("it takes too long")]
    Slow,
    #[error("the key {0} is not known any more")]
    NoKey(Name),
    #[error("{0}")]
    Signature(#[from] ReplyError),
    #[error("the question has no room for a TSIG")]
    Long,
    #[error("{0}")]
    Trust(#[from] TrustError),
    #[error("over TLS it does not speak DNS (no ALPN \"dot\", RFC 9103 §7.1)")]
    NotDns,
    #[error(transparent)]
    Copy(#[from] CopyError),
}

/// Gives the serial and the contents of a zone as it is known.
pub(super) type KnownContents = Arc<dyn Fn() -> Option<(u32, Contents)> + Send + Sync>;
/// A connection.
trait Line: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Line for T {}

/// A zone to ask for.
pub(super) struct Wanted {
    pub apex: Name,
    /// What is known of it.
    pub have: Option<Start>,
    /// The same, whole.
    pub contents: KnownContents,
    pub key: Option<Arc<Key>>,
    /// Roots that certificates of primaries lead to; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// Seconds since the Unix epoch, as the caller's clock says.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// For the ids of messages.
    pub seed: u64,
}

impl Wanted {
    /// Asks one primary.
    pub async fn ask(&self, peer: &Peer) -> Result<Found, AskError> {
        let mut line = self.connect(peer).await?;
        let id = self.seed as u16;
        let mut verifier = self.send(&mut line, id, rtype::SOA, None).await?;
        let reply = receive(&mut line).await?;
        self.verify(&mut verifier, &reply)?;
        let there = soa_of(&reply, id, &self.apex)?;
        if let Some(have) = &self.have
            && !is_later(there.serial, have.serial)
        {
            return Ok(Found::Current(there));
        }
        let whole = async {
            let contents = self.contents.clone();
            let known = tokio::task::spawn_blocking(move || contents()).await.map_err(std::io::Error::other)?;
            // It may be another one by now.
            if let Some((have, known)) = self.have.zip(known).filter(|(have, (serial, _))| have.serial == *serial) {
                let copy = Copy::new(self.apex.clone(), (self.seed >> 16) as u16, Some(known));
                match self.transfer(&mut line, copy, rtype::IXFR, Some(have)).await {
                    // What it cannot do, or does wrong, the whole zone mends (RFC 1995 §4).
                    Err(AskError::Copy(error)) => tracing::debug!(zone = %self.apex, %peer, %error, "no differences"),
                    outcome => return outcome,
                }
                line = self.connect(peer).await?;
            }
            let copy = Copy::new(self.apex.clone(), (self.seed >> 32) as u16, None);
            self.transfer(&mut line, copy, rtype::AXFR, None).await
        };
        timeout(TRANSFER, whole).await.map_err(|_| AskError::Slow)?
    }

    async fn transfer(&self, line: &mut Box<dyn Line>, mut copy: Copy, qtype: u16, have: Option<Start>) -> Result<Found, AskError> {
        let mut verifier = self.send(line, copy.id(), qtype, have).await?;
        loop {
            let message = receive(line).await?;
            self.verify(&mut verifier, &message)?;
            match copy.take(&message)? {
                Progress::More => {}
                Progress::Current(start) => return Ok(Found::Current(start)),
                Progress::Whole(start) => {
                    // RFC 8945 §5.3.1: the last message is signed.
                    verifier.map_or(Ok(()), |verifier| verifier.finish())?;
                    let contents = std::mem::take(&mut copy.contents);
                    let text = tokio::task::spawn_blocking(move || text(&contents)).await.map_err(std::io::Error::other)?;
                    return Ok(Found::New(start, text));
                }
            }
        }
    }

    async fn connect(&self, peer: &Peer) -> Result<Box<dyn Line>, AskError> {
        let line = timeout(CONNECT, TcpStream::connect(peer.address)).await.map_err(|_| AskError::Slow)??;
        line.set_nodelay(true)?;
        let Some(name) = &peer.tls else { return Ok(Box::new(line)) };
        let server = ServerName::try_from(name.clone()).map_err(std::io::Error::other)?;
        let ca = self.ca.clone();
        let trust = tokio::task::spawn_blocking(move || trust(ca.as_deref())).await.map_err(std::io::Error::other)??;
        let line = timeout(CONNECT, TlsConnector::from(trust).connect(server, line)).await.map_err(|_| AskError::Slow)??;
        match line.get_ref().1.alpn_protocol() {
            Some(DOT) => Ok(Box::new(line)),
            _ => Err(AskError::NotDns),
        }
    }

    async fn send(&self, line: &mut Box<dyn Line>, id: u16, qtype: u16, have: Option<Start>) -> Result<Option<Verifier>, AskError> {
        let mut message = vec![0, 0];
        let mut question = question(&self.apex, id, qtype, have);
        let verifier = self.key.as_ref().map(|key| tsig::ask(&mut question, key, self.now())).transpose().map_err(|_| AskError::Long)?;
        let length = u16::try_from(question.len()).map_err(|_| AskError::Long)?;
        message.copy_from_slice(&length.to_be_bytes());
        message.extend(question);
        timeout(MESSAGE, line.write_all(&message)).await.map_err(|_| AskError::Slow)??;
        Ok(verifier)
    }

    fn verify(&self, verifier: &mut Option<Verifier>, message: &[u8]) -> Result<(), AskError> {
        let now = self.now();
        verifier.as_mut().map_or(Ok(()), |verifier| verifier.verify(message, now))?;
        Ok(())
    }

    fn now(&self) -> u64 {
        (self.clock)().0 / 1_000
    }
}

/// A question for a zone; an IXFR says from where (RFC 1995 §3).
fn question(apex: &Name, id: u16, qtype: u16, have: Option<Start>) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + 300);
    message.extend(id.to_be_bytes());
    message.extend([0, 0, 0, 1, 0, 0, 0, u8::from(have.is_some()), 0, 0]);
    message.extend_from_slice(apex.wire());
    message.extend([qtype.to_be_bytes(), CLASS_IN.to_be_bytes()].concat());
    if let Some(have) = have {
        // The name is the question's; of the data nothing but the serial counts.
        message.extend(b"\xc0\x0c");
        message.extend([rtype::SOA.to_be_bytes(), CLASS_IN.to_be_bytes()].concat());
        message.extend(b"\0\0\0\0\0\x16\0\0");
        message.extend(have.serial.to_be_bytes());
        message.extend([0; 16]);
    }
    message
}

async fn receive(line: &mut Box<dyn Line>) -> Result<Vec<u8>, AskError> {
    let read = async {
        let length = line.read_u16().await?;
        let mut message = vec![0; length.into()];
        line.read_exact(&mut message).await?;
        Ok::<_, std::io::Error>(message)
    };
    Ok(timeout(MESSAGE, read).await.map_err(|_| AskError::Slow)??)
}
