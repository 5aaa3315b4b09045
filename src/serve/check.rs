//! `signpost check`: everything that a start would read and compile, without serving it.

use std::path::Path;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::reload::about_certificate;
use super::{ServeError, keys, settings, simulate, steady_clock};
use crate::config::{self, ConfigError, Finding, Loaded};
use crate::control::{Control, UPDATES};
use crate::model::Settings;
use crate::registry::type_text;
use crate::server;
use crate::store::{Condition, Embedded, Engine, Item, MAX_OPERATIONS, OpenError, Operation, Store};

/// What came of a check.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    /// What stands in the way of serving.
    pub errors: Vec<Finding>,
    /// What deserves a second look.
    pub warnings: Vec<Finding>,
    /// What could not be looked at, and calls for nothing.
    pub notes: Vec<Finding>,
    /// Zones.
    pub zones: usize,
    /// Services that zone files define.
    pub services: usize,
    /// Instances that zone files declare.
    pub instances: usize,
    /// Names with a policy of their own.
    pub names: usize,
    /// Regions that `regions.toml` declares.
    pub regions: usize,
}

/// Reads the configuration, certificate, zones and geo data as a start would, compiles them with what updates changed, and simulates the loss of each
/// region while every instance is healthy; what is registered is not looked at.
pub fn check(config: Option<&Path>) -> Verdict {
    match settings(config) {
        Ok(settings) => {
            let mut verdict = check_world(&settings);
            let tls = &settings.dns.tls;
            match tls.is_on().then(|| server::check_certificate(tls)) {
                Some(Err(error)) => verdict.errors.push(about_certificate(tls, error.file(), error.reason())),
                Some(Ok(Some(end))) if SystemTime::UNIX_EPOCH + end <= SystemTime::now() => {
                    let end = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + end);
                    verdict.warnings.push(about_certificate(tls, None, format!("this certificate ran out on {end}")));
                }
                _ => {}
            }
            verdict
        }
        Err(error) => Verdict { errors: ConfigError::findings(error), ..Verdict::default() },
    }
}

fn check_world(settings: &Settings) -> Verdict {
    let Loaded { zones, geo, warnings, .. } = match config::world(settings) {
        Ok(loaded) => loaded,
        Err(errors) => return Verdict { errors, ..Verdict::default() },
    };
    let mut verdict = Verdict {
        errors: keys::check(settings.data_dir.join("keys"), &settings.dnssec, &zones),
        warnings,
        notes: Vec::new(),
        zones: zones.len(),
        services: zones.iter().map(|zone| zone.defined.len()).sum(),
        instances: zones.iter().flat_map(|zone| zone.defined.values()).map(|service| service.instances.len()).sum(),
        names: zones.iter().map(|zone| zone.names.len()).sum(),
        regions: geo.regions.as_ref().map_or(0, |regions| regions.len()),
    };
    let finding = |file: &str, reason: String| Finding { file: file.into(), line: None, field: String::new(), reason };
    let updates = Embedded::peek(&settings.data_dir, UPDATES).unwrap_or_else(|error| {
        let (found, reason) = match error {
            // As it should be while the server runs whose configuration this is.
            OpenError::InUse(store) => (
                &mut verdict.notes,
                format!("{store} is in use, by this configuration's server if that runs: what updates changed of zones is not looked at"),
            ),
            error => (&mut verdict.warnings, format!("what updates changed of zones is not looked at: {error}")),
        };
        found.push(finding(&settings.data_dir.display().to_string(), reason));
        Vec::new()
    });
    // The very start of a server, on a store that is gone afterwards: what compiles here compiles there.
    let started = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ServeError::System { what: "no threads can be started", error })
        .and_then(|runtime| {
            let engine = Engine::Embedded(Embedded::in_memory()?);
            let clock = steady_clock();
            runtime.block_on(async {
                for items in updates.chunks(MAX_OPERATIONS) {
                    let put =
                        |item: &Item| Operation::Put { key: item.key.clone(), value: item.value.clone(), condition: Condition::Absent };
                    engine.commit(items.iter().map(put).collect()).await.map_err(|error| ServeError::System {
                        what: "what updates changed cannot be looked at",
                        error: std::io::Error::other(error),
                    })?;
                }
                let control = Control::start(engine, zones, geo, settings.dns.clone(), settings.here.clone(), clock).await?;
                // Nobody was seen to ask: the clients are those whose place is known.
                let lost = simulate::warnings(&control, std::iter::empty(), || true);
                let changed = changed(&control);
                control.stop().await;
                Ok((lost, changed))
            })
        });
    match started {
        Ok((lost, changed)) => {
            verdict.warnings.extend(lost.into_iter().map(|warning| finding("simulate", warning)));
            verdict.warnings.extend(changed);
        }
        Err(ServeError::Zone(error)) => {
            verdict.errors.push(Finding { file: error.file, line: None, field: error.name, reason: error.reason });
        }
        Err(error) => verdict.errors.push(finding("signpost", error.to_string())),
    }
    verdict
}

