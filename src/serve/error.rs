//! Why there is no server.

use crate::config::{ConfigError, Finding};
use crate::snapshot::ZoneError;
use crate::store::OpenError;
use crate::{api, config, control, server, telemetry};

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// `signpost.toml` or its variables.
    #[error("the configuration cannot be used\n{}", indented(.0))]
    Settings(#[from] ConfigError),
    /// Zone and geo files; one finding each.
    #[error("what the files say cannot be served\n{}", lines(.0))]
    World(Vec<Finding>),
    /// Zones that contradict what is registered, or each other.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// What is in the store cannot be served.
    #[error(transparent)]
    Control(control::StartError),
    /// DNS cannot be answered where it should be.
    #[error(transparent)]
    Listen(#[from] server::ListenError),
    /// The API cannot listen.
    #[error(transparent)]
    Api(#[from] api::ListenError),
    /// The log cannot be written as asked.
    #[error(transparent)]
    Log(#[from] telemetry::LogError),
    /// Files cannot be watched.
    #[error(transparent)]
    Watch(#[from] config::WatchError),
    /// The system gives no threads, signals or memory.
    #[error("{what}: {error}")]
    System {
        /// What was asked of it.
        what: &'static str,
        /// What it said.
        error: std::io::Error,
    },
}

impl ServeError {
    /// 78 where the configuration must be changed (`EX_CONFIG` of sysexits.h), else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            ServeError::Settings(_) | ServeError::World(_) | ServeError::Zone(_) | ServeError::Log(_) => 78,
            ServeError::Api(api::ListenError::Exposed(_)) => 78,
            ServeError::Listen(server::ListenError::Nowhere | server::ListenError::Certificate(_)) => 78,
            _ => 1,
        }
    }
}

impl From<control::StartError> for ServeError {
    fn from(error: control::StartError) -> ServeError {
        match error {
            control::StartError::Zone(error) => ServeError::Zone(error),
            error => ServeError::Control(error),
        }
    }
}

/// Findings as indented lines.
fn lines(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("  {finding}")).collect::<Vec<_>>().join("\n")
}

fn indented(error: &ConfigError) -> String {
    error.to_string().lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
