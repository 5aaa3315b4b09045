//! When a certificate runs out: the one field of it that we look at (RFC 5280 §4.1.2.5), read from its DER.

use std::time::{Duration, SystemTime};

/// DER's tags (X.690).
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Until when a certificate is good, since the Unix epoch; `None` where that cannot be read.
pub(super) fn not_after(certificate: &[u8]) -> Option<Duration> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    if let Some((_, rest)) = element(fields, VERSION) {
        fields = rest;
    }
    // Serial number, algorithm and issuer stand before it.
    for _ in 0..3 {
        (_, fields) = any_element(fields).map(|(_, data, rest)| (data, rest))?;
    }
    let (validity, _) = element(fields, SEQUENCE)?;
    let (_, _, not_after) = any_element(validity)?;
    let (tag, text, _) = any_element(not_after)?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z').filter(|text| text.bytes().all(|octet| octet.is_ascii_digit()))?;
    let text = match (tag, text.len()) {
        // RFC 5280 §4.1.2.5.1: two digits of the year mean 1950 to 2049.
        (UTC_TIME, 12) => format!("{}{text}", if text < "50" { "20" } else { "19" }),
        (GENERALIZED_TIME, 14) => text.into(),
        _ => return None,
    };
    let part = |from: usize, to: usize| &text[from..to];
    let spelled = format!("{}-{}-{}T{}:{}:{}Z", part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 12), part(12, 14));
    humantime::parse_rfc3339(&spelled).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()
}

/// The content of the first element, which has this tag, and what is behind it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    any_element(der).filter(|(found, ..)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// Tag and content of the first element, and what is behind it.
fn any_element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], behind) = der.split_first_chunk::<2>()?;
    let (length, behind) = match first {
        0..=0x7f => (usize::from(first), behind),
        // 0x80 is a length that is said later: none in DER (X.690 §10.1).
        0x81..=0x84 => {
            let (octets, behind) = behind.split_at_checked(usize::from(first & 0x7f))?;
            (octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), behind)
        }
        _ => return None,
    };
    let (content, rest) = behind.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms_and_nothing_else_is() {
        for (year, seconds) in [(2026, 1_767_225_600), (2049, 2_493_072_000), (2050, 2_524_608_000), (4096, 67_090_118_400)] {
            let mut params = rcgen::CertificateParams::new(["dns.example".to_string()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
            let der = certificate.der();
            assert_eq!(not_after(der), Some(Duration::from_secs(seconds)), "{year}");
            // Cut anywhere, it is nothing.
            assert!((0..der.len()).all(|octets| not_after(&der[..octets]).is_none()), "{year}");
        }
        assert_eq!(not_after(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
