//! Reading again while it runs: all files, or one zone that was copied.
//!
//! ```text
//!   SIGHUP, files ─▶ settings, certificate ─▶ config::Reread ─▶ keys ─▶ serials ─▶ control ─▶ everybody else learns of the settings
//!        ▲                                        ▲    └─ a zone that does not compile: read from what was good ─┘
//!        └── it changes more than itself ── a copy ─▶ config::copy ─▶ serials ─▶ control, that zone alone
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::secondaries::Wish;
use super::{Read, Running, ServeError, blocking, catalogs, settings, simulate};
use crate::api::RefusedFiles;
use crate::codec::code::rtype;
use crate::config::{self, Copied, Finding, Kept, Reread};
use crate::model::{DnsSettings, Name, Settings, TlsSettings, Zone, kept_file};
use crate::server::CertificateError;

/// Lines of a refusal that its event tells; the log and the status have more.
const FINDINGS_TOLD: usize = 5;

/// Warnings of one reading that the log has.
const WARNINGS_LOGGED: usize = 50;

/// What a reload took.
struct Taken {
    settings: Settings,
    read: Read,
    /// Why some zone files were not taken.
    refused: Vec<Finding>,
    kept: Vec<Kept>,
}

impl Running {
    /// Reads the configuration, certificate, zones and geo data again, and takes them. A certificate that cannot be used leaves the one in
    /// force, and stands in nobody's way, nor does anything else stand in that of a new one. A zone, or geo data, whose files are broken stays as it was last good,
    /// and a zone is left out where it never was, while the others take effect; where anything else is wrong, everything stays as it was. Log, status and
    /// events say why. Returns whether all of it was taken.
    pub async fn reload(&mut self, reason: &str) -> bool {
        tracing::info!("{reason}: reading configuration, zones and geo data again");
        let (settings, certificate) = self.read_settings().await;
        let mut waits = Vec::new();
        let read = match settings {
            Ok(settings) => {
                waits = restart_needed(&self.started_with, &settings);
                // What lies there is in use until the next start, whatever is to be used then.
                self.read_again(Settings { data_dir: self.started_with.data_dir.clone(), ..settings }).await
            }
            Err(error) => Err(error),
        };
        match read {
            Ok(mut taken) => {
                taken.refused.extend(certificate);
                for gone in self.read.apexes.difference(&taken.read.apexes) {
                    tracing::warn!("zone {gone} is no longer served: no file and no catalog has it any more");
                }
                self.read = taken.read;
                self.updates.reload(&taken.settings);
                self.secondaries.reload(&taken.settings);
                self.drills.define(&taken.settings.drills, &self.clock);
                self.transfers.define(&taken.settings);
                for key in waits {
                    tracing::warn!("{key} is not as it was at the start: it takes effect at the next one");
                }
                self.settings = taken.settings;
                simulate::warn(&self.control, self.clients.clone(), self.ready.subscribe());
                self.keep_last();
                let all = self.tell_kept(&taken.refused, &taken.kept);
                if all {
                    self.refused.send_replace(None);
                    tracing::info!("the new configuration, zones and geo data are in force");
                }
                all
            }
            Err(error) => {
                // One line for each finding, with its file and line.
                let lines = error.to_string();
                let lines = lines.lines().map(|line| line.trim_start().to_string());
                self.tell_refused(lines.chain(certificate.map(|finding| finding.to_string())).collect());
                tracing::error!("nothing was changed: what was in force stays in force");
                false
            }
        }
    }

    /// Tells what files were not taken, and what stands in for them; whether there are none.
    pub(super) fn tell_kept(&self, refused: &[Finding], kept: &[Kept]) -> bool {
        if refused.is_empty() && kept.is_empty() {
            return true;
        }
        self.tell_refused(refused.iter().map(Finding::to_string).collect());
        for Kept { file, serves } in kept {
            match serves {
                true => tracing::error!("{file}: in force as it was last good"),
                false => tracing::error!("{file}: the zone is not served"),
            }
        }
        tracing::warn!("all other files are in force as they are now");
        false
    }

    /// Has what is in force written down, behind everything else.
    pub(super) fn keep_last(&self) {
        let (last, sources, settings) = (self.last.clone(), self.read.sources.clone(), self.settings.clone());
        tokio::task::spawn_blocking(move || last.keep(sources, settings));
    }

