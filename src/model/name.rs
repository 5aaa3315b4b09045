//! Domain names (RFC 9499 §2).

use std::fmt;
use std::sync::Arc;

/// An absolute domain name in uncompressed wire form, root label included, in lower case; at most 255 octets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<[u8]>);

/// Why a text is no [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Longer than 255 octets in wire form (RFC 1035 §2.3.4).
    #[error("{0:?} is longer than 255 octets")]
    TooLong(String),
    /// A label is empty or longer than 63 octets.
    #[error("{0:?} has a label that is empty or longer than 63 octets")]
    Label(String),
    /// A backslash escape that is neither `\DDD` nor `\X` (RFC 1035 §5.1).
    #[error("{0:?} has a broken backslash escape")]
    Escape(String),
}

impl Name {
    /// The root.
    pub fn root() -> Name {
        Name(Arc::new([0]))
    }

    /// Parses presentation form (RFC 1035 §5.1). A missing last dot is taken as written: every name is absolute.
    pub fn parse(text: &str) -> Result<Name, NameError> {
        Name::parse_relative(text, None)
    }

    /// Parses presentation form; a text without a last dot is relative to `origin`, and `@` is `origin` itself.
    pub fn parse_relative(text: &str, origin: Option<&Name>) -> Result<Name, NameError> {
        if let (Some(origin), "@") = (origin, text) {
            return Ok(origin.clone());
        }
        if text == "." {
            return Ok(Name::root());
        }
        if text.is_empty() {
            return Err(NameError::Label(text.into()));
        }
        let mut wire = Vec::with_capacity(text.len() + 2);
        let mut label: Vec<u8> = Vec::new();
        let mut absolute = false;
        let mut bytes = text.bytes().peekable();
        let close = |label: &mut Vec<u8>, wire: &mut Vec<u8>| {
            if label.is_empty() || label.len() > 63 {
                return Err(NameError::Label(text.into()));
            }
            wire.push(label.len() as u8);
            wire.append(label);
            Ok(())
        };
        while let Some(byte) = bytes.next() {
            match byte {
                b'.' => {
                    close(&mut label, &mut wire)?;
                    absolute = bytes.peek().is_none();
                }
                b'\\' => {
                    let escaped = bytes.next().ok_or_else(|| NameError::Escape(text.into()))?;
                    if escaped.is_ascii_digit() {
                        let mut code = u16::from(escaped - b'0');
                        for _ in 0..2 {
                            let digit = bytes.next().filter(u8::is_ascii_digit).ok_or_else(|| NameError::Escape(text.into()))?;
                            code = code * 10 + u16::from(digit - b'0');
                        }
                        label.push(u8::try_from(code).map_err(|_| NameError::Escape(text.into()))?);
                    } else {
                        label.push(escaped);
                    }
                }
                _ => label.push(byte),
            }
        }
        if !absolute {
            close(&mut label, &mut wire)?;
        }
        match origin {
            Some(origin) if !absolute => wire.extend_from_slice(&origin.0),
            _ => wire.push(0),
        }
        wire.make_ascii_lowercase();
        if wire.len() > 255 {
            return Err(NameError::TooLong(text.into()));
        }
        Ok(Name(wire.into()))
    }

    /// A name from wire form that is known to be valid and uncompressed; folds case.
    pub fn from_wire(wire: &[u8]) -> Name {
        Name(wire.to_ascii_lowercase().into())
    }

    /// `label` in front of this name, unless that would be longer than 255 octets.
    pub fn child(&self, label: &[u8]) -> Option<Name> {
        if label.is_empty() || label.len() > 63 || 1 + label.len() + self.0.len() > 255 {
            return None;
        }
        let mut wire = Vec::with_capacity(1 + label.len() + self.0.len());
        wire.push(label.len() as u8);
        wire.extend_from_slice(label);
        wire.extend_from_slice(&self.0);
        wire.make_ascii_lowercase();
        Some(Name(wire.into()))
    }

    /// The name one label up; `None` for the root.
    pub fn parent(&self) -> Option<Name> {
        let length = self.0[0] as usize;
        (length > 0).then(|| Name(self.0[1 + length..].into()))
    }

    /// Uncompressed wire form, lower case, with the root label.
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// The labels from the leftmost to the last before the root.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = &self.0;
        std::iter::from_fn(move || {
            let length = rest[0] as usize;
            if length == 0 {
                return None;
            }
            let label = &rest[1..1 + length];
            rest = &rest[1 + length..];
            Some(label)
        })
    }

    /// Whether this name is `ancestor` or below it.
    pub fn is_within(&self, ancestor: &Name) -> bool {
        let mut name = self.0.as_ref();
        loop {
            if name == ancestor.0.as_ref() {
                return true;
            }
            match name[0] as usize {
                0 => return false,
                length => name = &name[1 + length..],
            }
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() == 1 {
            return f.write_str(".");
        }
        for label in self.labels() {
            for &byte in label {
                match byte {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => write!(f, "\\{}", byte as char)?,
                    0x21..=0x7e => write!(f, "{}", byte as char)?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_relative_escaped_and_printed_again() {
        let origin = Name::parse("svc.example.").unwrap();
        let check = |text: &str, printed: &str| assert_eq!(Name::parse_relative(text, Some(&origin)).unwrap().to_string(), printed);
        check("@", "svc.example.");
        check("Web", "web.svc.example.");
        check("web.other.", "web.other.");
        check(r"a\.b", r"a\.b.svc.example.");
        check(r"a\032b", r"a\032b.svc.example.");
        for broken in ["", "..", "a..b", r"a\", r"a\25", r"a\999"] {
            assert!(Name::parse(broken).is_err(), "{broken}");
        }
        assert!(Name::parse("a.svc.example").unwrap().is_within(&origin));
        assert!(!Name::parse("asvc.example").unwrap().is_within(&origin));
    }
}
