//! Drills, joined to the counters of the server, to simulation, and to the API.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::simulate::{self, Clients};
use crate::api::DrillDesk;
use crate::control::{Clock, Control};
use crate::drill::{self, Counts, DrillContext, Drills};
use crate::model::{Counter, DrillList, DrillOrder, DrillRefusal, DrillReport, DrillRun, Settings};
use crate::server::Server;
use crate::telemetry;

/// Starts the drills of the settings.
pub(super) fn start(settings: &Settings, control: &Control, server: &Server, clients: Clients, clock: &Clock) -> Drills {
    let workers: Vec<_> = server.counters().into_iter().map(|(_, counters)| counters).collect();
    let publisher = control.publisher().clone();
    let counts = move || {
        let sum = |counter: Counter| workers.iter().map(|worker| worker.get(counter)).sum();
        let outcomes = Counter::ALL.iter().filter(|counter| !telemetry::is_mark(**counter));
        Counts {
            all: outcomes.filter(|counter| **counter != Counter::Dropped).map(|counter| sum(*counter)).sum::<u64>(),
            empty: sum(Counter::Empty),
            fail_open: sum(Counter::FailOpen),
            by_region: telemetry::answers_by_region(&workers, &publisher),
        }
    };
    let context = DrillContext {
        control: control.clone(),
        clock: clock.clone(),
        folder: settings.data_dir.join("drills"),
        counts: Arc::new(counts),
        forecast: simulate::forecast(control, clients),
    };
    drill::start(&settings.drills, context)
}

impl DrillDesk for Drills {
    fn list(&self) -> DrillList {
        Drills::list(self)
    }

    fn report(&self, run: &str) -> Option<Arc<DrillReport>> {
        Drills::report(self, run)
    }

    fn page(&self, report: &DrillReport) -> String {
        drill::page(report)
    }

    fn begin(&self, order: DrillOrder, author: String) -> BoxFuture<'_, Result<DrillRun, DrillRefusal>> {
        Box::pin(async move { self.run(order, &author).await })
    }

    fn abort(&self, run: String, author: String) -> BoxFuture<'_, Result<DrillRun, DrillRefusal>> {
        Box::pin(async move { Drills::abort(self, &run, &author).await })
    }
}