    /// Tells the log, the status, the metrics and whoever listens to events what files were not taken.
    fn tell_refused(&self, findings: Vec<String>) {
        for line in &findings {
            tracing::error!("{line}");
        }
        let more = match findings.len().saturating_sub(FINDINGS_TOLD) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let told: Vec<&str> = findings.iter().take(FINDINGS_TOLD).map(String::as_str).collect();
        let why = format!("{}{more}", told.join("; "));
        self.refused.send_replace(Some(Arc::new(RefusedFiles { at: (self.clock)(), findings })));
        self.control.refused_files(&why);
    }

    /// Reads the settings, and the certificate that they name, or that of the settings in force where those read cannot be used. The
    /// finding says why the certificate in force stays as it is.
    async fn read_settings(&self) -> (Result<Settings, ServeError>, Option<Finding>) {
        let read = match self.settings.file.clone() {
            Some(file) => blocking(move || settings(Some(&file))).await.and_then(|read| Ok(read?)),
            None => Ok(self.settings.clone()),
        };
        let tls = read.as_ref().map_or(&self.settings, |settings| settings).dns.tls.clone();
        let server = self.server.clone();
        let about = |tls: &TlsSettings, error: CertificateError| about_certificate(tls, error.file(), error.reason());
        let renewed = blocking(move || server.renew_certificate(&tls).err().map(|error| about(&tls, error))).await;
        match (read, renewed) {
            (read, Ok(finding)) => (read, finding),
            (read, Err(error)) => (read.and(Err(error)), None),
        }
    }

    async fn read_again(&self, settings: Settings) -> Result<Taken, ServeError> {
        // Before anything is taken: what is in force stays whole.
        self.http.check(&settings.api)?;
        let mut reread = Reread::new(settings.clone(), self.read.sources.clone());
        let (apexes, loaded) = loop {
            let (read, again) = blocking(move || (reread.world(), reread)).await?;
            let mut loaded = read.map_err(ServeError::World)?;
            reread = again;
            let apexes = loaded.zones.iter().map(|zone| zone.apex.clone()).collect();
            let (zones, geo) = (std::mem::take(&mut loaded.zones), std::mem::take(&mut loaded.geo));
            // Keys that are lost or broken change nothing: zones stay signed with those in memory.
            let (mut zones, prepared) = self.keys.prepare(&settings.dnssec, zones).await?;
            catalogs::add(&mut zones, &settings);
            // What the connections do is what clients are told of them (RFC 7828 §3.3.2), until the next start.
            let dns = DnsSettings { tcp_idle_ms: self.started_with.dns.tcp_idle_ms, ..settings.dns.clone() };
            let load = async |zones: Vec<Zone>| self.control.load(zones, geo, dns).await;
            let Err(error) = self.transfers.load(zones, &settings, load).await else {
                self.keys.settle(prepared, &self.control).await;
                break (apexes, loaded);
            };
            drop(prepared);
            // What only compiling finds is the zone's own as well.
            let finding = Finding { file: error.file.clone(), line: None, field: error.name.clone(), reason: error.reason.clone() };
            let (possible, again) = blocking(move || (reread.refuse(finding), reread)).await?;
            if !possible {
                return Err(error.into());
            }
            reread = again;
        };
        log_warnings(&loaded.warnings);
        self.forward.set(&settings.forward);
        self.control.set_safety(settings.safety).await;
        self.http.reload(&settings.api)?;
        let read = Read { apexes, sources: loaded.sources, led: loaded.led };
        Ok(Taken { settings, read, refused: loaded.refused, kept: loaded.kept })
    }

    /// Takes zones that were copied: each alone where nothing but itself changes with it, else all files are read again.
    pub(super) async fn take_copies(&mut self, wishes: Vec<Wish>) {
        let mut together = Vec::new();
        for wish in wishes {
            match !wish.catalog && self.take_copy(&wish.apex).await {
                true => wish.grant(),
                false => together.push(wish),
            }
        }
        if !together.is_empty() {
            self.reload("a zone was copied").await;
            together.into_iter().for_each(Wish::grant);
        }
    }

