//! Versions of zones as they come: compared with the ones before, rendered where that is asked for, and written into journals.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::looks::rest;
use super::{Kept, Transfers, now_ms};
use crate::model::{Counters, Name, ServicesInTransfer};
use crate::serve::journals::Journals;
use crate::snapshot::{CompiledZone, Snapshot};
use crate::transfer::{self, Difference, Journal, Print, Records, Render, TooMany, Version, is_newer, is_rendered};
use crate::wire::{self, Outcome, Query, Transport, Worker};

impl Transfers {
    /// Makes the latest version of a zone, if it is not there.
    pub(super) async fn refresh(&self, apex: &Name) {
        let _one = self.refreshing.lock().await;
        let began = Instant::now();
        let rules = self.lock().rules.clone();
        let snapshot = self.control.publisher().load_full();
        let (Some(settings), Some(zone)) = (rules.of(apex), snapshot.zone_at(apex.wire())) else {
            self.lock().zones.remove(apex);
            return;
        };
        let before = self.lock().zones.get(apex).map(|kept| (kept.version.clone(), kept.generation, kept.print));
        let (mut zone, generation, mut rendered) = (zone.clone(), snapshot.generation, Arc::<Records>::default());
        if is_rendered(&zone, settings.services) {
            if before.as_ref().is_some_and(|(_, made, _)| *made == generation) {
                return;
            }
            let (services, own, of) = (settings.services, self.own, zone.clone());
            let render = tokio::task::spawn_blocking(move || rendering(&snapshot, &of, services, own)).await;
            let Render { records, hash } = match render {
                Ok(Ok(render)) => render,
                Ok(Err(error)) => {
                    tracing::error!(zone = %apex, "{error}: it is not transferred");
                    self.lock().zones.remove(apex);
                    return;
                }
                // It has been printed.
                Err(_) => return,
            };
            rendered = match &before {
                Some((version, ..)) if **version.rendered() == records => version.rendered().clone(),
                _ => Arc::new(records),
            };
            let mut serials = self.serials.lock().await;
            let raised = serials.serials.render(apex, hash, zone.serial());
            serials.keep().await;
            if let Some(serial) = raised {
                self.control.raise_serial(apex, serial).await;
                let snapshot = self.control.publisher().load_full();
                let Some(raised) = snapshot.zone_at(apex.wire()) else { return };
                zone = raised.clone();
            }
        } else if before.as_ref().is_some_and(|(version, ..)| Arc::ptr_eq(version.zone(), &zone)) {
            return;
        }
        let version = Arc::new(Version::new(zone, rendered));
        let known = before.and_then(|(before, _, print)| Some((before, print, self.lock().zones.get(apex)?.journal.clone())));
        let (journals, of, new) = (self.journals.clone(), apex.clone(), version.clone());
        let made = tokio::task::spawn_blocking(move || lead_to(&of, &new, known, &journals));
        // It has been printed where it failed.
        let Ok((journal, print, changed)) = made.await else { return };
        let mut state = self.lock();
        if changed {
            tracing::debug!(zone = %apex, serial = version.serial(), "a version to transfer");
            state.notifier.changed(apex, &settings.notify, version.soa(), now_ms());
        }
        state.zones.insert(apex.clone(), Kept { version, journal, generation, print, rests: rest(began, Instant::now()) });
    }
}

/// What leads to a version from those before, in memory and on disk; its print; and whether it is another than the last one.
fn lead_to(apex: &Name, new: &Version, known: Option<(Arc<Version>, Print, Journal)>, journals: &Journals) -> (Journal, Print, bool) {
    let Some((before, print, mut journal)) = known else {
        let print = new.print();
        return (journals.restore(apex, new, print), print, true);
    };
    let difference = Difference::between(&before, new);
    if difference.from == difference.to && difference.is_empty() {
        return (journal, print, false);
    }
    let (from, to) = difference.serials();
    let print = difference.print(print);
    match is_newer(to, from) {
        true => {
            journal.push(difference);
            journals.append(apex, &journal, print);
        }
        // Who has the version before does not follow.
        false => {
            journal.clear();
            journals.forget(apex);
        }
    }
    (journal, print, true)
}

/// Renders a zone as this server itself is answered.
fn rendering(snapshot: &Snapshot, zone: &CompiledZone, services: ServicesInTransfer, own: SocketAddr) -> Result<Render, TooMany> {
    // One that nobody counts, and that always draws the same.
    let mut worker = Worker::new(0, Arc::new(Counters::default()));
    let mut reply = vec![0; usize::from(u16::MAX)];
    transfer::render(snapshot, zone, services, &mut |bytes| {
        let query = Query { bytes, peer: own, transport: Transport::Tcp, now_ms: 0 };
        match wire::answer_again(snapshot, &mut worker, &query, 0, &mut reply) {
            Outcome::Reply(length) => reply[..length].to_vec(),
            Outcome::Drop | Outcome::Punt(_) => Vec::new(),
        }
    })
}
