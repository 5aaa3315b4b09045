//! Updates over DNS (RFC 2136) at the roof: what the key of a message may do, and the reply when it is durable and in answers.
//!
//! ```text
//!   Punt::Authenticated ─▶ rights of the key ─▶ audit log ready? ─▶ control: durable, published ─▶ audit line ─▶ signed reply
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::api::{Audit, Entry};
use crate::codec::code::{extended, rcode};
use crate::codec::present;
use crate::control::{ApplyError, Clock, Control};
use crate::model::{Edit, Name, Revision, Settings, UpdateRight, ZoneUpdate};
use crate::registry::{Command, Refusal, type_text};
use crate::tsig::Signer;
use crate::wire::update::{conclude, read_update};

/// Updates that are under way at once; others wait.
const MOST: u32 = 1024;

/// How long updates under way may take once the server stops.
const STOP_TIME: Duration = Duration::from_secs(5);

/// Takes updates.
pub(super) struct Updates {
    /// What they run on, which outlives the listeners: between a change and its audit line nothing is given up.
    runtime: Handle,
    places: Arc<Semaphore>,
    control: Control,
    clock: Clock,
    /// Who may do what, by zone.
    rights: ArcSwap<BTreeMap<Name, Vec<UpdateRight>>>,
    /// The API opens it, after the listeners are there.
    audit: OnceLock<Audit>,
    /// How many there were, by the RCODE of the reply.
    counts: [AtomicU64; RCODES],
}

/// RCODEs of replies to updates (RFC 2136 §2.2): NOERROR to NOTZONE.
const RCODES: usize = 11;

/// What comes of an update.
struct Verdict {
    rcode: u16,
    why: Option<(u16, String)>,
    revision: Option<Revision>,
}

impl Verdict {
    fn refuse(rcode: u16, extended: u16, why: impl Into<String>) -> Verdict {
        Verdict { rcode, why: Some((extended, why.into())), revision: None }
    }
}

impl Updates {
    /// Takes updates on the runtime of the caller.
    pub(super) fn new(settings: &Settings, control: Control, clock: Clock) -> Updates {
        let (runtime, places) = (Handle::current(), Arc::new(Semaphore::new(MOST as usize)));
        Updates {
            runtime,
            places,
            control,
            clock,
            rights: ArcSwap::from_pointee(settings.updates.clone()),
            audit: OnceLock::new(),
            counts: Default::default(),
        }
    }

    /// How many there were since the start, by the RCODE of the reply.
    pub(super) fn stats(&self) -> Vec<(String, f64)> {
        let counts = self.counts.iter().enumerate().map(|(code, count)| (code, count.load(Ordering::Relaxed)));
        let seen = counts.filter(|(code, count)| *count > 0 || *code == usize::from(rcode::NOERROR));
        seen.map(|(code, count)| (rcode::name(code as u16).to_ascii_lowercase(), count as f64)).collect()
    }

    /// Takes no more, and waits for those under way.
    pub(super) async fn stop(&self) {
        if tokio::time::timeout(STOP_TIME, self.places.acquire_many(MOST)).await.is_err() {
            tracing::warn!("updates were cut off: the store took too long");
        }
        self.places.close();
    }

    /// Takes the rights of other settings.
    pub(super) fn reload(&self, settings: &Settings) {
        self.rights.store(Arc::new(settings.updates.clone()));
    }

    /// What a key may change in a zone.
    fn rights(&self, apex: &Name, key: &Name) -> Vec<UpdateRight> {
        self.rights.load().get(apex).into_iter().flatten().filter(|right| right.key == *key).cloned().collect()
    }

    /// Writes lines into this log from now on. Until then no update is taken.
    pub(super) fn audit_in(&self, audit: Audit) {
        // Set once, when the API listens.
        _ = self.audit.set(audit);
    }

    /// The reply to an update whose signature holds; `None`: it deserves none, or the server stops. `message` is without its TSIG. A client that hangs up,
    /// or a server that stops, cannot stop it between the change and its audit line.
    pub(super) async fn take(self: &Arc<Self>, message: Vec<u8>, peer: SocketAddr, signer: Signer, now: u64) -> Option<Vec<u8>> {
        let place = self.places.clone().acquire_owned().await.ok()?;
        let updates = self.clone();
        let answer = async move {
            let _place = place;
            updates.answer(&message, peer, signer, now).await
        };
        // It ended in a panic, which was printed.
        self.runtime.spawn(answer).await.ok().flatten()
    }

