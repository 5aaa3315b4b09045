//! DNS over HTTPS (RFC 8484) without IO: which query a request asks, and what the response says, whatever the version of HTTP.

use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Response, StatusCode, Uri};

use super::room::Excess;
use super::tcp::LARGEST_MESSAGE;

/// What queries and replies are (RFC 8484 §6).
const MEDIA_TYPE: &str = "application/dns-message";

/// How a request asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// This query.
    Query(Vec<u8>),
    /// What its body says.
    InBody,
}

/// Why a request is not answered with a DNS message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not the path of DNS.
    Path,
    /// Neither GET nor POST.
    Method,
    /// GET without a query, with two, or with one that is no base64url.
    Parameter,
    /// POST of something else.
    MediaType,
    /// POST of more octets than a message may have.
    LongBody,
    /// The body did not come.
    SlowBody,
    /// Too many large ones at once on this connection.
    Busy,
    /// The octets are no DNS query.
    NoQuery,
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Refusal::Path => StatusCode::NOT_FOUND,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Parameter | Refusal::NoQuery => StatusCode::BAD_REQUEST,
            Refusal::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::LongBody => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Refusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Refusal::Path => "DNS is not answered under this path\n",
            Refusal::Method => "DNS is asked for with GET or POST\n",
            Refusal::Parameter => "GET takes one parameter `dns`: the query in base64url without padding\n",
            Refusal::LongBody => "a DNS query has at most 65535 octets\n",
            Refusal::MediaType => "POST takes a query as application/dns-message\n",
            Refusal::SlowBody => "the query did not come in time\n",
            Refusal::Busy => "too many large queries at once\n",
            Refusal::NoQuery => "this is no DNS query\n",
        }
    }

    /// The response.
    pub(super) fn response(self) -> (Response<()>, Vec<u8>) {
        let mut response = Response::new(());
        *response.status_mut() = self.status();
        let head = response.headers_mut();
        head.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        head.insert(CONTENT_LENGTH, HeaderValue::from(self.text().len()));
        head.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self == Refusal::Method {
            // RFC 9110 §15.5.6.
            head.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
        }
        (response, self.text().into())
    }
}

/// What a request asks (RFC 8484 §4.1); `path` is where DNS is answered.
pub(super) fn asked(method: &Method, uri: &Uri, head: &HeaderMap, path: &str) -> Result<Asked, Refusal> {
    if uri.path() != path {
        return Err(Refusal::Path);
    }
    match *method {
        Method::GET | Method::HEAD => {
            let mut values = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.strip_prefix("dns="));
            match (values.next(), values.next()) {
                (Some(value), None) => base64url(value.as_bytes()).map(Asked::Query).ok_or(Refusal::Parameter),
                _ => Err(Refusal::Parameter),
            }
        }
        Method::POST => {
            let media_type = head.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let media_type = media_type.split(';').next().unwrap_or_default().trim();
            if !media_type.eq_ignore_ascii_case(MEDIA_TYPE) || head.contains_key(CONTENT_ENCODING) {
                return Err(Refusal::MediaType);
            }
            let announced = head.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
            match announced {
                Some(octets) if octets > LARGEST_MESSAGE as u64 => Err(Refusal::LongBody),
                _ => Ok(Asked::InBody),
            }
        }
        _ => Err(Refusal::Method),
    }
}

/// The response that carries a reply (RFC 8484 §4.2.1): 200 whatever its RCODE.
pub(super) fn response(reply: &[u8]) -> Response<()> {
    let mut response = Response::new(());
    let head = response.headers_mut();
    head.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    head.insert(CONTENT_LENGTH, HeaderValue::from(reply.len()));
    // RFC 8484 §5.1. Answers are for the client that asked, by where it is: no cache that others share keeps them (RFC 9111 §5.2.2.7).
    let caching = match freshness(reply) {
        Some(seconds) => HeaderValue::try_from(format!("private, max-age={seconds}")).ok(),
        None => None,
    };
    head.insert(CACHE_CONTROL, caching.unwrap_or(HeaderValue::from_static("no-store")));
    response
}

