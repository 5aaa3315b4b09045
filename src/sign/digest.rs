//! Key tags, and the digests of keys that a parent publishes as DS, and a child asks for as CDS.

use data_encoding::{BASE64, HEXUPPER};
use sha2::{Digest, Sha256, Sha384};

use crate::model::Name;

/// What a DS holds of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DigestType {
    /// SHA-256 (RFC 4509), which every validator knows.
    Sha256 = 2,
    /// SHA-384 (RFC 6605 §2).
    Sha384 = 4,
}

/// The tag of a DNSKEY by its RDATA (RFC 4034 §B): which key to try first. Two keys may have the same.
pub fn key_tag(rdata: &[u8]) -> u16 {
    let sum = rdata.chunks(2).fold(0_u32, |sum, pair| sum + u32::from(pair[0]) * 256 + pair.get(1).map_or(0, |low| u32::from(*low)));
    ((sum + (sum >> 16)) & 0xffff) as u16
}

/// RDATA of the DS of a key (RFC 4034 §5.1), which is also that of its CDS (RFC 7344 §3.1).
pub fn ds(apex: &Name, dnskey: &[u8], digest: DigestType) -> Box<[u8]> {
    // RFC 4034 §5.1.4: the owner in canonical form, and the RDATA.
    let hash = match digest {
        DigestType::Sha256 => Sha256::new().chain_update(apex.wire()).chain_update(dnskey).finalize().to_vec(),
        DigestType::Sha384 => Sha384::new().chain_update(apex.wire()).chain_update(dnskey).finalize().to_vec(),
    };
    let [high, low] = key_tag(dnskey).to_be_bytes();
    // Octet 3 of a DNSKEY is its algorithm.
    [&[high, low, dnskey.get(3).copied().unwrap_or_default(), digest as u8], &hash[..]].concat().into()
}

/// The DS record of a key, as a parent takes it: `svc.example. IN DS 12345 13 2 …`.
pub fn ds_record(apex: &Name, dnskey: &[u8], digest: DigestType) -> String {
    let data = ds(apex, dnskey, digest);
    let [high, low, algorithm, kind, hash @ ..] = &*data else { return String::new() };
    format!("{apex} IN DS {} {algorithm} {kind} {}", u16::from_be_bytes([*high, *low]), HEXUPPER.encode(hash))
}

/// The DNSKEY record of a key.
pub fn dnskey_record(apex: &Name, dnskey: &[u8]) -> String {
    let [high, low, protocol, algorithm, key @ ..] = dnskey else { return String::new() };
    format!("{apex} IN DNSKEY {} {protocol} {algorithm} {}", u16::from_be_bytes([*high, *low]), BASE64.encode(key))
}

/// RDATA of the CDS that asks the parent to remove every DS (RFC 8078 §4).
pub fn cds_delete() -> Box<[u8]> {
    [0; 5].into()
}

/// RDATA of the CDNSKEY that asks the same.
pub fn cdnskey_delete() -> Box<[u8]> {
    [0, 0, 3, 0, 0].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dnskey(flags: u16, algorithm: u8, key: &str) -> Vec<u8> {
        [&flags.to_be_bytes()[..], &[3, algorithm], &BASE64.decode(key.as_bytes()).unwrap()].concat()
    }

    #[test]
    fn tags_and_digests_are_those_of_the_rfcs() {
        let check = |apex: &str, key: &[u8], digest: DigestType, record: &str| {
            assert_eq!(ds_record(&Name::parse(apex).unwrap(), key, digest).to_ascii_lowercase(), record);
        };
        // RFC 4034 §5.4, with the digest of RFC 4509 §2.3.
        let key = dnskey(
            256,
            5,
            "AQOeiiR0GOMYkDshWoSKz9XzfwJr1AYtsmx3TGkJaNXVbfi/2pHm822aJ5iI9BMzNXxeYCmZDRD99WYwYqUSdjMmmAphXdvxegXd/M5+X7OrzKBaMbCVdFLUUh6Dhwe\
             JBjEVv5f2wwjM9XzcnOf+EPbtG9DMBmADjFDc2w/rljwvFw==",
        );
        let digest = "d4b7d520e7bb5f0f67674a0cceb1e3e0614b93c4f9e99b8383f6a1e4469da50a";
        check("dskey.example.com", &key, DigestType::Sha256, &format!("dskey.example.com. in ds 60485 5 2 {digest}"));
        // RFC 6605 §6.1 and §6.2.
        let key = dnskey(257, 13, "GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==");
        let digest = "b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17";
        check("EXAMPLE.net", &key, DigestType::Sha256, &format!("example.net. in ds 55648 13 2 {digest}"));
        let key = dnskey(
            257,
            14,
            "xKYaNhWdGOfJ+nPrL8/arkwf2EY3MDJ+SErKivBVSum1w/egsXvSADtNJhyem5RCOpgQ6K8X1DRSEkrbYQ+OB+v8/uX45NBwY8rp65F6Glur8I/mlVNgF6W/qTI37m40",
        );
        let digest = "72d7b62976ce06438e9c0bf319013cf801f09ecc84b8d7e9495f27e305c6a9b0563a9b5f4d288405c3008a946df983d6";
        check("example.net", &key, DigestType::Sha384, &format!("example.net. in ds 10771 14 4 {digest}"));
        // RFC 8080 §6.1.
        let key = dnskey(257, 15, "l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=");
        let digest = "3aa5ab37efce57f737fc1627013fee07bdf241bd10f3b1964ab55c78e79a304b";
        check("example.com", &key, DigestType::Sha256, &format!("example.com. in ds 3613 15 2 {digest}"));
        assert_eq!(
            dnskey_record(&Name::parse("example.com").unwrap(), &key),
            "example.com. IN DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4="
        );
    }
}
