//! A TOML file with its lines: every value read from it can say where it stands, and one wrong value does not hide the next.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::finding::Finding;
use super::suggest;

/// A parsed file.
pub(super) struct Document<'t> {
    /// The file as people know it.
    pub file: String,
    root: Spanned<DeValue<'t>>,
    /// Offset at which each line begins.
    starts: Vec<usize>,
}

/// A value in a [`Document`].
#[derive(Clone)]
pub(super) struct Item<'d> {
    document: &'d Document<'d>,
    /// The path of keys from the file's top level.
    path: String,
    /// Offset of the key, or of the value itself where it has none.
    offset: usize,
    value: &'d Spanned<DeValue<'d>>,
}

/// A place in a file: the line and the path of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Spot {
    pub line: Option<usize>,
    pub field: String,
    /// Where it is not the file that is asked for: one that a master file includes.
    pub file: Option<Arc<str>>,
}

impl Spot {
    /// What is wrong there.
    pub fn finding(&self, file: &str, reason: impl Into<String>) -> Finding {
        let file = self.file.as_deref().unwrap_or(file).into();
        Finding { file, line: self.line, field: self.field.clone(), reason: reason.into() }
    }
}

/// Where the parts of a value stand, for findings that come once the text is gone.
#[derive(Debug, Clone, Default)]
pub(super) struct Outline {
    own: Spot,
    /// By the path within the value.
    lines: BTreeMap<String, usize>,
    /// It has no parts of its own.
    whole: bool,
}

impl Outline {
    /// Of a value that was written in one piece: all that is said of it is said of that place.
    pub fn at(own: Spot) -> Outline {
        Outline { own, lines: BTreeMap::new(), whole: true }
    }

    /// Whether there is a value at `path`.
    pub fn holds(&self, path: &str) -> bool {
        self.lines.contains_key(path)
    }

    /// Where the value at `path` within it stands, or would stand; an empty path: the value itself.
    pub fn spot(&self, path: &str) -> Spot {
        if self.whole {
            return self.own.clone();
        }
        let mut known = path;
        let line = loop {
            match (self.lines.get(known), known.rfind(['.', '['])) {
                (Some(line), _) => break Some(*line),
                (None, Some(cut)) => known = &known[..cut],
                (None, None) => break self.own.line,
            }
        };
        Spot { line, field: joined(&self.own.field, path), file: self.own.file.clone() }
    }
}

/// A step from a value to one within it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl<'t> Document<'t> {
    /// Parses a file; all syntax errors, at most one per line.
    pub fn parse(file: &str, text: &'t str) -> Result<Document<'t>, Vec<Finding>> {
        let starts: Vec<usize> = std::iter::once(0).chain(text.match_indices('\n').map(|(n, _)| n + 1)).collect();
        let (root, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let mut findings: Vec<Finding> = Vec::new();
            for error in errors {
                let line = error.span().map(|span| line_of(&starts, span.start));
                if !findings.iter().any(|f| f.line == line) {
                    findings.push(Finding {
                        file: file.into(),
                        line,
                        field: String::new(),
                        reason: syntax(error.message(), text, error.span()),
                    });
                }
            }
            return Err(findings);
        }
        let span = root.span();
        Ok(Document { file: file.into(), root: Spanned::new(span, DeValue::Table(root.into_inner())), starts })
    }

    /// The file's top level.
    pub fn root(&self) -> Item<'_> {
        Item { document: self, path: String::new(), offset: 0, value: &self.root }
    }

    fn line(&self, offset: usize) -> usize {
        line_of(&self.starts, offset)
    }
}

fn line_of(starts: &[usize], offset: usize) -> usize {
    starts.partition_point(|start| *start <= offset).max(1)
}

impl<'d> Item<'d> {
    /// The value itself.
    pub fn value(&self) -> &'d DeValue<'d> {
        self.value.get_ref()
    }

    /// Its keys and values in the order of the file; `None` if it is no table.
    pub fn entries(&self) -> Option<Vec<(&'d str, Item<'d>)>> {
        let table = self.value().as_table()?;
        let mut entries: Vec<_> = table.iter().map(|(key, value)| (&**key.get_ref(), self.under(key, value))).collect();
        entries.sort_by_key(|(_, item)| item.offset);
        Some(entries)
    }