/// For how many seconds a reply may be kept: the least TTL of its answers, and of what says that there are none (RFC 2308 §5); `None` where it
/// is not to be kept at all.
fn freshness(reply: &[u8]) -> Option<u32> {
    const SOA: u16 = 6;
    let word = |at: usize| Some(u16::from_be_bytes(*reply.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u32::from_be_bytes(*reply.get(at..)?.first_chunk()?));
    // NOERROR and NXDOMAIN; errors are over when they are over.
    if !matches!(word(2)? & 0x0f, 0 | 3) {
        return None;
    }
    let mut at = 12;
    for _ in 0..word(4)? {
        at = behind_name(reply, at)? + 4;
    }
    let mut least: Option<u32> = None;
    let answers = u32::from(word(6)?);
    for number in 0..answers + u32::from(word(8)?) {
        at = behind_name(reply, at)?;
        let (rtype, ttl, data) = (word(at)?, long(at + 4)?, at + 10);
        at = data + usize::from(word(at + 8)?);
        if number < answers {
            least = Some(least.unwrap_or(ttl).min(ttl));
        } else if rtype == SOA {
            // Its last field: MINIMUM.
            let negative = ttl.min(long(at.checked_sub(4)?)?);
            least = Some(least.unwrap_or(negative).min(negative));
        }
    }
    least
}

/// The offset behind the name at `at`.
fn behind_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            0xc0.. => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

/// Octets from base64url without padding (RFC 4648 §5): each has one spelling, and no other is taken.
fn base64url(text: &[u8]) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0u32;
        for &character in group {
            let six = match character {
                b'A'..=b'Z' => character - b'A',
                b'a'..=b'z' => character - b'a' + 26,
                b'0'..=b'9' => character - b'0' + 52,
                b'-' => 62,
                b'_' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(six);
        }
        // Characters hold six bits each, octets eight; what is left over is zero.
        let (length, left) = match group.len() {
            4 => (3, 0),
            3 => (2, 2),
            2 => (1, 4),
            _ => return None,
        };
        if bits & ((1 << left) - 1) != 0 {
            return None;
        }
        octets.extend_from_slice(&(bits >> left).to_be_bytes()[4 - length..]);
    }
    Some(octets)
}

