//! The thread that drives the writer: channels in, the store beside it, snapshots and answers out.

// The task decides nothing by this clock: it bounds how long a stop may take.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::core::{self, Departure, Input, Landing, RETRY};
use super::writer::{Output, Writer};
use super::{Applied, ApplyError, Observation, Sample, Shared};
use crate::model::{DnsSettings, FieldError, Geo, Name, Revision, Timestamp, Zone, ZoneSigning};
use crate::routing::Surveyed;
use crate::snapshot::{Unfit, ZoneError};
use crate::store::{Engine, Item, Store, StoreId, Unavailable};

/// Where a caller waits.
pub(super) type Reply = oneshot::Sender<Result<Applied, ApplyError>>;

/// Where whoever brought zones waits until they are in answers.
pub(super) type Loaded = oneshot::Sender<Result<(), ZoneError>>;

/// What is loaded.
pub(super) type World = (Vec<Zone>, Geo, DnsSettings);

/// What waits until nothing is under way.
enum Load {
    /// All of it.
    World(Box<World>),
    /// One zone.
    Zone(Box<Zone>),
}

/// What a handle asks of the writer.
pub(super) enum Call {
    /// A command or a heartbeat.
    Input(Input<Reply>),
    /// Zones, geo data and answer settings.
    Load(Box<World>, Loaded),
    /// One zone.
    Put(Box<Zone>, Loaded),
    /// What zones show of their keys.
    Sign(BTreeMap<Name, Option<Arc<ZoneSigning>>>, Loaded),
    /// Measured round trips.
    Measure(Vec<Sample>, oneshot::Sender<Result<(), FieldError>>),
    /// The serial of a zone, as it is from now on.
    Serial(Name, u32, oneshot::Sender<()>),
    /// Zones that are too old to be answered from.
    Withhold(BTreeMap<Name, Unfit>, oneshot::Sender<()>),
    /// The end.
    Stop(oneshot::Sender<()>),
}

/// Commands in line before the rest waits in the channel: what departs together.
const LINE: usize = 2048;
/// What waits is taken together and published once, but no more than this: so many changes of health are in answers within some
/// hundreds of µs, and more at once would save little more. Nothing waits for others to come.
const AT_ONCE: usize = 64;
/// The longest sleep: a clock that was set, or a machine that was asleep, is noticed after so long.
const NAP: Duration = Duration::from_secs(1);
/// How long a stop waits for a store that fails.
const LAST: Duration = Duration::from_secs(5);

/// What the store is asked meanwhile.
type Flight = Pin<Box<dyn Future<Output = Arrival> + Send>>;

/// What the store said.
enum Arrival {
    /// Of a departure.
    Landing(Landing),
    /// When it was read anew.
    State(Result<(StoreId, Revision, Vec<Item>), Unavailable>),
}

/// What the task keeps beside the writer.
#[derive(Default)]
struct Task {
    flight: Option<Flight>,
    /// Loads that wait until nothing is under way.
    loads: Vec<(Load, Loaded)>,
    /// Whoever waits until keys are in answers.
    signed: Vec<(Loaded, Result<(), ZoneError>)>,
    stops: Vec<oneshot::Sender<()>>,
    /// Who waits for a serial to be in answers.
    raised: Vec<oneshot::Sender<()>>,
    /// Measurements that are being compiled.
    survey: Option<JoinHandle<Surveyed>>,
    /// When to stop, whatever is left.
    stop_by: Option<Instant>,
    /// The store could not be read anew: not before, unless somebody asks for something.
    pause: Option<Instant>,
}

/// Drives the writer until it is stopped or every handle is gone, on a thread of its own.
///
/// Among the tasks of the API it would move from thread to thread, away from what the caches hold and from the memory that it gave out and
/// takes back; and each of the ten thousand times in a second that it wakes would wake another thread, which finds nothing to do. It can wait
/// for channels and time, not for sockets: the store has a thread of its own.
pub(super) fn start(
    shared: Arc<Shared>,
    writer: Writer<Reply>,
    engine: Engine,
    calls: mpsc::Receiver<Call>,
    observations: mpsc::UnboundedReceiver<Observation>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let run = move || runtime.block_on(run(shared, writer, engine, calls, observations));
    std::thread::Builder::new().name("writer".to_string()).spawn(run).map(drop)
}