    /// Its elements; `None` if it is no array.
    pub fn elements(&self) -> Option<Vec<Item<'d>>> {
        let array = self.value().as_array()?;
        Some(array.iter().enumerate().map(|(n, value)| self.element(n, value)).collect())
    }

    /// The value of one key.
    pub fn get(&self, wanted: &str) -> Option<Item<'d>> {
        let (key, value) = self.value().as_table()?.iter().find(|(key, _)| key.get_ref() == wanted)?;
        Some(self.under(key, value))
    }

    fn under(&self, key: &Spanned<Cow<'d, str>>, value: &'d Spanned<DeValue<'d>>) -> Item<'d> {
        let mut path = self.path.clone();
        push_key(&mut path, key.get_ref());
        Item { document: self.document, path, offset: key.span().start, value }
    }

    fn element(&self, index: usize, value: &'d Spanned<DeValue<'d>>) -> Item<'d> {
        Item { document: self.document, path: format!("{}[{index}]", self.path), offset: value.span().start, value }
    }

    /// The value at `path` within it, or the deepest on the way there that exists. The path is written as in [`Finding::field`].
    fn toward(&self, path: &str) -> Item<'d> {
        let mut item = self.clone();
        for step in path.split(['.', '[']).filter(|s| !s.is_empty()) {
            let next = match step.strip_suffix(']').and_then(|n| n.parse::<usize>().ok()) {
                Some(index) => item.value().as_array().and_then(|all| all.get(index)).map(|value| item.element(index, value)),
                None => item.get(step),
            };
            match next {
                Some(next) => item = next,
                None => break,
            }
        }
        item
    }

    /// Where the value at `path` within it stands, or would stand.
    pub fn spot(&self, path: &str) -> Spot {
        Spot { line: Some(self.document.line(self.toward(path).offset)), field: joined(&self.path, path), file: None }
    }

    /// Where it and all within it stand, but for the keys in `without`.
    pub fn outline(&self, without: &[&str]) -> Outline {
        fn note(item: &Item<'_>, from: usize, lines: &mut BTreeMap<String, usize>) {
            for (_, inner) in item.entries().into_iter().flatten() {
                note(&inner, from, lines);
            }
            for inner in item.elements().into_iter().flatten() {
                note(&inner, from, lines);
            }
            let path = item.path.get(from..).unwrap_or_default();
            lines.insert(path.strip_prefix('.').unwrap_or(path).into(), item.document.line(item.offset));
        }
        let mut lines = BTreeMap::new();
        for (_, inner) in self.entries().into_iter().flatten().filter(|(key, _)| !without.contains(key)) {
            note(&inner, self.path.len(), &mut lines);
        }
        Outline { own: self.spot(""), lines, whole: false }
    }

    /// What is wrong with the value at `path` within it; an empty path: with itself.
    pub fn finding(&self, path: &str, reason: impl Into<String>) -> Finding {
        self.spot(path).finding(&self.document.file, reason)
    }

    /// A finding about each key that is not among `known`.
    pub fn only_keys(&self, known: &[&str], findings: &mut Vec<Finding>) {
        match self.entries() {
            None => findings.push(self.finding("", "a table is expected here")),
            Some(entries) => {
                for (key, item) in entries.iter().filter(|(key, _)| !known.contains(key)) {
                    findings.push(item.finding("", format!("unknown key; {}", suggest::instead_of(key, known.iter().copied()))));
                }
            }
        }
    }

    /// Reads the value as a `T`, without the keys in `without`. Each wrong value becomes a finding, is taken out, and the rest read again.
    pub fn read<T: DeserializeOwned>(&self, without: &[&str], findings: &mut Vec<Finding>) -> Option<T> {
        let mut value = self.value.clone();
        for key in without {
            remove(&mut value, &[Step::Key((*key).into())]);
        }
        let mut taken_out: Vec<Vec<Step>> = Vec::new();
        loop {
            let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
                Ok(read) => return taken_out.is_empty().then_some(read),
                Err(error) => error,
            };
            // Taking elements out moves those behind them: where it stands is read from the file, what to take out from the rest.
            let steps = error.span().and_then(|span| locate(self.value, &span)).unwrap_or_default();
            let remaining = error.span().and_then(|span| locate(&value, &span)).unwrap_or_default();
            let missing = quoted_after(error.message(), "missing field `");
            // What was taken out is missed, and makes what held it wrong: both were said already.
            let consequence = taken_out.iter().any(|taken| match missing {
                Some(field) => matches!(taken.split_last(), Some((Step::Key(key), outer)) if key == field && outer == steps),
                None => taken.len() > steps.len() && taken.starts_with(&steps),
            });
            if !consequence {
                let offset = error.span().map_or(self.offset, |span| span.start);
                // The table itself begins where its key stands, not where its header's bracket does.
                let line = self.document.line(if steps.is_empty() { self.offset } else { offset });
                let reason = match (missing, error.message()) {
                    (Some(field), _) => format!("`{field}` is missing"),
                    // Networks and addresses are refused with the same words.
                    (None, "invalid IP address syntax") => {
                        match steps.iter().any(|step| matches!(step, Step::Key(key) if key == "cidrs")) {
                            true => "a network such as 192.0.2.0/24 or 2001:db8::/32 is expected".into(),
                            false => "an IPv4 or IPv6 address is expected, such as 192.0.2.1 or 2001:db8::1".into(),
                        }
                    }
                    (None, message) => plain(message),
                };
                findings.push(self.finding_at(&steps, line, reason));
            }
            if remaining.is_empty() || !remove(&mut value, &remaining) {
                return None;
            }
            taken_out.push(steps);
        }
    }

    fn finding_at(&self, steps: &[Step], line: usize, reason: String) -> Finding {
        let mut field = self.path.clone();
        for step in steps {
            match step {
                Step::Index(index) => field.push_str(&format!("[{index}]")),
                Step::Key(key) => push_key(&mut field, key),
            }
        }
        Finding { file: self.document.file.clone(), line: Some(line), field, reason }
    }
}

