//! The start: from what the store holds to the first snapshot, on all processors.
//!
//! ```text
//!   store ─┬─ first half, forward ───┐              ┌─ services compiled ─┐
//!          └─ second half, backward ─┴─▶ registry ──┼─ services compiled ─┼──▶ snapshot
//!                                                   └─ …                  ┘
//! ```
//!
//! Items are read where they lie and never copied: of a million instances, neither the texts nor a second registry are ever in memory.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use super::core::Extent;
use super::records::{self, Reading, Stored};
use super::{StartError, compile};
use crate::model::{Label, Revision, Source, Timestamp};
use crate::registry::{Registry, ServiceEntry};
use crate::snapshot::{CompiledService, Snapshot, ZoneError};
use crate::store::{Half, Unavailable};

/// Most threads that compile: a start should not take all of a large machine.
const MAX_THREADS: usize = 8;
/// Services that one thread compiles at least.
const FEW: usize = 1024;

/// Reads a store whole.
pub(super) fn read(revision: Revision, [first, second]: [Half; 2]) -> Result<Stored, StartError> {
    let read = |half: Half, backward: bool| {
        let mut reading = Reading::new(backward);
        half.each(|key, revision, value| reading.take(key, revision, value))?;
        Ok::<_, Unavailable>(reading)
    };
    let (first, second) = thread::scope(|scope| {
        let second = scope.spawn(|| read(second, true));
        (read(first, false), second.join())
    });
    let second = second.unwrap_or_else(|_| Err(Unavailable("reading it ended early".into())));
    records::joined(revision, first?, second?)
}

/// The first snapshot, with everything that is registered. A registered service whose policy cannot be compiled is answered by the default
/// one, and `astray` notes it.
pub(super) fn compile(
    snapshot: &Snapshot,
    registry: &Registry,
    astray: &mut BTreeSet<Label>,
    now: Timestamp,
) -> Result<Snapshot, ZoneError> {
    let policies = registry.services.values().filter(|entry| entry.source.is_some()).map(|entry| &entry.service.policy);
    let places = snapshot.with_places(registry.localities().into_iter(), policies);
    let services: Vec<(&Label, &ServiceEntry)> = registry.services.iter().collect();
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS).min(services.len() / FEW + 1);
    let compile = |part: &[(&Label, &ServiceEntry)]| -> Vec<Result<Arc<CompiledService>, ZoneError>> {
        let views = part.iter().filter_map(|(name, _)| Some((*name, compile::view(registry, name, now)?)));
        places.compile_apart(views)
    };
    let parts: Vec<&[_]> = services.chunks(services.len().div_ceil(threads).max(1)).collect();
    let outcomes = thread::scope(|scope| {
        let compiling: Vec<_> = parts.iter().map(|part| scope.spawn(|| compile(part))).collect();
        // One that ended early left its services out: they are compiled one by one.
        compiling.into_iter().map(|part| part.join().unwrap_or_default()).collect::<Vec<_>>()
    });
    let (mut done, mut left) = (Vec::with_capacity(services.len()), Vec::new());
    for (part, outcomes) in parts.into_iter().zip(outcomes) {
        let mut outcomes = outcomes.into_iter();
        for service in part {
            match outcomes.next() {
                Some(Ok(compiled)) => done.push(compiled),
                _ => left.push(*service),
            }
        }
    }
    let next = places.joined(done.into_iter());
    let mut next = compile::compile(&next, registry, std::iter::empty(), true, now)?;
    for (name, entry) in left {
        next = match &entry.source {
            // A file that cannot be served is for whoever wrote it.
            Some(Source::File(file)) => compile::compile(&next, registry, std::iter::once((name, &Extent::Whole)), false, now)
                .map_err(|error| ZoneError { file: file.to_string(), ..error })?,
            _ => compile::compile_anyway(&next, registry, name, astray, now)?,
        };
    }
    Ok(next)
}