async fn run(
    shared: Arc<Shared>,
    mut writer: Writer<Reply>,
    engine: Engine,
    mut calls: mpsc::Receiver<Call>,
    mut observations: mpsc::UnboundedReceiver<Observation>,
) {
    let mut task = Task::default();
    loop {
        let now = (shared.clock)();
        writer.tick(now);
        if task.flight.is_none() {
            task.load(&shared, &mut writer, now);
            task.take_off(&mut writer, &engine, now);
        }
        if task.survey.is_none() {
            task.survey = writer.survey(now).map(|survey| tokio::task::spawn_blocking(|| survey.compile()));
        }
        make_known(&shared, writer.output(now));
        task.signed.drain(..).for_each(|(reply, outcome)| _ = reply.send(outcome));
        task.raised.drain(..).for_each(|reply| _ = reply.send(()));
        if task.stop_by.is_some_and(|by| task.flight.is_none() && writer.core.is_idle() || by <= Instant::now()) {
            break;
        }
        let nap = writer.next_deadline().map_or(NAP, |at| at.since(now).min(NAP));
        let takes_calls = task.stop_by.is_none() && writer.core.queued() < LINE;
        tokio::select! {
            arrival = arrive(&mut task.flight) => task.land(&mut writer, arrival, (shared.clock)()),
            surveyed = finish(&mut task.survey) => writer.surveyed(surveyed),
            Some(observation) = observations.recv() => {
                let more = std::iter::from_fn(|| observations.try_recv().ok()).take(AT_ONCE - 1);
                writer.observe((shared.clock)(), std::iter::once(observation).chain(more));
            }
            call = calls.recv(), if takes_calls => {
                let now = (shared.clock)();
                task.take(&mut writer, call, now);
                // Commands only stand in line; a beat that is news changes answers at once.
                let mut beats = 0;
                while writer.core.queued() < LINE && beats < AT_ONCE && let Ok(call) = calls.try_recv() {
                    beats += usize::from(matches!(call, Call::Input(Input::Beat { .. })));
                    task.take(&mut writer, Some(call), now);
                }
            }
            () = tokio::time::sleep(nap) => {}
        }
    }
    // Closes the store, and refuses who still calls; then those who asked for it learn that it is done.
    drop((calls, writer, engine, task.flight));
    task.stops.into_iter().for_each(|reply| _ = reply.send(()));
}

impl Task {
    fn take(&mut self, writer: &mut Writer<Reply>, call: Option<Call>, now: Timestamp) {
        match call {
            Some(Call::Input(input)) => writer.handle(now, input),
            Some(Call::Load(world, reply)) => self.loads.push((Load::World(world), reply)),
            Some(Call::Put(zone, reply)) => self.loads.push((Load::Zone(zone), reply)),
            // Known only once it is published.
            Some(Call::Sign(signing, reply)) => self.signed.push((reply, writer.sign(&signing))),
            // Whoever asked may have gone; what was taken stands.
            Some(Call::Measure(samples, reply)) => _ = reply.send(writer.measure(now, &samples)),
            // Published before who asked learns of it, as all answers are: it stands in line behind its publication.
            Some(Call::Serial(apex, serial, reply)) => {
                writer.raise_serial(&apex, serial);
                self.raised.push(reply);
            }
            Some(Call::Withhold(apexes, reply)) => {
                writer.withhold(&apexes);
                self.raised.push(reply);
            }
            Some(Call::Stop(reply)) => {
                self.stops.push(reply);
                self.end(writer);
            }
            // Every handle is gone.
            None => self.end(writer),
        }
    }

    fn end(&mut self, writer: &mut Writer<Reply>) {
        writer.core.behind.hurry();
        self.stop_by = Some(Instant::now() + LAST);
    }

