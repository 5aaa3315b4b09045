//! Measured round trips: taken at once, and compiled into where clients stand at most every few seconds, beside the writer.
//!
//! ```text
//!   samples ─▶ Measurements ── news, or something grew stale ──▶ Survey ─ compiled elsewhere ─▶ Surveyed ─▶ the next snapshot
//! ```
//!
//! They are not written down: a restart forgets them, and whoever measures sends new ones. Each server knows what was sent to it.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use ipnet::IpNet;

use crate::model::{FieldError, Label, Timestamp};
use crate::routing::{MOST_MS, Measurements, Orders, Origins, Places, Survey, Surveyed};
use crate::snapshot::Snapshot;

/// A round trip that somebody measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Between which clients; cut to a /24 of IPv4 or a /56 of IPv6 where it is longer.
    pub client: IpNet,
    /// And which region.
    pub region: Label,
    /// Milliseconds: more than 0, and at most [`MOST_MS`].
    pub rtt_ms: f64,
}

/// The least time between two compilations.
const BETWEEN: Duration = Duration::from_secs(5);

/// What was measured, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Surveys {
    pub measurements: Arc<RwLock<Measurements>>,
    /// The orders in force.
    orders: Arc<Orders>,
    /// Whether there are samples that are in no compilation yet.
    news: bool,
    /// When the last compilation began.
    last: Option<Timestamp>,
    under_way: bool,
}

impl Surveys {
    /// Takes all samples or, where one cannot be, none; the error names it.
    pub fn take(&mut self, now: Timestamp, samples: &[Sample], places: &Places) -> Result<(), FieldError> {
        let wrong = |n: usize, field: &str, expected: String| FieldError::new(format!("samples[{n}].{field}"), expected);
        let mut regions = Vec::with_capacity(samples.len());
        for (n, sample) in samples.iter().enumerate() {
            if !(sample.rtt_ms > 0.0 && sample.rtt_ms <= MOST_MS) {
                return Err(wrong(n, "rtt_ms", format!("more than 0 and at most {MOST_MS} milliseconds, not {}", sample.rtt_ms)));
            }
            let region = places.region(sample.region.as_str().as_bytes());
            regions.push(region.ok_or_else(|| {
                wrong(n, "region", format!("a region that is declared, or has instances; there is no region {}", sample.region))
            })?);
        }
        let mut measurements = self.measurements.write().unwrap_or_else(PoisonError::into_inner);
        for (sample, region) in samples.iter().zip(regions) {
            measurements.take(now, sample.client, region, sample.rtt_ms);
        }
        self.news |= !samples.is_empty();
        Ok(())
    }

    /// What is to be compiled now, if anything is.
    pub fn begin(&mut self, now: Timestamp, snapshot: &Snapshot) -> Option<Survey> {
        if self.next_deadline().is_none_or(|at| at > now) {
            return None;
        }
        self.news |= self.measurements.write().unwrap_or_else(PoisonError::into_inner).expire(now);
        self.news.then(|| {
            self.under_way = true;
            self.survey(now, snapshot)
        })
    }

    /// Takes what came of a compilation (`None`: nothing), and returns what queries are to see. One that geo data overtook is void.
    pub fn end(&mut self, surveyed: Option<Surveyed>, snapshot: &Snapshot) -> Option<Arc<Origins>> {
        self.under_way = false;
        let surveyed = surveyed.filter(|surveyed| surveyed.origins.is_same_build(&snapshot.origins))?;
        self.orders = surveyed.orders;
        Some(surveyed.origins)
    }

    /// What queries are to see where geo data is new; `None`: nothing was measured. This takes its time, as geo data does.
    pub fn anew(&mut self, now: Timestamp, snapshot: &Snapshot) -> Option<Arc<Origins>> {
        if read(&self.measurements).is_empty() {
            return None;
        }
        let surveyed = self.survey(now, snapshot).compile();
        self.orders = surveyed.orders;
        Some(surveyed.origins)
    }

    /// When [`Surveys::begin`] is needed next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        if self.under_way {
            return None;
        }
        let earliest = self.last.map_or(Timestamp(0), |last| last.plus(BETWEEN));
        match self.news {
            true => Some(earliest),
            false => read(&self.measurements).next_expiry().map(|at| at.max(earliest)),
        }
    }

    fn survey(&mut self, now: Timestamp, snapshot: &Snapshot) -> Survey {
        (self.news, self.last) = (false, Some(now));
        let fresh = read(&self.measurements).fresh(now);
        Survey { origins: snapshot.origins.clone(), places: snapshot.places.clone(), fresh, orders: self.orders.clone() }
    }
}