/// The path of a value within another.
fn joined(outer: &str, path: &str) -> String {
    match (outer.is_empty(), path.is_empty()) {
        (_, true) => outer.to_string(),
        (true, _) => path.to_string(),
        (false, false) if path.starts_with('[') => format!("{outer}{path}"),
        (false, false) => format!("{outer}.{path}"),
    }
}

/// `path` and one more key: `services.web`; a key that holds a dot is put in quotes.
fn push_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    match key.is_empty() || key.contains(['.', ' ']) {
        true => path.push_str(&format!("{key:?}")),
        false => path.push_str(key),
    }
}

/// The steps to the smallest key or value within `root` that covers `span`; none where that is `root` itself.
fn locate(root: &Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<Vec<Step>> {
    fn walk(value: &Spanned<DeValue<'_>>, span: &Range<usize>, steps: &mut Vec<Step>, best: &mut Option<(usize, Vec<Step>)>) {
        let mut into = |step: Step, spans: [Option<Range<usize>>; 2], value: &Spanned<DeValue<'_>>| {
            steps.push(step);
            for own in spans.into_iter().flatten() {
                let covers = own.start <= span.start && span.end <= own.end;
                if covers && best.as_ref().is_none_or(|(length, _)| own.len() <= *length) {
                    *best = Some((own.len(), steps.clone()));
                }
            }
            walk(value, span, steps, best);
            steps.pop();
        };
        match value.get_ref() {
            DeValue::Table(table) => {
                for (key, value) in table.iter() {
                    into(Step::Key(key.get_ref().to_string()), [Some(key.span()), Some(value.span())], value);
                }
            }
            DeValue::Array(array) => {
                for (n, value) in array.iter().enumerate() {
                    into(Step::Index(n), [None, Some(value.span())], value);
                }
            }
            _ => {}
        }
    }
    let mut best = None;
    walk(root, span, &mut Vec::new(), &mut best);
    best.map(|(_, steps)| steps)
}

/// Takes the value at `steps` out of `value`; whether it was there.
fn remove(value: &mut Spanned<DeValue<'_>>, steps: &[Step]) -> bool {
    let Some((step, rest)) = steps.split_first() else { return false };
    match (value.get_mut(), step) {
        (DeValue::Table(table), Step::Key(wanted)) => {
            let Some(key) = table.keys().find(|key| key.get_ref() == wanted).cloned() else { return false };
            match (rest.is_empty(), table.get_mut(&key)) {
                (true, _) => table.remove(&key).is_some(),
                (false, Some(inner)) => remove(inner, rest),
                (false, None) => false,
            }
        }
        (DeValue::Array(array), Step::Index(index)) if *index < array.len() => match rest.is_empty() {
            true => {
                *array = array.iter().enumerate().filter(|(n, _)| n != index).map(|(_, element)| element.clone()).collect();
                true
            }
            false => array.get_mut(*index).is_some_and(|inner| remove(inner, rest)),
        },
        _ => false,
    }
}

/// The text between `start` and the next backtick.
fn quoted_after<'m>(message: &'m str, start: &str) -> Option<&'m str> {
    message.strip_prefix(start)?.split('`').next()
}

