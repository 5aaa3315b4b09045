//! Places on earth: LOC (RFC 1876) and the texts of GPOS (RFC 1712).

use super::Token;

/// Zero latitude, longitude and altitude on the wire: 2^31 thousandths of a second, 100 km below the spheroid (RFC 1876 §2).
const EQUATOR: u32 = 1 << 31;
const GROUND: i64 = 10_000_000;

/// `d1 [m1 [s1]] N|S d2 [m2 [s2]] E|W altitude [size [horizontal precision [vertical precision]]]` (RFC 1876 §3).
pub(super) fn location(rest: &mut &[Token<'_>]) -> Result<[u8; 16], String> {
    let latitude = angle(rest, "latitude", 90, ["N", "S"])?;
    let longitude = angle(rest, "longitude", 180, ["E", "W"])?;
    let altitude = altitude(take(rest).ok_or("the altitude is missing")?)?;
    // RFC 1876 §3: 1 m, 10,000 m and 10 m.
    let mut sizes = [0x12, 0x16, 0x13];
    for size in &mut sizes {
        if let Some(text) = take(rest) {
            *size = length(text)?;
        }
    }
    let mut octets = [0; 16];
    octets[1..4].copy_from_slice(&sizes);
    for (place, value) in octets[4..].chunks_exact_mut(4).zip([latitude, longitude, altitude]) {
        place.copy_from_slice(&value.to_be_bytes());
    }
    Ok(octets)
}

/// Whether octets are a LOC record of the version that there is, with sizes of two decimal digits.
pub(super) fn is_location(wire: &[u8]) -> bool {
    matches!(wire, [0, sizes @ ..] if sizes.len() == 15 && sizes[..3].iter().all(|size| size >> 4 <= 9 && size & 15 <= 9))
}

fn take<'t>(rest: &mut &[Token<'t>]) -> Option<&'t str> {
    let (first, others) = rest.split_first()?;
    *rest = others;
    Some(first.text)
}

/// Degrees, minutes, seconds and hemisphere.
fn angle(rest: &mut &[Token<'_>], what: &str, most: u64, [plus, minus]: [&str; 2]) -> Result<u32, String> {
    let mut sum = 0;
    for (n, (unit, limit)) in [(3_600_000, most * 1000), (60_000, 59_000), (1000, 59_999)].into_iter().enumerate() {
        let text = take(rest).ok_or_else(|| format!("{what}: {plus} or {minus} is missing"))?;
        let sign = if text.eq_ignore_ascii_case(plus) { Some(1) } else { text.eq_ignore_ascii_case(minus).then_some(-1) };
        if let (Some(sign), 1..) = (sign, n) {
            return turned(sum, sign, what, most, plus, minus);
        }
        // Only seconds have a fraction.
        let read = decimal(text, 3).filter(|value| *value <= limit && (n == 2 || value.is_multiple_of(1000)));
        let name = ["degrees", "minutes", "seconds"][n];
        let value = read.ok_or_else(|| format!("{what}: {name} up to {} are expected, not {text:?}", limit / 1000))?;
        sum += value * unit / 1000;
    }
    match take(rest) {
        Some(text) if text.eq_ignore_ascii_case(plus) => turned(sum, 1, what, most, plus, minus),
        Some(text) if text.eq_ignore_ascii_case(minus) => turned(sum, -1, what, most, plus, minus),
        _ => Err(format!("{what}: {plus} or {minus} is missing")),
    }
}

fn turned(sum: u64, sign: i64, what: &str, most: u64, plus: &str, minus: &str) -> Result<u32, String> {
    if sum > most * 3_600_000 {
        return Err(format!("{what}: {most} degrees {plus} or {minus} are the most"));
    }
    // Up to 180° are 648,000,000 thousandths of a second.
    Ok(EQUATOR.wrapping_add_signed((sum as i64 * sign) as i32))
}

/// Metres above the spheroid, in centimetres above what is 100 km below it.
fn altitude(text: &str) -> Result<u32, String> {
    let (sign, metres) = match text.strip_prefix('-') {
        Some(metres) => (-1, metres),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let read = decimal(metres.strip_suffix(['m', 'M']).unwrap_or(metres), 2);
    let value = read.and_then(|cm| i64::try_from(cm).ok()).and_then(|cm| u32::try_from(GROUND + sign * cm).ok());
    value.ok_or_else(|| format!("an altitude from -100000.00m to 42849672.95m is expected, not {text:?}"))
}

/// A length up to 90,000 km, as one digit and a power of ten centimetres (RFC 1876 §2, SIZE).
fn length(text: &str) -> Result<u8, String> {
    let read = decimal(text.strip_suffix(['m', 'M']).unwrap_or(text), 2).filter(|cm| *cm <= 9_000_000_000);
    let mut mantissa = read.ok_or_else(|| format!("a size from 0m to 90000000.00m is expected, not {text:?}"))?;
    let mut exponent = 0;
    while mantissa > 9 {
        mantissa /= 10;
        exponent += 1;
    }
    Ok((mantissa as u8) << 4 | exponent)
}

/// A number without sign in units of `10^-places`; at most so many digits behind the point.
fn decimal(text: &str, places: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 10 || fraction.len() > places || !digits(whole) || !digits(fraction) {
        return None;
    }
    format!("{whole}{fraction:0<places$}").parse().ok()
}

/// Whether a text is a number as GPOS has them: a sign, digits, and a fraction.
pub(super) fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    [whole, fraction].iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}
