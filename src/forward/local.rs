//! Names that no upstream is asked for, as every server knows what they are: `localhost.`, `invalid.` and `onion.`

use super::message::Stored;
use super::question::Question;
use crate::codec::Header;
use crate::codec::code::{CLASS_IN, rcode, rtype};

/// How long clients may keep what is said, in seconds: it never changes.
const TTL: u32 = 86_400;

/// What is said of a name that nobody is asked for; `None`: somebody is.
pub(super) fn answer(question: &Question) -> Option<Stored> {
    const LOCALHOST: &[u8] = b"\x09localhost\0";
    // RFC 6761 §6.4, RFC 7686 §2: they do not exist, and nobody is to learn that they were asked for.
    const NOWHERE: [&[u8]; 2] = [b"\x07invalid\0", b"\x05onion\0"];
    let apex = std::iter::successors(Some(&*question.name), |name| name.get(1 + usize::from(*name.first()?)..))
        .find(|name| *name == LOCALHOST || NOWHERE.contains(name))?;
    let address: &[u8] = match question.qtype {
        // RFC 6761 §6.3: they are the host that asks, whatever stands before them.
        rtype::A if apex == LOCALHOST => &[127, 0, 0, 1],
        rtype::AAAA if apex == LOCALHOST => &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        _ => &[],
    };
    let code = if apex == LOCALHOST { rcode::NOERROR } else { rcode::NXDOMAIN };
    let (answers, authority) = if address.is_empty() { (0, 1) } else { (1, 0) };
    let mut octets = question.opening();
    octets[..12].copy_from_slice(&Header { id: 0, flags: Header::QR | code, counts: [1, answers, authority, 0].into() }.octets());
    let mut record = |owner: &[u8], rtype: u16, data: &[u8]| {
        octets.extend(owner);
        octets.extend(rtype.to_be_bytes());
        octets.extend(CLASS_IN.to_be_bytes());
        octets.extend(TTL.to_be_bytes());
        octets.extend((data.len() as u16).to_be_bytes());
        octets.extend(data);
    };
    match address {
        // RFC 2308 §5: how long it may be kept that there is nothing.
        [] => {
            let numbers = [1, 28_800, 7_200, 604_800, TTL];
            let data: Vec<u8> = [apex, b"\0"].concat().into_iter().chain(numbers.into_iter().flat_map(u32::to_be_bytes)).collect();
            record(apex, rtype::SOA, &data);
        }
        // The question's name.
        address => record(b"\xc0\x0c", question.qtype, address),
    }
    Stored::read(&octets, question).ok()
}
