//! Master file text (RFC 1035 §5.1) as lines of tokens: quotes, escapes, parentheses and comments understood, nothing interpreted.

/// A word, with its escapes still in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub text: String,
    /// Whether it stood in quotes as a whole; they are gone.
    pub quoted: bool,
}

/// An entry: several lines of text where parentheses join them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The line it begins on, from 1.
    pub line: usize,
    /// Whether it begins with a blank, so that it has the owner of the entry before.
    pub indented: bool,
    pub tokens: Vec<Token>,
}

/// What `;` outside quotes is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Semicolon {
    /// The begin of a comment, as in master files.
    Comment,
    /// An error: in a TOML text a comment is never meant.
    Refused,
}

/// Splits text into entries; the error has the line.
pub(super) fn entries(text: &str, semicolon: Semicolon) -> Result<Vec<Entry>, (usize, String)> {
    let mut entries = Vec::new();
    let mut entry = Entry { line: 1, indented: false, tokens: Vec::new() };
    let mut line = 1;
    // The line of the parenthesis that is open; RFC 1035 knows no nesting.
    let mut open: Option<usize> = None;
    let mut fresh = true;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let began = std::mem::take(&mut fresh);
        match c {
            '\n' => {
                line += 1;
                if open.is_none() {
                    let done = std::mem::replace(&mut entry, Entry { line, indented: false, tokens: Vec::new() });
                    if !done.tokens.is_empty() {
                        entries.push(done);
                    }
                    fresh = true;
                }
            }
            ' ' | '\t' | '\r' => entry.indented |= began,
            ';' if semicolon == Semicolon::Refused => {
                return Err((line, "a ';' begins a comment in record data; put the text that holds it in quotes".into()));
            }
            ';' => while chars.next_if(|c| *c != '\n').is_some() {},
            '(' if open.is_none() => open = Some(line),
            '(' => return Err((line, "parentheses do not nest".into())),
            ')' if open.is_some() => open = None,
            ')' => return Err((line, "a ')' without '('".into())),
            '"' => {
                let text = quoted(&mut chars, false).ok_or_else(|| (line, "a quote is not closed on its line".to_string()))?;
                entry.tokens.push(Token { text, quoted: true });
            }
            first => {
                let mut text = String::from(first);
                if first == '\\' {
                    text.extend(chars.next());
                }
                while let Some(c) = chars.next_if(|c| !matches!(c, ' ' | '\t' | '\r' | '\n' | '(' | ')' | ';')) {
                    text.push(c);
                    match c {
                        '\\' => text.extend(chars.next_if(|c| *c != '\n')),
                        // `alpn="h2,h3"`: the quotes belong to the word (RFC 9460 §2.1).
                        '"' => {
                            let inner = quoted(&mut chars, true);
                            text += &inner.ok_or_else(|| (line, "a quote is not closed on its line".to_string()))?;
                        }
                        _ => {}
                    }
                }
                entry.tokens.push(Token { text, quoted: false });
            }
        }
    }
    if let Some(line) = open {
        return Err((line, "a '(' is not closed".into()));
    }
    if !entry.tokens.is_empty() {
        entries.push(entry);
    }
    Ok(entries)
}

/// The rest of a quoted text behind its first quote; `None` where the line ends before it is closed.
fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, keep: bool) -> Option<String> {
    let mut text = String::new();
    loop {
        match chars.next_if(|c| *c != '\n')? {
            '"' => {
                if keep {
                    text.push('"');
                }
                return Some(text);
            }
            '\\' => {
                text.push('\\');
                text.push(chars.next_if(|c| *c != '\n')?);
            }
            c => text.push(c),
        }
    }
}

/// Undoes escapes: `\DDD` is an octet, `\X` is X (RFC 1035 §5.1).
pub(super) fn unescape(text: &str) -> Result<Vec<u8>, String> {
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
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_split_as_master_files_are() {
        let check = |text: &str, expected: &str| {
            let shown = match entries(text, Semicolon::Comment) {
                Err((line, reason)) => format!("{line}: {reason}"),
                Ok(entries) => entries
                    .iter()
                    .map(|e| {
                        let tokens: Vec<_> =
                            e.tokens.iter().map(|t| if t.quoted { format!("<{}>", t.text) } else { t.text.clone() }).collect();
                        format!("{}{}{}", e.line, if e.indented { "_" } else { ":" }, tokens.join("|"))
                    })
                    .collect::<Vec<_>>()
                    .join(" / "),
            };
            assert_eq!(shown, expected, "{text:?}");
        };
        check("a A 192.0.2.1 ; x\n\n  MX 10 b\n", "1:a|A|192.0.2.1 / 3_MX|10|b");
        check("a SOA x y ( 1 ; serial\n 2\n 3 )\nb A z", "1:a|SOA|x|y|1|2|3 / 4:b|A|z");
        check(r#"a TXT "b;(c)" "d\"e" f"#, r#"1:a|TXT|<b;(c)>|<d\"e>|f"#);
        check(r#"a HTTPS 1 . alpn="h2,h3" port=1"#, r#"1:a|HTTPS|1|.|alpn="h2,h3"|port=1"#);
        check(r"a\ b\; A", r"1:a\ b\;|A");
        check("a\r\nb", "1:a / 2:b");
        check("x (\n", "1: a '(' is not closed");
        check("x\n)", "2: a ')' without '('");
        check("\nx \"abc\nd\"", "2: a quote is not closed on its line");
        assert_eq!(unescape(r"a\255\\\.").unwrap(), b"a\xff\\.");
        assert!(unescape(r"\256").is_err() && unescape(r"\2").is_err() && unescape("\\").is_err());
    }
}
