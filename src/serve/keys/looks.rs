//! Looks at the parents of zones that wait for a DS to come or to go, and the steps that follow from what they have.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::{Inner, SignedZone, State, parents};
use crate::model::{DnssecSettings, Name, Timestamp};
use crate::sign::parent::{Delegated, Verdict, verdict};

/// How many zones' parents are asked at once.
const LOOKS: usize = 16;

/// A look at the parent of a zone.
#[derive(Clone)]
pub(super) struct Look {
    /// When the next is due.
    pub(super) next: Timestamp,
    /// Why what is waited for is not there yet.
    pub(super) why: String,
}

/// How often a parent is asked for what is waited for: often against the time that is waited afterwards.
pub(super) fn look_every(settings: &DnssecSettings) -> Duration {
    const PART: u32 = 64;
    (settings.ds_ttl.0 / PART).clamp(Duration::from_secs(1), Duration::from_secs(600))
}

impl Inner {
    /// Asks the parents of zones that wait for a DS, where it is time to, and takes the steps that follow.
    pub(super) async fn look(self: &Arc<Inner>) {
        loop {
            let wanted = self.wanted();
            if wanted.is_empty() {
                return;
            }
            let said = join_all(wanted.iter().map(|(apex, servers)| parents::ask(servers, apex))).await;
            for ((apex, _), said) in wanted.into_iter().zip(said) {
                self.heard(apex, &said).await;
            }
        }
    }

    /// Zones whose parents are to be asked now, and who is asked; some of them.
    fn wanted(&self) -> Vec<(Name, Vec<SocketAddr>)> {
        let (mut state, now) = (self.state(), (self.clock)());
        let State { settings, zones, looks, .. } = &mut *state;
        looks.retain(|apex, _| zones.get(apex).is_some_and(|zone| zone.keys.awaits().is_some()));
        let waits = |(apex, zone): &(&Name, &SignedZone)| {
            zone.keys.awaits().is_some() && !settings.parents(apex).is_empty() && looks.get(apex).is_none_or(|look| look.next <= now)
        };
        zones.iter().filter(waits).take(LOOKS).map(|(apex, _)| (apex.clone(), settings.parents(apex).to_vec())).collect()
    }

    /// Takes what the servers of a parent said.
    async fn heard(self: &Arc<Inner>, apex: Name, said: &[(String, Result<Delegated, String>)]) {
        let now = (self.clock)();
        let longest = said.iter().filter_map(|(_, said)| Some(said.as_ref().ok()?.ttl)).max().unwrap_or_default();
        let found = {
            let mut state = self.state();
            let State { settings, zones, looks, .. } = &mut *state;
            let Some(zone) = zones.get_mut(&apex) else { return };
            // It goes to disk with the step; whoever dies before that looks again.
            zone.keys.observe_ds(longest);
            let found = verdict(&zone.keys, &apex, said);
            if let Verdict::Wait(why) = &found {
                let before = looks.insert(apex.clone(), Look { next: now.plus(look_every(settings)), why: why.clone() });
                if before.is_none_or(|before| before.why != *why) {
                    tracing::info!(zone = %apex, why, "the parent is not there yet");
                }
            }
            found
        };
        let done = match found {
            Verdict::Wait(_) => return,
            Verdict::Seen(tag) => {
                tracing::info!(zone = %apex, tag, "every server of the parent has the DS of the key");
                self.change(apex.clone(), move |change| Ok(change.zone.keys.ds_seen(tag)?)).await
            }
            Verdict::Gone => {
                tracing::info!(zone = %apex, "no server of the parent has a DS any more");
                self.change(apex.clone(), move |change| Ok(change.zone.keys.ds_gone(now)?)).await
            }
        };
        if let Err(error) = done {
            tracing::error!(zone = %apex, %error, "what the parent has is not taken; it is asked again");
            let mut state = self.state();
            let next = now.plus(look_every(&state.settings));
            state.looks.insert(apex, Look { next, why: error.to_string() });
        }
    }
}
