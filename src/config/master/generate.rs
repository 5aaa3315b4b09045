//! `$GENERATE`, BIND's directive for records in series: one template, written out for each number of a range.

use std::fmt::Write;

use super::super::lexer::Token;

/// Most records of one directive.
pub(super) const MOST: u64 = 65_536;

/// Widest field, as `${0,63}` asks for it: as wide as a label.
const WIDEST: usize = 63;

/// The numbers that a directive counts through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub start: u32,
    pub stop: u32,
    pub step: u32,
}

impl Range {
    /// `start-stop[/step]`.
    pub fn parse(text: &str) -> Result<Range, String> {
        let wrong = || format!("a range such as 1-100 or 0-254/2 is expected, not {text:?}");
        let number = |digits: &str| match digits.bytes().all(|b| b.is_ascii_digit()) {
            true => digits.parse::<u32>().ok().filter(|n| *n <= i32::MAX as u32).ok_or_else(wrong),
            false => Err(wrong()),
        };
        let (bounds, step) = text.split_once('/').unwrap_or((text, "1"));
        let (start, stop) = bounds.split_once('-').ok_or_else(wrong)?;
        let range = Range { start: number(start)?, stop: number(stop)?, step: number(step)? };
        if range.start > range.stop || range.step == 0 {
            return Err(format!("{}; it counts upward in steps of at least 1", wrong()));
        }
        match u64::from(range.stop - range.start) / u64::from(range.step) + 1 {
            count if count > MOST => Err(format!("at most {MOST} records are made by one $GENERATE, not {count}")),
            _ => Ok(range),
        }
    }

    /// All of them.
    pub fn numbers(self) -> impl Iterator<Item = u32> {
        (self.start..=self.stop).step_by(usize::try_from(self.step).unwrap_or(usize::MAX))
    }
}

/// The template of the record data: a text in quotes stands for what is in them, as BIND has it, several words for themselves.
pub(super) fn data(tokens: &[Token<'_>]) -> Option<String> {
    match tokens {
        [] => None,
        [one] if one.quoted => Some(one.text.replace("\\\"", "\"")),
        several => {
            let word = |t: &Token<'_>| if t.quoted { format!("\"{}\"", t.text) } else { t.text.to_string() };
            Some(several.iter().map(word).collect::<Vec<_>>().join(" "))
        }
    }
}

/// Writes `template` with `number` in place of each `$` and `${offset,width,base}`; `$$` and `\$` are a dollar.
pub(super) fn expand(template: &str, number: u32, text: &mut String) -> Result<(), String> {
    text.clear();
    let mut rest = template;
    while let Some(at) = rest.find(['$', '\\']) {
        text.push_str(&rest[..at]);
        let found = &rest[at..];
        if let Some(behind) = found.strip_prefix('\\') {
            // An escape, `\$` among them, is for the reader of names and texts.
            let length = 1 + behind.chars().next().map_or(0, char::len_utf8);
            text.push_str(&found[..length]);
            rest = &found[length..];
        } else if let Some(behind) = found.strip_prefix("$$") {
            text.push('$');
            rest = behind;
        } else if let Some(behind) = found.strip_prefix("${") {
            let (modifiers, behind) = behind.split_once('}').ok_or("a '${' is not closed by '}'")?;
            modified(modifiers, number, text)?;
            rest = behind;
        } else {
            let _ = write!(text, "{number}");
            rest = &found[1..];
        }
    }
    text.push_str(rest);
    Ok(())
}

/// `offset[,width[,base]]`.
fn modified(modifiers: &str, number: u32, text: &mut String) -> Result<(), String> {
    let wrong = || format!("${{offset,width,base}} is expected with a base of d, o, x, X, n or N, not ${{{modifiers}}}");
    let mut parts = modifiers.split(',');
    let offset: i32 = parts.next().and_then(|p| p.parse().ok()).ok_or_else(wrong)?;
    let width: usize = parts.next().map_or(Ok(0), str::parse).ok().filter(|w| *w <= WIDEST).ok_or_else(wrong)?;
    let base = parts.next().unwrap_or("d");
    let value = i64::from(number) + i64::from(offset);
    let _ = match (base, parts.next()) {
        ("d", None) => write!(text, "{value:0width$}"),
        ("o" | "x" | "X" | "n" | "N", None) if value < 0 => return Err(format!("{value} is negative, and has no form in base {base}")),
        ("o", None) => write!(text, "{value:0width$o}"),
        ("x", None) => write!(text, "{value:0width$x}"),
        ("X", None) => write!(text, "{value:0width$X}"),
        ("n" | "N", None) => {
            nibbles(value.unsigned_abs(), width, base == "N", text);
            Ok(())
        }
        _ => return Err(wrong()),
    };
    Ok(())
}

/// Hex digits from the least on, with dots between them, as in ip6.arpa; the dots count toward `width`.
fn nibbles(mut value: u64, mut width: usize, upper: bool, text: &mut String) {
    loop {
        let digit = char::from_digit((value & 0xf) as u32, 16).unwrap_or('0');
        text.push(if upper { digit.to_ascii_uppercase() } else { digit });
        value >>= 4;
        width = width.saturating_sub(1);
        if width > 0 || value != 0 {
            text.push('.');
            width = width.saturating_sub(1);
        }
        if width == 0 && value == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What BIND 9.18 makes of the same.
    #[test]
    fn templates_are_written_out() {
        let check = |template: &str, number: u32, expected: &str| {
            let mut text = String::new();
            let said = expand(template, number, &mut text).map(|()| text);
            assert_eq!(said.as_deref().unwrap_or_else(|e| e), expected, "{template}");
        };
        check("host-$.x", 7, "host-7.x");
        check(r"h\$$x$$", 1, r"h\$1x$");
        check(r"\\$", 1, r"\\1");
        check("${0,5,n} ${-3,3,d} ${10,4,x} ${0,0,X} ${255,0,N} ${255,9,n} ${8,3,o} ${5}", 1, "1.0.0 -02 000b 1 0.0.1 0.0.1.0.0 011 6");
        check("${0,3,q}", 1, "${offset,width,base} is expected with a base of d, o, x, X, n or N, not ${0,3,q}");
        check("${0,99}", 1, "${offset,width,base} is expected with a base of d, o, x, X, n or N, not ${0,99}");
        check("${-5,1,x}", 1, "-4 is negative, and has no form in base x");
        check("${5", 1, "a '${' is not closed by '}'");
        check("a\\", 1, "a\\");
        assert_eq!(Range::parse("1-7/3").unwrap().numbers().collect::<Vec<_>>(), [1, 4, 7]);
        for wrong in ["1", "2-1", "1-2/0", "-1-2", "+1-2", "a-b", "1-65537", "0-4294967295", ""] {
            assert!(Range::parse(wrong).is_err(), "{wrong}");
        }
    }
}
