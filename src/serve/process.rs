//! The process `signpost serve`: signals, files that change, and zones that were copied, one after the other.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::secondaries::Wish;
use super::{Running, ServeError, reload, supervisor};
use crate::config;
use crate::model::Settings;
use crate::{server, telemetry};

/// How long what is still read or written when the server has stopped may take.
const LAST_FILES: Duration = Duration::from_secs(5);

/// The process `signpost serve`: serves until SIGTERM or SIGINT, and reads its files again when they change or at SIGHUP.
pub fn run(settings: Settings) -> Result<(), ServeError> {
    telemetry::init(settings.log.format, &settings.log.level)?;
    // Before probes and TCP connections need them: the usual limit of 1,024 is too low for both.
    server::raise_open_files();
    // DNS and the writer have threads of their own; the API has these, and files are read and snapshots compiled for reloads beside them.
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("signpost")
        .enable_all()
        .build()
        .map_err(|error| ServeError::System { what: "no threads can be started", error })?;
    let served = runtime.block_on(serve(settings));
    // Threads that read or write files cannot be called back: one that waits for a file system that is gone would keep the process.
    runtime.shutdown_timeout(LAST_FILES);
    served
}

/// What is to be done next.
enum Turn {
    /// Everything is read again, for this reason.
    Reload(&'static str),
    /// A zone was copied.
    Copy(Wish),
}

async fn serve(settings: Settings) -> Result<(), ServeError> {
    // Asked for first: from now on no signal ends the process halfway.
    let mut stop = Stop::new()?;
    let mut hangup = listen_for(SignalKind::hangup())?;
    let (changed, mut changes) = mpsc::channel(1);
    let watch = |settings: &Settings| {
        let changed = changed.clone();
        // A full channel holds a change already.
        config::watch(settings, move || _ = changed.try_send(()))
    };
    // Before they are read: what changes from now on is read again.
    let mut watching = watch(&settings)?;
    let mut running = tokio::select! {
        started = Running::start(settings) => started?,
        name = stop.signal() => {
            tracing::info!("stopped by {name} before it served");
            return Ok(());
        }
    };
    watching.include(&running.read.sources);
    supervisor::ready(true);
    loop {
        let turn = tokio::select! {
            name = stop.signal() => {
                tracing::info!("{name}: stopping; again to stop at once");
                break;
            }
            Some(()) = hangup.recv() => Turn::Reload("SIGHUP"),
            Some(()) = changes.recv() => Turn::Reload("files changed"),
            Some(wish) = running.wished.recv() => Turn::Copy(wish),
        };
        let before = reload::watched(&running.settings);
        // A reload may wait for a store that does not answer: a signal does not.
        tokio::select! {
            () = running.take_turn(turn) => {}
            name = stop.signal() => {
                tracing::info!("{name}: stopping while files are read; again to stop at once");
                break;
            }
        }
        if reload::watched(&running.settings) != before {
            // It serves all the same, and hears of a SIGHUP.
            match watch(&running.settings) {
                Ok(anew) => watching = anew,
                Err(error) => tracing::error!(%error, "files are not watched where they are now: SIGHUP has them read"),
            }
        }
        watching.include(&running.read.sources);
    }
    supervisor::stopping();
    drop(watching);
    tokio::select! {
        () = running.stop() => tracing::info!("stopped"),
        name = stop.signal() => tracing::warn!("{name} again: stopped at once"),
    }
    Ok(())
}

impl Running {
    async fn take_turn(&mut self, turn: Turn) {
        match turn {
            Turn::Reload(reason) => {
                supervisor::reloading();
                supervisor::ready(self.reload(reason).await);
            }
            Turn::Copy(wish) => {
                let mut wishes = vec![wish];
                // What came meanwhile is read with it.
                while let Ok(wish) = self.wished.try_recv() {
                    wishes.push(wish);
                }
                self.take_copies(wishes).await;
            }
        }
    }
}

/// The signals that end a server.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> Result<Stop, ServeError> {
        Ok(Stop { terminate: listen_for(SignalKind::terminate())?, interrupt: listen_for(SignalKind::interrupt())? })
    }

    /// Waits for one, and names it.
    async fn signal(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn listen_for(kind: SignalKind) -> Result<Signal, ServeError> {
    signal(kind).map_err(|error| ServeError::System { what: "signals cannot be received", error })
}
