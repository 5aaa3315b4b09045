//! What is wrong, and where.

use std::fmt;
use std::path::PathBuf;

/// Something in a file (or in the environment) that cannot stand, or that deserves a second look.
///
/// Shown as `zones/svc.example.toml:12: services.web.policy: unknown value …`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file as the settings name it; `environment` for a variable.
    pub file: String,
    /// The line, from 1; `None` where the finding is about the whole file.
    pub line: Option<usize>,
    /// The key's path, such as `services.web.ports.http`, or the owner name in a master file; may be empty.
    pub field: String,
    /// What is wrong and what was expected.
    pub reason: String,
}

impl Finding {
    /// A finding about a file as a whole.
    pub(super) fn of_file(file: impl Into<String>, reason: impl Into<String>) -> Finding {
        Finding { file: file.into(), line: None, field: String::new(), reason: reason.into() }
    }
}

/// Octets of a field or a reason. What they quote may be a word of megabytes, where somebody named the wrong file.
const LONGEST: usize = 2000;

/// Cuts a text that is longer than anybody reads.
fn shorten(text: &mut String) {
    let octets = text.len();
    if octets > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push_str(&format!("… ({octets} octets)"));
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It was read, and cannot stand. One line each.
    #[error("{}", lines(.0))]
    Wrong(Vec<Finding>),
}

impl ConfigError {
    /// The findings, one for each thing that is wrong.
    pub fn findings(self) -> Vec<Finding> {
        match self {
            ConfigError::Unreadable { path, source } => vec![Finding::of_file(path.display().to_string(), source.to_string())],
            ConfigError::Wrong(findings) => findings,
        }
    }
}

/// Findings as lines of text.
fn lines(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    lines.join("\n")
}

/// What a reading brings to light: findings stand in the way of serving, warnings do not.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub findings: Vec<Finding>,
    pub warnings: Vec<Finding>,
}

impl Notes {
    /// By file and line, each once, and none longer than anybody reads.
    pub fn put_in_order(&mut self) {
        for finding in self.findings.iter_mut().chain(&mut self.warnings) {
            shorten(&mut finding.field);
            shorten(&mut finding.reason);
        }
        self.findings.sort();
        self.findings.dedup();
        self.warnings.sort();
    }
}