/// Locks for looking; a thread that panicked while it held the lock has left whole values behind.
pub(super) fn read(measurements: &RwLock<Measurements>) -> RwLockReadGuard<'_, Measurements> {
    measurements.read().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Writer;
    use crate::model::{Geo, Place, Revision, Settings};

    fn label(text: &str) -> Label {
        Label::parse(text).unwrap()
    }

    /// Clients of 10.0.0.0/8 are in region `eu`, `us` is 80 ms from there, and so many more are known of elsewhere.
    fn geo(others: u8) -> Geo {
        let network = |n: u8, region: &str| {
            let place = Place { region: Some(label(region)), ..Place::default() };
            (format!("{n}.0.0.0/8").parse().unwrap(), place)
        };
        let networks = (0..=others).map(|n| network(10 + n, if n == 0 { "eu" } else { "us" })).collect();
        Geo { networks, rtt_ms: [((label("eu"), label("us")), 80.0)].into(), ..Geo::default() }
    }

    fn sample(client: &str, region: &str, rtt_ms: f64) -> Sample {
        Sample { client: client.parse().unwrap(), region: label(region), rtt_ms }
    }

    struct Desk {
        writer: Writer<()>,
        now: Timestamp,
    }

    impl Desk {
        fn new() -> Desk {
            let now = Timestamp(1_700_000_000_000);
            let dns = Settings::default().dns;
            Desk { writer: Writer::begin((Revision(0), Vec::new()), Vec::new(), geo(0), &dns, now).unwrap(), now }
        }

        fn after(&mut self, millis: u64) -> &mut Desk {
            self.now = self.now.plus(Duration::from_millis(millis));
            self
        }

        fn measure(&mut self, samples: &[Sample]) -> Result<(), String> {
            self.writer.measure(self.now, samples).map_err(|error| error.to_string())
        }

        /// Compiles what is to be; whether something was.
        fn survey(&mut self) -> bool {
            let surveyed = self.writer.survey(self.now).map(Survey::compile);
            let compiled = surveyed.is_some();
            if compiled {
                self.writer.surveyed(surveyed);
            }
            compiled
        }

        /// The regions of a client in their order, as published if there is anything new.
        fn regions(&mut self, client: &str) -> String {
            let output = self.writer.output(self.now);
            let snapshot = output.snapshot.unwrap_or_else(|| self.writer.snapshot().clone());
            let (stand, _) = snapshot.origins.stand(client.parse().unwrap());
            stand.ranking.iter().map(|(region, ms)| format!("{}:{ms} ", snapshot.places.region_label(*region))).collect()
        }
    }

    #[test]
    fn samples_are_in_answers_at_most_every_five_seconds_and_go_when_they_are_stale() {
        let mut desk = Desk::new();
        assert_eq!((desk.survey(), desk.regions("10.1.2.3").as_str()), (false, "eu:0 us:80 "));
        let far = [sample("10.1.2.3/32", "eu", 90.0), sample("10.1.2.0/24", "us", 20.0)];
        desk.measure(&far).unwrap();
        assert!(desk.writer.next_deadline().is_some_and(|at| at <= desk.now), "the first ones at once");
        assert_eq!((desk.survey(), desk.regions("10.1.2.9").as_str()), (true, "us:20 eu:90 "));
        assert_eq!(desk.regions("10.1.3.9"), "eu:0 us:80 ");
        desk.after(1000).measure(&[sample("10.1.3.0/24", "eu", 7.0)]).unwrap();
        assert_eq!((desk.survey(), desk.regions("10.1.3.9").as_str()), (false, "eu:0 us:80 "));
        assert_eq!(desk.writer.next_deadline(), Some(desk.now.plus(Duration::from_millis(4000))));
        assert!(!desk.after(3999).survey() && desk.after(1).survey());
        assert_eq!(desk.regions("10.1.3.9"), "eu:7 us:80 ");
        assert!(!desk.after(3_594_999).survey(), "nothing is new, nothing stale");
        assert_eq!((desk.after(1).survey(), desk.regions("10.1.2.9").as_str()), (true, "eu:0 us:80 "));
        assert_eq!(desk.regions("10.1.3.9"), "eu:7 us:80 ");
        assert_eq!((desk.after(5000).survey(), desk.regions("10.1.3.9").as_str()), (true, "eu:0 us:80 "));
        assert_eq!(desk.writer.next_deadline(), None);
    }

    #[test]
    fn geo_data_is_reloaded_under_measurements() {
        let mut desk = Desk::new();
        let dns = Settings::default().dns;
        desk.measure(&[sample("10.1.2.0/24", "us", 20.0), sample("10.1.2.0/24", "eu", 90.0)]).unwrap();
        let late = desk.writer.survey(desk.now).unwrap();
        assert_eq!(desk.writer.next_deadline(), None, "one compilation at a time");
        desk.writer.load(Vec::new(), geo(1), &dns, desk.now).unwrap();
        assert_eq!(desk.regions("10.1.2.9"), "us:20 eu:90 ");
        desk.writer.surveyed(Some(late.compile()));
        assert!(desk.writer.output(desk.now).snapshot.is_none(), "it is of other geo data");
        assert_eq!((desk.regions("11.0.0.1").as_str(), desk.regions("10.1.2.9").as_str()), ("us:0 eu:80 ", "us:20 eu:90 "));
        // Without new geo data what was compiled stays.
        desk.writer.load(Vec::new(), geo(1), &dns, desk.now).unwrap();
        assert_eq!(desk.regions("10.1.2.9"), "us:20 eu:90 ");
    }

    #[test]
    fn what_cannot_be_taken_is_refused_with_all_beside_it() {
        let mut desk = Desk::new();
        for (region, rtt_ms, field) in [
            ("mars", 10.0, "samples[1].region"),
            ("us", 0.0, "samples[1].rtt_ms"),
            ("us", -1.0, "samples[1].rtt_ms"),
            ("us", 60_000.1, "samples[1].rtt_ms"),
            ("us", f64::NAN, "samples[1].rtt_ms"),
        ] {
            let said = desk.measure(&[sample("10.1.2.0/24", "us", 20.0), sample("10.1.2.0/24", region, rtt_ms)]).unwrap_err();
            assert!(said.contains(field), "{said}");
        }
        assert!(read(&desk.writer.surveys.measurements).is_empty() && !desk.survey());
        desk.measure(&[sample("10.1.2.0/24", "us", 60_000.0)]).unwrap();
        assert!(desk.survey());
    }
}
