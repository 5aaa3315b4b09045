//! The client subnet option (RFC 7871 §6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Full, Writer, code};

/// A client's subnet as a resolver sent it, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientSubnet<'m> {
    family: u16,
    source: u8,
    address: &'m [u8],
}

/// Why a client subnet is malformed: the query is answered with FORMERR (RFC 7871 §7.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
pub enum SubnetFault {
    /// Fewer octets than the fixed part.
    Short,
    /// Neither IPv4 nor IPv6.
    Family,
    /// More bits than an address has.
    Source,
    /// A scope in a query.
    Scope,
    /// Not exactly the octets that the source prefix needs.
    Length,
    /// Bits behind the source prefix.
    Bits,
    /// The option stands twice.
    Twice,
}

impl SubnetFault {
    /// The fault in a few words, as extended errors carry it.
    pub fn reason(self) -> &'static str {
        match self {
            SubnetFault::Short => "ECS: shorter than 4 octets",
            SubnetFault::Family => "ECS: family is neither 1 nor 2",
            SubnetFault::Source => "ECS: source prefix longer than the address",
            SubnetFault::Scope => "ECS: scope is not 0 in a query",
            SubnetFault::Length => "ECS: address octets do not match the source prefix",
            SubnetFault::Bits => "ECS: bits behind the source prefix are not 0",
            SubnetFault::Twice => "ECS: more than one option",
        }
    }
}

impl<'m> ClientSubnet<'m> {
    /// Reads the option's data as it stands in a query.
    pub fn parse(data: &'m [u8]) -> Result<ClientSubnet<'m>, SubnetFault> {
        let (fixed, address) = data.split_first_chunk::<4>().ok_or(SubnetFault::Short)?;
        let [_, _, source, scope] = *fixed;
        let family = u16::from_be_bytes([fixed[0], fixed[1]]);
        let longest = match family {
            1 => 32,
            2 => 128,
            // `dig +subnet=0` says "no address at all" with family 0, which BIND takes too.
            0 => 0,
            _ => return Err(SubnetFault::Family),
        };
        if source > longest {
            return Err(if family == 0 { SubnetFault::Family } else { SubnetFault::Source });
        }
        if scope != 0 {
            return Err(SubnetFault::Scope);
        }
        if address.len() != usize::from(source.div_ceil(8)) {
            return Err(SubnetFault::Length);
        }
        if let Some(last) = address.last().filter(|_| source % 8 != 0)
            && last & (0xff >> (source % 8)) != 0
        {
            return Err(SubnetFault::Bits);
        }
        Ok(ClientSubnet { family, source, address })
    }

    /// The source prefix length; 0: the client wants its address left out (RFC 7871 §7.1.2).
    pub fn source(&self) -> u8 {
        self.source
    }

    /// The first address of the subnet; `None` where the source prefix length is 0.
    pub fn client(&self) -> Option<IpAddr> {
        if self.source == 0 {
            return None;
        }
        match (self.family, self.address) {
            // What nearly all resolvers send, without a loop.
            (1, [a, b, c]) => Some(Ipv4Addr::new(*a, *b, *c, 0).into()),
            (1, octets) => Some(Ipv4Addr::from(padded(octets)).into()),
            (_, octets) => Some(Ipv6Addr::from(padded(octets)).into()),
        }
    }

    /// Octets of the option in a reply, its head included.
    pub fn length(&self) -> usize {
        8 + self.address.len()
    }

    /// Writes the option into a reply: family, source and address as they came, and the scope (RFC 7871 §7.2.1).
    pub fn write(&self, writer: &mut Writer<'_>, scope: u8) -> Result<(), Full> {
        let ([c0, c1], [f0, f1]) = (code::option::SUBNET.to_be_bytes(), self.family.to_be_bytes());
        // At most 16 octets.
        let length = 4 + self.address.len() as u8;
        if let [a, b, c] = *self.address {
            return writer.put(&[c0, c1, 0, length, f0, f1, self.source, scope, a, b, c]);
        }
        writer.put(&[c0, c1, 0, length, f0, f1, self.source, scope])?;
        writer.put(self.address)
    }
}

/// An address with zeros behind those of its octets that came.
fn padded<const OCTETS: usize>(octets: &[u8]) -> [u8; OCTETS] {
    let mut address = [0; OCTETS];
    address.iter_mut().zip(octets).for_each(|(to, from)| *to = *from);
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_are_checked_to_the_bit() {
        let check = |data: &[u8], expected: Result<(u8, Option<&str>), SubnetFault>| {
            let found = ClientSubnet::parse(data).map(|s| (s.source(), s.client()));
            assert_eq!(found, expected.map(|(source, client)| (source, client.map(|c| c.parse().unwrap()))), "{data:?}");
        };
        check(&[0, 1, 24, 0, 203, 0, 113], Ok((24, Some("203.0.113.0"))));
        check(&[0, 1, 32, 0, 203, 0, 113, 9], Ok((32, Some("203.0.113.9"))));
        check(&[0, 1, 21, 0, 203, 0, 112], Ok((21, Some("203.0.112.0"))));
        check(&[0, 2, 48, 0, 0x20, 1, 0xd, 0xb8, 0, 7], Ok((48, Some("2001:db8:7::"))));
        check(&[0, 1, 0, 0], Ok((0, None)));
        check(&[0, 2, 0, 0], Ok((0, None)));
        check(&[0, 0, 0, 0], Ok((0, None)));
        check(&[0, 1, 0], Err(SubnetFault::Short));
        check(&[0, 3, 0, 0], Err(SubnetFault::Family));
        check(&[0, 0, 8, 0, 1], Err(SubnetFault::Family));
        check(&[0, 1, 33, 0, 1, 2, 3, 4, 0], Err(SubnetFault::Source));
        check(&[0, 2, 129, 0], Err(SubnetFault::Source));
        check(&[0, 1, 24, 24, 203, 0, 113], Err(SubnetFault::Scope));
        check(&[0, 1, 24, 0, 203, 0], Err(SubnetFault::Length));
        check(&[0, 1, 24, 0, 203, 0, 113, 0], Err(SubnetFault::Length));
        check(&[0, 1, 0, 0, 1], Err(SubnetFault::Length));
        check(&[0, 1, 20, 0, 203, 0, 113], Err(SubnetFault::Bits));
    }

    #[test]
    fn a_reply_echoes_what_came_and_adds_the_scope() {
        let subnet = ClientSubnet::parse(&[0, 1, 21, 0, 203, 0, 112]).unwrap();
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer);
        subnet.write(&mut writer, 17).unwrap();
        assert_eq!(writer.position(), subnet.length());
        assert_eq!(&buffer[..11], &[0, 8, 0, 7, 0, 1, 21, 17, 203, 0, 112]);
    }
}
