//! Labels: what services, instances, regions, azs, tags and ports are named by.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One DNS label in lower case: 1–63 of `a-z`, `0-9`, `-` and `_`, neither beginning nor ending with `-`.
///
/// Services, instances, regions, azs, tags and ports are named by labels, so that each can stand in a domain name.
/// Upper case is folded when parsed (RFC 4343: names compare without case).
///
/// A label takes 16 octets; up to 14 of text lie in it, longer ones are shared by its clones.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(Text);

/// The octets behind the length are zero. Three sizes: a million of them are kept, and malloc hands out multiples of 16.
#[derive(Clone)]
enum Text {
    Within { length: u8, octets: [u8; WITHIN] },
    Short { length: u8, octets: Arc<[u8; SHORT]> },
    Middle { length: u8, octets: Arc<[u8; MIDDLE]> },
    Long { length: u8, octets: Arc<[u8; LONG]> },
}

const WITHIN: usize = 14;
const SHORT: usize = 24;
const MIDDLE: usize = 40;
/// RFC 1035 §2.3.4.
const LONG: usize = 63;

/// Why a text is no [`Label`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The text is empty.
    #[error("a name must not be empty")]
    Empty,
    /// Longer than 63 octets (RFC 1035 §2.3.4).
    #[error("{0:?} is {1} octets long; a DNS label holds at most 63")]
    TooLong(String, usize),
    /// A character that a service name cannot hold.
    #[error("{0:?} holds {1:?}; letters, digits, '-' and '_' are allowed")]
    Character(String, char),
    /// It begins or ends with a hyphen (RFC 1123 §2.1).
    #[error("{0:?} must not begin or end with '-'")]
    Hyphen(String),
}

impl Label {
    /// Parses a label, folding upper case.
    pub fn parse(text: &str) -> Result<Label, LabelError> {
        if text.is_empty() {
            return Err(LabelError::Empty);
        }
        if text.len() > LONG {
            return Err(LabelError::TooLong(text.into(), text.len()));
        }
        if let Some(c) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '-' || *c == '_')) {
            return Err(LabelError::Character(text.into(), c));
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(LabelError::Hyphen(text.into()));
        }
        let length = text.len() as u8;
        Ok(Label(match text.len() {
            0..=WITHIN => Text::Within { length, octets: folded(text) },
            n if n <= SHORT => Text::Short { length, octets: Arc::new(folded(text)) },
            n if n <= MIDDLE => Text::Middle { length, octets: Arc::new(folded(text)) },
            _ => Text::Long { length, octets: Arc::new(folded(text)) },
        }))
    }

    /// The label as text, lower case.
    pub fn as_str(&self) -> &str {
        // ASCII, as it was parsed.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The label as octets, lower case.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Text::Within { length, octets } => &octets[..usize::from(*length)],
            Text::Short { length, octets } => &octets[..usize::from(*length)],
            Text::Middle { length, octets } => &octets[..usize::from(*length)],
            Text::Long { length, octets } => &octets[..usize::from(*length)],
        }
    }
}

/// The octets of a text that is no longer than that, in lower case.
fn folded<const SIZE: usize>(text: &str) -> [u8; SIZE] {
    let mut octets = [0; SIZE];
    octets.iter_mut().zip(text.bytes()).for_each(|(octet, byte)| *octet = byte.to_ascii_lowercase());
    octets
}

/// Two short texts as numbers that compare as they do: the octets behind a text are zero, and none of a label's is.
#[inline]
fn numbers(octets: &[u8; WITHIN]) -> (u64, u64) {
    let number = |from: usize| octets[from..].first_chunk().map_or(0, |octets| u64::from_be_bytes(*octets));
    (number(0), number(WITHIN - size_of::<u64>()))
}

impl PartialEq for Label {
    #[inline]
    fn eq(&self, other: &Label) -> bool {
        match (&self.0, &other.0) {
            (Text::Within { octets: one, .. }, Text::Within { octets: two, .. }) => numbers(one) == numbers(two),
            _ => self.as_bytes() == other.as_bytes(),
        }
    }
}

impl Eq for Label {}

impl PartialOrd for Label {
    fn partial_cmp(&self, other: &Label) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Label {
    #[inline(always)]
    fn cmp(&self, other: &Label) -> Ordering {
        match (&self.0, &other.0) {
            // Most are, and maps by label compare them twenty times to find one.
            (Text::Within { octets: one, .. }, Text::Within { octets: two, .. }) => numbers(one).cmp(&numbers(two)),
            _ => self.as_bytes().cmp(other.as_bytes()),
        }
    }
}

impl Hash for Label {
    /// As its text does: maps by label are asked by text.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl utoipa::PartialSchema for Label {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .description(Some("A DNS label; upper case is folded."))
            .pattern(Some("^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$"))
            .into()
    }
}

impl utoipa::ToSchema for Label {}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl std::str::FromStr for Label {
    type Err = LabelError;
    fn from_str(text: &str) -> Result<Label, LabelError> {
        Label::parse(text)
    }
}

impl TryFrom<String> for Label {
    type Error = LabelError;
    fn try_from(text: String) -> Result<Label, LabelError> {
        Label::parse(&text)
    }
}

impl From<Label> for String {
    fn from(label: Label) -> String {
        label.as_str().into()
    }
}

impl std::borrow::Borrow<str> for Label {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_fold_case_and_refuse_what_dns_cannot_carry() {
        assert_eq!(Label::parse("Web-1").unwrap().as_str(), "web-1");
        // RFC 1123 §2.1.
        assert_eq!(Label::parse("3com").unwrap().as_str(), "3com");
        assert_eq!(Label::parse("a.b"), Err(LabelError::Character("a.b".into(), '.')));
        assert_eq!(Label::parse("-a"), Err(LabelError::Hyphen("-a".into())));
        assert!(matches!(Label::parse(&"x".repeat(64)), Err(LabelError::TooLong(_, 64))));
    }

    #[test]
    fn labels_of_every_length_are_what_was_parsed_and_ordered_as_their_texts() {
        assert_eq!(size_of::<Label>(), 16);
        let texts: Vec<String> = (1..=63).flat_map(|length| ["a", "b"].map(|letter| letter.repeat(length))).collect();
        let labels: Vec<Label> = texts.iter().map(|text| Label::parse(&text.to_uppercase()).unwrap()).collect();
        for (text, label) in texts.iter().zip(&labels) {
            assert_eq!((label.as_str(), label.to_string().as_str()), (text.as_str(), text.as_str()));
            for (other, second) in texts.iter().zip(&labels) {
                assert_eq!((label.cmp(second), label == second), (text.cmp(other), text == other));
            }
        }
        let by_label: std::collections::HashMap<Label, usize> = labels.into_iter().zip(0..).collect();
        texts.iter().enumerate().for_each(|(n, text)| assert_eq!(by_label.get(text.as_str()), Some(&n)));
    }
}