impl From<Excess> for Refusal {
    fn from(excess: Excess) -> Refusal {
        match excess {
            Excess::Query => Refusal::LongBody,
            Excess::Connection => Refusal::Busy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_has_one_spelling_for_each_octet_string() {
        let cases: [(&str, Option<&[u8]>); 14] = [
            ("", Some(b"")),
            ("AA", Some(&[0])),
            ("_w", Some(&[255])),
            ("-_8", Some(&[0xfb, 0xff])),
            ("AAAB", Some(&[0, 0, 1])),
            ("Zm9vYmFy", Some(b"foobar")),
            // The example of RFC 8484 §4.1.1, as far as its name.
            ("AAABAAABAAAAAAAAA3d3dw", Some(b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x03www")),
            ("A", None),
            ("AAAAA", None),
            ("AA==", None),
            ("AB", None),
            ("+_8", None),
            ("AA AA", None),
            ("A\u{e9}", None),
        ];
        for (text, octets) in cases {
            assert_eq!(base64url(text.as_bytes()).as_deref(), octets, "{text}");
        }
    }

    #[test]
    fn requests_ask_by_parameter_or_body_and_others_are_told_why_not() {
        let query = Ok(Asked::Query(b"foobar".into()));
        let post = "content-type: application/dns-message";
        type Case<'a> = (&'a str, &'a str, &'a [&'a str], Result<Asked, Refusal>);
        let cases: [Case<'_>; 22] = [
            ("GET", "/dns-query?dns=Zm9vYmFy", &[], query.clone()),
            ("HEAD", "/dns-query?dns=Zm9vYmFy", &[], query.clone()),
            ("GET", "https://dns.example/dns-query?dns=Zm9vYmFy", &["accept: application/dns-message"], query.clone()),
            ("GET", "/dns-query?ct&dns=Zm9vYmFy&x=1", &[], query),
            ("GET", "/", &[], Err(Refusal::Path)),
            ("GET", "/dns-query/?dns=Zm9vYmFy", &[], Err(Refusal::Path)),
            ("GET", "/dns-query", &[], Err(Refusal::Parameter)),
            ("GET", "/dns-query?DNS=Zm9vYmFy", &[], Err(Refusal::Parameter)),
            ("GET", "/dns-query?dns=Zm9vYg==", &[], Err(Refusal::Parameter)),
            ("GET", "/dns-query?dns=Zm9vYmFy&dns=Zm9vYmFy", &[], Err(Refusal::Parameter)),
            ("POST", "/dns-query", &[post], Ok(Asked::InBody)),
            ("POST", "/dns-query?x", &["content-type: Application/DNS-Message ; x=y", "content-length: 65535"], Ok(Asked::InBody)),
            ("POST", "/dns-query", &[post, "content-length: 65536"], Err(Refusal::LongBody)),
            ("POST", "/dns-query", &[post, "content-encoding: gzip"], Err(Refusal::MediaType)),
            ("POST", "/dns-query", &[], Err(Refusal::MediaType)),
            ("POST", "/dns-query", &["content-type: application/dns-json"], Err(Refusal::MediaType)),
            ("POST", "/dns-query", &["content-type: application/dns-messages"], Err(Refusal::MediaType)),
            ("POST", "/else", &[post], Err(Refusal::Path)),
            ("PUT", "/dns-query", &[post], Err(Refusal::Method)),
            ("OPTIONS", "/dns-query", &[], Err(Refusal::Method)),
            ("CONNECT", "dns.example:443", &[], Err(Refusal::Path)),
            ("OPTIONS", "*", &[], Err(Refusal::Path)),
        ];
        for (method, uri, lines, expected) in cases {
            let mut head = HeaderMap::new();
            for (name, value) in lines.iter().map(|line| line.split_once(": ").unwrap()) {
                head.append(hyper::header::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
            }
            let asked = asked(&method.parse().unwrap(), &uri.parse().unwrap(), &head, "/dns-query");
            assert!(asked == expected, "{method} {} {lines:?}: {asked:?}", &uri[..uri.len().min(60)]);
        }
        let statuses = [
            (Refusal::Path, 404),
            (Refusal::Method, 405),
            (Refusal::Parameter, 400),
            (Refusal::NoQuery, 400),
            (Refusal::Busy, 503),
            (Refusal::MediaType, 415),
            (Refusal::LongBody, 413),
            (Refusal::SlowBody, 408),
        ];
        for (refusal, status) in statuses {
            let (response, body) = refusal.response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[CONTENT_LENGTH], body.len().to_string());
            assert_eq!(response.headers().contains_key(ALLOW), status == 405);
        }
    }

    /// A reply with RCODE, one question, and records: section (1 or 2), type, TTL, data.
    fn reply(rcode: u16, records: &[(u16, u16, u32, &[u8])]) -> Vec<u8> {
        let count = |section| records.iter().filter(|record| record.0 == section).count() as u16;
        let words = [0, 0x8400 | rcode, 1, count(1), count(2), 1];
        let mut message: Vec<u8> = words.iter().flat_map(|word: &u16| word.to_be_bytes()).collect();
        message.extend_from_slice(b"\x03www\x07example\0\0\x01\0\x01");
        for (n, (_, rtype, ttl, data)) in records.iter().enumerate() {
            // Owners as pointers, in whole, and both.
            message.extend_from_slice([&b"\xc0\x0c"[..], b"\x03www\x07example\0", b"\x01x\xc0\x10"][n % 3]);
            message.extend_from_slice(&rtype.to_be_bytes());
            message.extend_from_slice(&[0, 1]);
            message.extend_from_slice(&ttl.to_be_bytes());
            message.extend_from_slice(&(data.len() as u16).to_be_bytes());
            message.extend_from_slice(data);
        }
        // An OPT, whose TTL is none.
        message.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0\0\0");
        message
    }

    #[test]
    fn replies_are_kept_no_longer_than_the_least_ttl() {
        let soa = [&[0, 0][..], &[0; 16], &60u32.to_be_bytes()].concat();
        let cases: [(&str, Vec<u8>, &str); 10] = [
            ("one answer", reply(0, &[(1, 1, 300, &[0; 4])]), "private, max-age=300"),
            ("the least of many", reply(0, &[(1, 5, 30, b"\0"), (1, 1, 7, &[0; 4]), (1, 1, 9, &[0; 4])]), "private, max-age=7"),
            ("not of the authority", reply(0, &[(1, 1, 30, &[0; 4]), (2, 2, 5, b"\0")]), "private, max-age=30"),
            ("a TTL of zero", reply(0, &[(1, 1, 0, &[0; 4])]), "private, max-age=0"),
            ("NODATA, by MINIMUM", reply(0, &[(2, 6, 3600, &soa)]), "private, max-age=60"),
            ("NXDOMAIN, by the SOA's TTL", reply(3, &[(2, 6, 5, &soa)]), "private, max-age=5"),
            ("an alias that leads nowhere", reply(3, &[(1, 5, 300, b"\0"), (2, 6, 3600, &soa)]), "private, max-age=60"),
            ("a referral", reply(0, &[(2, 2, 300, b"\0")]), "no-store"),
            ("REFUSED", reply(5, &[]), "no-store"),
            ("SERVFAIL, whatever it holds", reply(2, &[(1, 1, 300, &[0; 4])]), "no-store"),
        ];
        for (what, reply, expected) in &cases {
            let response = response(reply);
            assert_eq!(response.headers()[CACHE_CONTROL], expected, "{what}");
            assert_eq!(response.headers()[CONTENT_TYPE], "application/dns-message");
            assert_eq!(response.headers()[CONTENT_LENGTH], reply.len().to_string());
        }
        // Cut anywhere, it may be anything but a panic.
        let whole = &cases[6].1;
        (0..whole.len()).for_each(|octets| _ = freshness(&whole[..octets]));
    }
}
