//! Master file text (RFC 1035 §5.1) as entries of tokens: quotes, escapes, parentheses and comments understood, nothing interpreted.
//!
//! Tokens borrow from the text, so a zone of a million records costs no allocation here.

use std::borrow::Cow;

/// A word, with its escapes still in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub text: &'t str,
    /// Whether it stood in quotes as a whole; they are gone.
    pub quoted: bool,
}

/// An entry: several lines of text where parentheses join them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Entry<'t> {
    /// The line it begins on, from 1.
    pub line: usize,
    /// Whether it begins with a blank, so that it has the owner of the entry before.
    pub indented: bool,
    pub tokens: Vec<Token<'t>>,
}

/// What `;` outside quotes is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Semicolon {
    /// The begin of a comment, as in master files.
    Comment,
    /// An error: in a TOML text a comment is never meant.
    Refused,
}

/// Text on the way to entries.
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    line: usize,
    semicolon: Semicolon,
}

impl<'t> Lexer<'t> {
    /// Begins at the begin of `text`; a byte order mark there is none of it.
    pub fn new(text: &'t str, semicolon: Semicolon) -> Lexer<'t> {
        Lexer { text: text.strip_prefix('\u{feff}').unwrap_or(text), at: 0, line: 1, semicolon }
    }

    /// Reads the next entry into `entry`, whose room is used again; whether there was one.
    ///
    /// # Errors
    /// The line and what is wrong there; nothing behind it can be read.
    pub fn read(&mut self, entry: &mut Entry<'t>) -> Result<bool, (usize, String)> {
        let bytes = self.text.as_bytes();
        entry.tokens.clear();
        (entry.line, entry.indented) = (self.line, false);
        // The line of the parenthesis that is open; RFC 1035 knows no nesting.
        let mut open: Option<usize> = None;
        let mut fresh = true;
        while let Some(&byte) = bytes.get(self.at) {
            let began = std::mem::take(&mut fresh);
            match byte {
                b'\n' => {
                    self.at += 1;
                    self.line += 1;
                    if open.is_none() {
                        if !entry.tokens.is_empty() {
                            return Ok(true);
                        }
                        (entry.line, entry.indented) = (self.line, false);
                        fresh = true;
                    }
                }
                b' ' | b'\t' | b'\r' => {
                    self.at += 1;
                    entry.indented |= began;
                }
                b';' if self.semicolon == Semicolon::Refused => {
                    return Err((self.line, "a ';' begins a comment in record data; put the text that holds it in quotes".into()));
                }
                b';' => self.at += bytes[self.at..].iter().position(|b| *b == b'\n').unwrap_or(bytes.len() - self.at),
                b'(' if open.is_none() => {
                    self.at += 1;
                    open = Some(self.line);
                }
                b'(' => return Err((self.line, "parentheses do not nest".into())),
                b')' if open.is_some() => {
                    self.at += 1;
                    open = None;
                }
                b')' => return Err((self.line, "a ')' without '('".into())),
                b'"' => {
                    let (begin, end) = (self.at + 1, self.quoted(self.at + 1)?);
                    entry.tokens.push(Token { text: &self.text[begin..end - 1], quoted: true });
                    self.at = end;
                }
                _ => {
                    let (begin, end) = (self.at, self.word()?);
                    entry.tokens.push(Token { text: &self.text[begin..end], quoted: false });
                    self.at = end;
                }
            }
        }
        match open {
            Some(line) => Err((line, "a '(' is not closed".into())),
            None => Ok(!entry.tokens.is_empty()),
        }
    }

    /// Where the word ends that begins here. What ends one is ASCII, so the end is one of a character.
    fn word(&self) -> Result<usize, (usize, String)> {
        let bytes = self.text.as_bytes();
        let mut at = self.at;
        loop {
            match bytes.get(at) {
                None | Some(b' ' | b'\t' | b'\r' | b'\n' | b'(' | b')' | b';') => return Ok(at),
                // `alpn="h2,h3"`: the quotes belong to the word (RFC 9460 §2.1).
                Some(b'"') => at = self.quoted(at + 1)?,
                Some(b'\\') if bytes.get(at + 1).is_some_and(|b| *b != b'\n') => at += 2,
                Some(_) => at += 1,
            }
        }
    }

    /// Where the text behind a quote at `at - 1` ends, its last quote included. RFC 1035 lets a quoted text run over lines; here, as in
    /// BIND, it may not: a forgotten quote would swallow the rest of the zone.
    fn quoted(&self, mut at: usize) -> Result<usize, (usize, String)> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(at) {
                None | Some(b'\n') => return Err((self.line, "a quote is not closed on its line".into())),
                Some(b'"') => return Ok(at + 1),
                Some(b'\\') if bytes.get(at + 1).is_some_and(|b| *b != b'\n') => at += 2,
                Some(_) => at += 1,
            }
        }
    }
}