/// serde's message in plain words.
/// A syntax error as somebody can act on it: a text without quotes and a key that stands twice are the usual ones, and the parser says of
/// the first that it is a wrong number or truth.
fn syntax(message: &str, text: &str, span: Option<Range<usize>>) -> String {
    let at = span.as_ref().and_then(|span| text.get(span.start..)).unwrap_or_default();
    let of = |part: fn(char) -> bool| at[..at.find(|c| !part(c)).unwrap_or(at.len())].to_owned();
    if message == "duplicate key" {
        let key = of(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '"' | '\''));
        return if key.is_empty() { message.into() } else { format!("{key} stands twice") };
    }
    let word = of(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':'));
    // A secret without quotes is shown to nobody.
    let line = span.as_ref().and_then(|span| text.get(..span.start)).and_then(|before| before.rsplit('\n').next()).unwrap_or_default();
    if line.contains("secret") {
        return message.into();
    }
    let bare = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && message.starts_with("invalid ");
    if bare { format!("{message}; a text stands in quotes: \"{word}\"") } else { message.into() }
}

fn plain(message: &str) -> String {
    for (start, what) in [("unknown field `", "unknown key"), ("unknown variant `", "unknown value")] {
        if let Some(word) = quoted_after(message, start) {
            let known: Vec<&str> = message[start.len() + word.len() + 1..].split('`').skip(1).step_by(2).collect();
            let shown = if what == "unknown value" { format!("{what} {word:?}") } else { what.to_string() };
            return format!("{shown}; {}", suggest::instead_of(word, known));
        }
    }
    if let Some((found, expected)) = message.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected ")) {
        let expected = match expected {
            "u8" => "a whole number from 0 to 255",
            "u16" => "a whole number from 0 to 65535",
            "u32" => "a whole number from 0 to 4294967295",
            "u64" | "usize" => "a whole number from 0",
            "i64" => "a whole number",
            "f64" => "a number",
            "a string" => "a text in quotes",
            "a boolean" => "true or false",
            "a sequence" => "a list",
            "a map" => "a table",
            "IP address" => "an IPv4 or IPv6 address in quotes",
            other if other.starts_with("struct ") => "a table",
            other => other,
        };
        return format!("{expected} is expected, not {}", found.replace("string ", "the text ").replace("map", "a table"));
    }
    if let Some((found, expected)) = message.strip_prefix("invalid value: ").and_then(|rest| rest.rsplit_once(", expected ")) {
        let expected = match expected {
            "u8" => "0 to 255",
            "u16" => "0 to 65535",
            "u32" => "0 to 4294967295",
            "u64" | "usize" => "0 or more",
            other => other,
        };
        return format!("{expected} is expected, not {found}");
    }
    message.trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Thing {
        #[allow(dead_code)]
        name: String,
        #[allow(dead_code)]
        size: Option<u16>,
        #[allow(dead_code)]
        when: Option<crate::model::Period>,
        #[allow(dead_code)]
        checks: Option<Vec<crate::model::Check>>,
    }

    #[test]
    fn every_wrong_value_is_found_where_it_stands() {
        let text = "\n[a.thing]\nname = 1\nsize = 70000\nwhen = \"soon\"\ncolour = true\nchecks = [{ tcp = true }, { htpp = \"/\" }]\n";
        let document = Document::parse("x.toml", text).unwrap();
        let mut findings = Vec::new();
        let thing: Option<Thing> = document.root().toward("a.thing").read(&[], &mut findings);
        assert!(thing.is_none());
        findings.sort();
        let said: Vec<String> = findings.iter().map(Finding::to_string).collect();
        assert_eq!(
            said,
            [
                "x.toml:3: a.thing.name: a text in quotes is expected, not integer `1`",
                "x.toml:4: a.thing.size: 0 to 65535 is expected, not integer `70000`",
                "x.toml:5: a.thing.when: \"soon\" is no length of time; write it as 200ms, 5s, 10m or 4h",
                "x.toml:6: a.thing.colour: unknown key; known are name, size, when, checks",
                "x.toml:7: a.thing.checks[1].htpp: unknown key; did you mean `http`?",
            ]
        );
    }

    #[test]
    fn syntax_errors_have_lines_and_hide_nothing_else() {
        let findings = Document::parse("x.toml", "a = 1\nb = \nc = [\n").err().unwrap();
        assert!(findings.iter().any(|f| f.line == Some(2)), "{findings:?}");
        let findings = Document::parse("x.toml", "a = 1\na = 2\n").err().unwrap();
        assert_eq!(findings[0].to_string(), "x.toml:2: a stands twice");
    }
}