    /// Takes one zone that was copied; whether it could be taken alone, and was.
    async fn take_copy(&mut self, apex: &Name) -> bool {
        // A catalog that is made here may list it from now on.
        let is_listed = !self.settings.catalogs.is_empty() && !self.read.apexes.contains(apex);
        if is_listed || !self.stands_alone(apex) {
            return false;
        }
        let (settings, of) = (self.settings.clone(), apex.clone());
        // What is wrong with it, the reload says.
        let Ok(Ok(Some(Copied { zone, source }))) = blocking(move || config::copy(&settings, &of)).await else { return false };
        if !zone.names.is_empty() {
            return false;
        }
        let put = async |mut zones: Vec<Zone>| match zones.pop() {
            Some(zone) => self.control.put_zone(zone).await,
            None => Ok(()),
        };
        if self.transfers.load(vec![zone], &self.settings, put).await.is_err() {
            return false;
        }
        self.read.sources.take(source);
        if self.read.apexes.insert(apex.clone()) {
            self.keys.serve(apex.clone());
        }
        true
    }

    /// Whether nothing but a zone itself changes with its copy.
    fn stands_alone(&self, apex: &Name) -> bool {
        let Read { apexes, led, .. } = &self.read;
        // What one zone says of another is checked where one stands below the other.
        let above = std::iter::successors(apex.parent(), Name::parent).any(|above| apexes.contains(&above));
        let below = || apexes.iter().any(|other| other != apex && other.is_within(apex));
        let is_signed = self.settings.dnssec.signs(apex) || self.keys.holds(apex);
        // What was refused may be mended by it.
        let all_in_force = self.refused.borrow().is_none();
        all_in_force && !is_signed && !led.contains(apex) && !above && !below() && self.is_copied(apex)
    }

    /// Whether a zone is one that is to be copied, as things are now, and no file stands in for it.
    fn is_copied(&self, apex: &Name) -> bool {
        let registry = self.control.registry();
        let kept = kept_file(&self.settings.data_dir, apex).display().to_string();
        if registry.zone(apex).is_some_and(|(zone, _)| zone.file != kept) {
            return false;
        }
        let lists = |catalog: &Name| {
            let records = registry.zone(catalog).into_iter().flat_map(|(zone, _)| &zone.records);
            let mut members = records.filter(|((_, rtype), _)| *rtype == rtype::PTR).flat_map(|(_, set)| &set.rdata);
            members.any(|data| data.eq_ignore_ascii_case(apex.wire()))
        };
        let mut catalogs = self.settings.secondary.iter().filter(|(_, settings)| settings.catalog);
        self.settings.secondary.contains_key(apex) || catalogs.any(|(catalog, _)| lists(catalog))
    }
}

/// Warnings for the log, while they are not too many: they come again at each reload.
pub(super) fn log_warnings(warnings: &[Finding]) {
    for warning in warnings.iter().take(WARNINGS_LOGGED) {
        tracing::warn!("{warning}");
    }
    if let Some(more) = warnings.len().checked_sub(WARNINGS_LOGGED).filter(|more| *more > 0) {
        tracing::warn!("and {more} more warnings, which `signpost check` lists");
    }
}

/// What is wrong with a certificate or another file of it, as a finding.
pub(super) fn about_certificate(settings: &TlsSettings, file: Option<&Path>, reason: String) -> Finding {
    let file = file.or(settings.certificate.as_deref()).map_or("dns.tls.certificate".into(), |file| file.display().to_string());
    Finding { file, line: None, field: String::new(), reason }
}

/// The folders and files that are watched, and may be others after a reload.
pub(super) fn watched(settings: &Settings) -> Vec<PathBuf> {
    [&settings.zones_dir, &settings.geo_dir].into_iter().chain(settings.dns.tls.files()).cloned().collect()
}

/// Keys whose new values wait for the next start.
fn restart_needed(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let (dns, was) = (&new.dns, &old.dns);
    [
        ("data_dir", new.data_dir != old.data_dir),
        ("dns.listen", dns.listen != was.listen),
        ("dns.workers", dns.workers != was.workers),
        ("the addresses and the path of [dns.tls]", {
            let listeners = |s: &DnsSettings| (s.tls.dot.clone(), s.tls.doh.clone(), s.tls.doh_path.clone(), s.tls.doq.clone());
            listeners(dns) != listeners(was)
        }),
        ("dns.rate_limit.table_size", dns.rate_limit.table_size != was.rate_limit.table_size),
        ("the limits of connections of [dns]", {
            let limits = |s: &DnsSettings| (s.tcp_connections, s.tcp_per_client, s.tcp_idle_ms);
            limits(dns) != limits(was)
        }),
        ("api.listen", new.api.listen != old.api.listen),
        ("api.audit", new.api.audit != old.api.audit),
        ("here", new.here != old.here),
        ("probe", new.probe != old.probe),
        ("log", new.log != old.log),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}
