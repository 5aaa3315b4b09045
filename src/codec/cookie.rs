//! The COOKIE option (RFC 7873 §4).

use super::{Full, Writer, code};

/// A COOKIE option as it stands in a query, its length checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookie<'m> {
    /// What the client made up: it comes back as it is.
    pub client: [u8; 8],
    /// What a server gave the client before, 8–32 octets; empty where it has nothing yet.
    pub server: &'m [u8],
}

impl<'m> Cookie<'m> {
    /// Octets of an option with a server cookie of RFC 9018, its head included.
    pub const LENGTH: usize = 4 + 8 + 16;

    /// Reads the option's data; `None` where it has neither 8 nor 16–40 octets (RFC 7873 §5.2.2).
    pub fn parse(data: &'m [u8]) -> Option<Cookie<'m>> {
        let (client, server) = data.split_first_chunk::<8>()?;
        matches!(server.len(), 0 | 8..=32).then_some(Cookie { client: *client, server })
    }

    /// Writes the option of a reply.
    pub fn write(writer: &mut Writer<'_>, client: &[u8; 8], server: &[u8; 16]) -> Result<(), Full> {
        writer.u16(code::option::COOKIE)?;
        writer.u16(24)?;
        writer.put(client)?;
        writer.put(server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_has_8_or_16_to_40_octets() {
        let octets: Vec<u8> = (0..64).collect();
        for length in 0..octets.len() {
            let read = Cookie::parse(&octets[..length]);
            assert_eq!(read.is_some(), length == 8 || (16..=40).contains(&length), "{length}");
            if let Some(cookie) = read {
                assert_eq!((&cookie.client[..], cookie.server), octets[..length].split_at(8));
            }
        }
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer);
        Cookie::write(&mut writer, &[7; 8], &[9; 16]).unwrap();
        assert_eq!(writer.position(), Cookie::LENGTH);
        assert_eq!(&buffer[..6], &[0, 10, 0, 24, 7, 7]);
    }
}