    async fn answer(&self, message: &[u8], peer: SocketAddr, mut signer: Signer, now: u64) -> Option<Vec<u8>> {
        let verdict = self.judge(message, peer, &signer).await;
        if let Some(count) = self.counts.get(usize::from(verdict.rcode)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let why = verdict.why.as_ref().map(|(code, text)| (*code, text.as_str()));
        let mut reply = conclude(message, verdict.rcode, why)?;
        signer.sign(&mut reply, now).ok()?;
        Some(reply)
    }

    async fn judge(&self, message: &[u8], peer: SocketAddr, signer: &Signer) -> Verdict {
        let update = match read_update(message) {
            Ok(update) => Arc::new(update),
            Err(malformed) => return Verdict::refuse(rcode::FORMERR, extended::OTHER, malformed.to_string()),
        };
        let key = signer.key().name().clone();
        let unaudited = |error: &dyn std::fmt::Display| {
            Verdict::refuse(rcode::SERVFAIL, extended::OTHER, format!("the audit log cannot be written: {error}"))
        };
        let Some(audit) = self.audit.get() else { return unaudited(&"it is not open yet") };
        if let Err(error) = audit.ready().await {
            return unaudited(&error);
        }
        let command = Command::Update { update: update.clone(), rights: self.rights(&update.apex, &key), key: key.clone() };
        let verdict = match self.control.apply(command, &key.to_string()).await {
            Ok(applied) => Verdict { rcode: rcode::NOERROR, why: None, revision: Some(applied.revision) },
            Err(ApplyError::Refused(Refusal::Update(refusal))) => Verdict::refuse(refusal.rcode(), refusal.extended(), refusal.to_string()),
            Err(ApplyError::Refused(refusal)) => Verdict::refuse(rcode::REFUSED, extended::OTHER, refusal.to_string()),
            Err(error @ (ApplyError::Store(_) | ApplyError::Unknown(_) | ApplyError::Partly { .. } | ApplyError::Stopping)) => {
                Verdict::refuse(rcode::SERVFAIL, extended::OTHER, error.to_string())
            }
        };
        if let Some((_, why)) = &verdict.why {
            tracing::info!(%key, zone = %update.apex, %peer, rcode = rcode::name(verdict.rcode), "an update was refused: {why}");
        }
        // A question whether prerequisites hold changes nothing, and needs no line.
        if update.edits.is_empty() {
            return verdict;
        }
        let body = serde_json::to_vec(&told(&update)).unwrap_or_default();
        let (author, from, path) = (key.to_string(), peer.to_string(), update.apex.to_string());
        let entry = Entry {
            at: (self.clock)(),
            author: &author,
            peer: &from,
            method: "UPDATE",
            path: &path,
            body: Some(body.into()),
            status: verdict.rcode,
            revision: verdict.revision,
            reason: verdict.why.as_ref().map(|(_, text)| text.as_str()),
            left_out: 0,
        };
        match audit.append(&entry).await {
            Ok(()) => verdict,
            Err(error) => {
                tracing::error!(%error, "the audit log cannot be written; updates are refused until it can");
                let made = if verdict.rcode == rcode::NOERROR { "the change was made, but " } else { "" };
                Verdict::refuse(rcode::SERVFAIL, extended::OTHER, format!("{made}its audit line could not be written: {error}"))
            }
        }
    }
}

/// Edits of an audit line; one message may hold thousands.
const TOLD: usize = 100;

/// The edits as people write them.
fn told(update: &ZoneUpdate) -> Vec<String> {
    let one = |edit: &Edit| match edit {
        Edit::Add { name, rtype, ttl, rdata } => format!("add {name} {ttl} {} {}", type_text(*rtype), present(*rtype, rdata)),
        Edit::DeleteSet(name, rtype) => format!("delete {name} {}", type_text(*rtype)),
        Edit::DeleteName(name) => format!("delete {name}"),
        Edit::DeleteRecord(name, rtype, rdata) => format!("delete {name} {} {}", type_text(*rtype), present(*rtype, rdata)),
    };
    let more = update.edits.len().saturating_sub(TOLD);
    update.edits.iter().take(TOLD).map(one).chain((more > 0).then(|| format!("and {more} more"))).collect()
}

impl std::fmt::Debug for Updates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Updates")
    }
}