/// The tokens of a text that is one entry.
pub(super) fn one(text: &str, semicolon: Semicolon) -> Result<Vec<Token<'_>>, String> {
    let (mut entry, mut more) = (Entry::default(), Entry::default());
    let mut lexer = Lexer::new(text, semicolon);
    lexer.read(&mut entry).map_err(|(_, reason)| reason)?;
    match lexer.read(&mut more).map_err(|(_, reason)| reason)? {
        true => Err("one record is expected, not several lines".into()),
        false => Ok(entry.tokens),
    }
}

/// Undoes escapes: `\DDD` is an octet, `\X` is X (RFC 1035 §5.1).
pub(super) fn unescape(text: &str) -> Result<Cow<'_, [u8]>, String> {
    if !text.contains('\\') {
        return Ok(text.as_bytes().into());
    }
    let mut octets = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            octets.push(byte);
            continue;
        }
        match bytes.next() {
            Some(first) if first.is_ascii_digit() => {
                let digits = [first, bytes.next().unwrap_or(b'?'), bytes.next().unwrap_or(b'?')];
                let octet = std::str::from_utf8(&digits).ok().and_then(|d| d.parse::<u8>().ok());
                octets.push(octet.ok_or_else(|| format!("{text:?} has an escape that is not \\000 to \\255"))?);
            }
            Some(other) => octets.push(other),
            None => return Err(format!("{text:?} ends in the middle of an escape")),
        }
    }
    Ok(octets.into())
}

/// A file's octets as text. Files in the encodings of old hold octets that are no UTF-8, mostly in comments: each becomes `\DDD`, which
/// is the same octet to a master file.
pub(super) fn text(octets: Vec<u8>) -> String {
    String::from_utf8(octets).unwrap_or_else(|error| {
        let mut text = String::with_capacity(error.as_bytes().len() + 64);
        for chunk in error.as_bytes().utf8_chunks() {
            text += chunk.valid();
            for octet in chunk.invalid() {
                text += &format!("\\{octet:03}");
            }
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_split_as_master_files_are() {
        let check = |text: &str, expected: &str| {
            let (mut lexer, mut entry, mut shown) = (Lexer::new(text, Semicolon::Comment), Entry::default(), Vec::new());
            loop {
                match lexer.read(&mut entry) {
                    Ok(false) => break,
                    Err((line, reason)) => {
                        shown.push(format!("{line}: {reason}"));
                        break;
                    }
                    Ok(true) => {
                        let token = |t: &Token<'_>| if t.quoted { format!("<{}>", t.text) } else { t.text.to_string() };
                        let tokens: Vec<_> = entry.tokens.iter().map(token).collect();
                        shown.push(format!("{}{}{}", entry.line, if entry.indented { "_" } else { ":" }, tokens.join("|")));
                    }
                }
            }
            assert_eq!(shown.join(" / "), expected, "{text:?}");
        };
        check("a A 192.0.2.1 ; x\n\n  MX 10 b\n", "1:a|A|192.0.2.1 / 3_MX|10|b");
        check("a SOA x y ( 1 ; serial\n 2\n 3 )\nb A z", "1:a|SOA|x|y|1|2|3 / 4:b|A|z");
        check(r#"a TXT "b;(c)" "d\"e" f"#, r#"1:a|TXT|<b;(c)>|<d\"e>|f"#);
        check(r#"a HTTPS 1 . alpn="h2,h3" port=1"#, r#"1:a|HTTPS|1|.|alpn="h2,h3"|port=1"#);
        check(r"a\ b\; A", r"1:a\ b\;|A");
        check("a\r\nb", "1:a / 2:b");
        check("\u{feff}a (b\t(", "1: parentheses do not nest");
        check("\u{feff}a TXT(b\n c)d;e", "1:a|TXT|b|c|d");
        check("a TXT \"b\"\"c\"d \"\"", "1:a|TXT|<b>|<c>|d|<>");
        check("\té\\é \\\nx\\", "1_é\\é|\\ / 2:x\\");
        check("x (\n", "1: a '(' is not closed");
        check("x\n)", "1:x / 2: a ')' without '('");
        check("\nx \"abc\nd\"", "2: a quote is not closed on its line");
        check("\nx a=\"abc\\\"\nd\"", "2: a quote is not closed on its line");
        check(";only\n  ; this\n\n", "");
        assert_eq!(unescape(r"a\255\\\.").unwrap().as_ref(), b"a\xff\\.");
        assert!(unescape(r"\256").is_err() && unescape(r"\2").is_err() && unescape("\\").is_err());
        assert_eq!(text(b"a\xc3\xa9 ; \xe9\n".to_vec()), "a\u{e9} ; \\233\n");
    }
}