    fn load(&mut self, shared: &Shared, writer: &mut Writer<Reply>, now: Timestamp) {
        for (load, reply) in std::mem::take(&mut self.loads) {
            let outcome = match load {
                Load::World(world) => {
                    let (zones, geo, dns) = *world;
                    writer.load(zones, geo, &dns, now)
                }
                Load::Zone(zone) => writer.put_zone(*zone, now),
            };
            make_known(shared, writer.output(now));
            // Whoever asked may have gone; what was loaded stands.
            _ = reply.send(outcome);
        }
    }

    fn take_off(&mut self, writer: &mut Writer<Reply>, engine: &Engine, now: Timestamp) {
        let engine = engine.clone();
        if !writer.core.is_unsure() {
            let departure = writer.depart(now);
            self.flight = departure.map(|departure| -> Flight { Box::pin(async move { Arrival::Landing(fly(&engine, departure).await) }) });
        } else if writer.core.queued() > 0 || self.pause.is_none_or(|until| until <= Instant::now()) {
            self.flight = Some(Box::pin(async move { Arrival::State(engine.read(&"".into(), true).await) }));
        }
    }

    fn land(&mut self, writer: &mut Writer<Reply>, arrival: Arrival, now: Timestamp) {
        self.flight = None;
        let taken = match arrival {
            Arrival::Landing(landing) => {
                writer.land(now, landing);
                return;
            }
            Arrival::State(Ok((_, revision, items))) => writer.reread((revision, items), now),
            Arrival::State(Err(error)) => Err(error.into()),
        };
        if let Err(error) = taken {
            tracing::error!(%error, "a write may or may not have been made, and what the store holds cannot be taken");
            self.pause = Some(Instant::now() + RETRY);
            writer.core.refuse(now, &error.to_string());
        }
    }
}

/// Brings all parts of a departure to the store at once, in their order; it groups them.
async fn fly(engine: &Engine, departure: Departure) -> Landing {
    let Departure { commands, behind } = departure;
    let commands = join_all(commands.into_iter().map(|operations| engine.commit(operations)));
    let behind = async {
        match behind.is_empty() {
            true => None,
            false => Some(engine.commit(behind).await),
        }
    };
    let (commands, behind) = tokio::join!(commands, behind);
    for error in commands.iter().chain(&behind).filter_map(|outcome| outcome.as_ref().err()) {
        tracing::error!(%error, "the store refused a write");
    }
    Landing { commands, behind }
}

/// Waits for measurements that are being compiled.
async fn finish(survey: &mut Option<JoinHandle<Surveyed>>) -> Option<Surveyed> {
    let Some(compiling) = survey else { return pending().await };
    let surveyed = compiling.await;
    *survey = None;
    surveyed.map_err(|error| tracing::error!(%error, "measured round trips could not be compiled")).ok()
}

async fn arrive(flight: &mut Option<Flight>) -> Arrival {
    match flight {
        Some(flight) => flight.await,
        None => pending().await,
    }
}

/// Publishes first, answers last: whoever has an answer finds everything in place.
fn make_known(shared: &Shared, output: Output<Reply>) {
    let Output { snapshot, orders, events, answers } = output;
    if let Some(snapshot) = snapshot {
        shared.publisher.publish(snapshot);
    }
    if !orders.is_empty() {
        let mut prober = shared.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.into_iter().any(|order| prober.as_ref().is_some_and(|prober| prober.send(order).is_err())) {
            *prober = None;
        }
    }
    for event in events {
        tracing::info!(kind = event.kind, subject = event.subject, author = event.author, "{}", event.detail);
        // An error: nobody listens.
        _ = shared.events.send(event);
    }
    let revision = core::read(&shared.registry).revision;
    shared.revisions.send_if_modified(|known| std::mem::replace(known, revision) != revision);
    for (reply, answer) in answers {
        // Whoever asked may have gone; what was done stands.
        _ = reply.send(answer);
    }
}
