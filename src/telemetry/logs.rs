//! The log: lines on standard error, for people or as JSON.
//!
//! An event is one line, whatever was said in it by those who write to the API or send DNS: a drain's reason that held a line end could
//! otherwise pass for a line of the server's.

use std::fmt::{self, Debug, Write};
use std::io::IsTerminal;

use tracing::field::{Field, Visit};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FormatFields, SubscriberBuilder};

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
        LogFormat::Text => text(log, colour).try_init(),
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
    started.map_err(|error| LogError::Taken(error.to_string()))
}

/// Lines for people.
fn text<N, T, F, W>(log: SubscriberBuilder<N, Format<Full, T>, F, W>, colour: bool) -> SubscriberBuilder<OneLine, Format<Full, T>, F, W> {
    log.fmt_fields(OneLine).with_ansi(colour).with_target(false)
}

/// Writes an event's message and fields with every character escaped that could end its line, steer a terminal or turn the text around.
#[derive(Debug, Clone, Copy)]
struct OneLine;

impl<'w> FormatFields<'w> for OneLine {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line { writer, first: true, outcome: Ok(()) };
        fields.record(&mut line);
        line.outcome
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    first: bool,
    outcome: fmt::Result,
}

impl Line<'_> {
    fn write(&mut self, name: &str, value: &dyn Debug) -> fmt::Result {
        if !std::mem::take(&mut self.first) {
            self.writer.write_char(' ')?;
        }
        if name != "message" {
            let colour = self.writer.has_ansi_escapes();
            let (italic, dimmed, plain) = if colour { ("\x1b[3m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
            write!(self.writer, "{italic}{name}{plain}{dimmed}={plain}")?;
        }
        write!(Escaped(&mut self.writer), "{value:?}")
    }
}

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // What the crate `log` adds of itself is in the line already.
        if self.outcome.is_ok() && !field.name().starts_with("log.") {
            self.outcome = self.write(field.name(), value);
        }
    }
}

/// Escapes what must not reach the line as it is.
struct Escaped<'a, W>(&'a mut W);

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        while let Some((at, character)) = text.char_indices().find(|(_, character)| is_harmful(*character)) {
            write!(self.0, "{}{}", &text[..at], character.escape_default())?;
            text = &text[at + character.len_utf8()..];
        }
        self.0.write_str(text)
    }
}

/// Whether it ends lines (U+0085, U+2028 and U+2029 among others), steers terminals, or changes the direction of what stands around it.
fn is_harmful(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is written to the log.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(octets)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_is_said_in_it() {
        let said = "full\n2026 ERROR forged\r\u{1b}[31m\u{7}\u{b}\u{85}\u{2028}\u{2029}\u{202e} é";
        let escaped = r"full\n2026 ERROR forged\r\u{1b}[31m\u{7}\u{b}\u{85}\u{2028}\u{2029}\u{202e} é";
        let log = |colour: bool| {
            let written = Written::default();
            let to = written.clone();
            let log = text(tracing_subscriber::fmt().without_time().with_writer(move || to.clone()), colour).finish();
            tracing::subscriber::with_default(log, || {
                tracing::info!(note = %said, error = &std::io::Error::other(said) as &dyn std::error::Error, n = 1, "drained: {said}");
                tracing::info!(text = said, "and");
            });
            String::from_utf8(std::mem::take(&mut *written.0.lock().unwrap())).unwrap()
        };
        let first = format!(" INFO drained: {escaped} note={escaped} error={escaped} n=1");
        let lines = log(false);
        assert_eq!(lines.lines().next(), Some(first.as_str()));
        assert!(lines.ends_with('\n') && lines.lines().count() == 2 && !lines.contains(['\r', '\u{85}', '\u{2028}']), "{lines:?}");
        let coloured = log(true);
        assert!(coloured.contains(&format!("drained: {escaped} ")) && !coloured.contains("\u{1b}[31m"), "{coloured:?}");
        assert_eq!(coloured.lines().count(), 2);
    }

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