/// What updates changed and files say otherwise.
fn changed(control: &Control) -> Vec<Finding> {
    let registry = control.registry();
    let mut found = Vec::new();
    for (apex, overlay) in &registry.overlays {
        let Some((zone, _)) = registry.zone(apex).filter(|_| !overlay.sets.is_empty()) else { continue };
        for (key, set) in &overlay.sets {
            let reason = match (set.fits, registry.is_stale(apex, key)) {
                (false, _) => "was changed by an update, which does not go with the file; the file's is answered",
                (true, true) => "was changed in the file after an update changed it; what the update said is answered",
                (true, false) => continue,
            };
            let field = format!("{} {}", key.0, type_text(key.1));
            found.push(Finding { file: zone.file.clone(), line: None, field, reason: reason.into() });
        }
    }
    found
}

impl Verdict {
    /// Whether it can be served.
    pub fn is_fine(&self) -> bool {
        self.errors.is_empty()
    }

    /// One line for each finding, `FILE:LINE: FIELD: REASON` as compilers say it, and a last line that sums up.
    pub fn text(&self) -> String {
        // As an editor goes through them: by file and line, whatever they are.
        let place = |finding: &Finding| (finding.file.clone(), finding.line, finding.field.clone());
        let errors = self.errors.iter().map(|finding| (place(finding), finding.to_string()));
        let warnings = self.warnings.iter().map(|finding| (place(finding), called("warning", finding).to_string()));
        let notes = self.notes.iter().map(|finding| (place(finding), called("note", finding).to_string()));
        let mut lines: Vec<_> = errors.chain(warnings).chain(notes).collect();
        lines.sort();
        let mut text: String = lines.into_iter().map(|(_, line)| line + "\n").collect();
        let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        match self.is_fine() {
            true => {
                let counts = [
                    count(self.zones, "zone"),
                    count(self.services, "service"),
                    count(self.instances, "instance"),
                    count(self.names, "name") + " with a policy",
                    count(self.regions, "region"),
                ];
                text += &format!("fine: {}", counts.join(", "));
            }
            false => text += &format!("cannot be served: {}", count(self.errors.len(), "error")),
        }
        if !self.warnings.is_empty() {
            text += &format!("; {}", count(self.warnings.len(), "warning"));
        }
        text + "\n"
    }

    /// The same for programs.
    pub fn document(&self) -> Value {
        let findings = |findings: &[Finding]| -> Vec<Value> {
            findings.iter().map(|f| json!({ "file": f.file, "line": f.line, "field": f.field, "reason": f.reason })).collect()
        };
        json!({
            "fine": self.is_fine(), "errors": findings(&self.errors), "warnings": findings(&self.warnings),
            "notes": findings(&self.notes), "zones": self.zones, "services": self.services, "instances": self.instances, "names": self.names, "regions": self.regions,
        })
    }
}

/// A finding whose reason says that it is no more than that.
fn called(what: &str, finding: &Finding) -> Finding {
    Finding { reason: format!("{what}: {}", finding.reason), ..finding.clone() }
}
