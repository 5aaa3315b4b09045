//! The log: lines on standard error, for people or as JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::model::LogFormat;

/// The environment variable that wins over `[log] level`.
const VARIABLE: &str = "SIGNPOST_LOG";

/// Why the log cannot be written as asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is neither a level nor directives.
    #[error(
        "{source_name} {level:?} is neither error, warn, info, debug or trace, nor directives such as info,signpost::probe=debug: {reason}"
    )]
    Level {
        /// `[log] level` or `SIGNPOST_LOG`.
        source_name: &'static str,
        /// What it says.
        level: String,
        /// What is wrong.
        reason: String,
    },
    /// Something else in this process takes the log already.
    #[error("the log of this process is taken already: {0}")]
    Taken(String),
}

/// Starts the log. `SIGNPOST_LOG` wins over `level`; both may be a level or directives such as `info,signpost::probe=debug`.
///
/// Text is coloured on a terminal unless `NO_COLOR` is set (no-color.org).
pub fn init(format: LogFormat, level: &str) -> Result<(), LogError> {
    let variable = std::env::var(VARIABLE).ok().filter(|text| !text.trim().is_empty());
    let filter = match &variable {
        Some(text) => filter(VARIABLE, text)?,
        None => filter("[log] level", level)?,
    };
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => log.with_ansi(colour).with_target(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
    started.map_err(|error| LogError::Taken(error.to_string()))
}

/// Reads a level. A word that is no level would otherwise be taken for a module's name, and silence everything else.
fn filter(source_name: &'static str, level: &str) -> Result<EnvFilter, LogError> {
    let wrong = |reason: String| LogError::Level { source_name, level: level.into(), reason };
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let bare = |word: &&str| !word.contains(['=', ':', '[']) && !LEVELS.contains(&word.to_ascii_lowercase().as_str());
    if let Some(word) = level.split(',').map(str::trim).find(bare) {
        return Err(wrong(format!("{word:?} is no level")));
    }
    // What `notify` says is of folders that went away, and nobody's to act on; who wants it asks for it by name.
    EnvFilter::try_new(format!("notify=off,{level}")).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_told_from_slips() {
        for level in ["info", "WARN", "off", "info,signpost::probe=debug", "signpost=trace,hyper=error"] {
            assert!(filter("x", level).is_ok(), "{level}");
        }
        for level in ["verbose", "", "info,loud", "signpost=loud"] {
            let error = filter("[log] level", level).unwrap_err().to_string();
            assert!(error.contains("[log] level") && error.contains("such as info,signpost::probe=debug"), "{level}: {error}");
        }
    }
}
