//! Ports of instances, by name.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::Label;
use super::unrepeated::unrepeated;

/// Transport protocol of a port: the second label of an SRV owner name (RFC 2782).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// `_tcp`
    Tcp,
    /// `_udp`
    Udp,
}

/// A port: `8080`, or `"53/udp"`; 1–65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "PortText", into = "PortText")]
pub struct Port {
    /// 1–65535.
    pub number: u16,
    /// TCP unless said otherwise.
    pub protocol: Protocol,
}

/// How a [`Port`] is written: a number, or a text with the protocol behind a slash.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged, expecting = "a port is a number from 1 to 65535, or a text such as \"53/udp\"")]
pub(super) enum PortText {
    Number(u64),
    Text(String),
}

impl TryFrom<PortText> for Port {
    type Error = String;
    fn try_from(text: PortText) -> Result<Port, String> {
        let (number, protocol) = match &text {
            PortText::Number(number) => (Some(*number), Protocol::Tcp),
            PortText::Text(text) => match text.split_once('/') {
                None => (text.parse().ok(), Protocol::Tcp),
                Some((number, "tcp")) => (number.parse().ok(), Protocol::Tcp),
                Some((number, "udp")) => (number.parse().ok(), Protocol::Udp),
                Some(_) => (None, Protocol::Tcp),
            },
        };
        match number.and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0) {
            Some(number) => Ok(Port { number, protocol }),
            None => Err("a port is a number from 1 to 65535, or a text such as \"53/udp\"".into()),
        }
    }
}

impl From<Port> for PortText {
    fn from(port: Port) -> PortText {
        match port.protocol {
            Protocol::Tcp => PortText::Number(port.number.into()),
            Protocol::Udp => PortText::Text(format!("{}/udp", port.number)),
        }
    }
}

/// Ports by name, in the order of the names. Most instances have one, which lies in it: a node of a tree of one port takes 250 octets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(into = "BTreeMap<Label, Port>")]
pub struct Ports(Named);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Named {
    #[default]
    None,
    One([(Label, Port); 1]),
    Many(Box<[(Label, Port)]>),
}

impl Ports {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.all().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Label, &Port)> + Clone {
        self.all().iter().map(|(name, port)| (name, port))
    }

    /// Their names.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Label> + Clone {
        self.all().iter().map(|(name, _)| name)
    }

    /// The port of that name.
    pub fn get(&self, name: &Label) -> Option<&Port> {
        self.get_key_value(name).map(|(_, port)| port)
    }

    /// The port of that name, with its name.
    pub fn get_key_value(&self, name: &Label) -> Option<(&Label, &Port)> {
        self.iter().find(|(known, _)| *known == name)
    }

    /// Whether there is a port of that name.
    pub fn contains_key(&self, name: &Label) -> bool {
        self.get(name).is_some()
    }

    /// The first one by name.
    pub fn first_key_value(&self) -> Option<(&Label, &Port)> {
        self.iter().next()
    }

    fn all(&self) -> &[(Label, Port)] {
        match &self.0 {
            Named::None => &[],
            Named::One(one) => one,
            Named::Many(many) => many,
        }
    }
}

impl From<BTreeMap<Label, Port>> for Ports {
    fn from(ports: BTreeMap<Label, Port>) -> Ports {
        let mut ports: Vec<(Label, Port)> = ports.into_iter().collect();
        Ports(match (ports.pop(), ports.is_empty()) {
            (None, _) => Named::None,
            (Some(one), true) => Named::One([one]),
            (Some(last), false) => {
                ports.push(last);
                Named::Many(ports.into())
            }
        })
    }
}

impl<'de> Deserialize<'de> for Ports {
    /// Names are the same in upper and lower case; one that stands twice is refused.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ports, D::Error> {
        unrepeated::<BTreeMap<Label, Port>, D>(deserializer).map(Ports::from)
    }
}

impl From<Ports> for BTreeMap<Label, Port> {
    fn from(ports: Ports) -> BTreeMap<Label, Port> {
        ports.iter().map(|(name, port)| (name.clone(), *port)).collect()
    }
}

impl<'a> IntoIterator for &'a Ports {
    type Item = (&'a Label, &'a Port);
    type IntoIter = std::iter::Map<std::slice::Iter<'a, (Label, Port)>, fn(&'a (Label, Port)) -> (&'a Label, &'a Port)>;
    fn into_iter(self) -> Self::IntoIter {
        self.all().iter().map(|(name, port)| (name, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers_or_texts_with_a_protocol() {
        let read = |json: &str| serde_json::from_str::<Port>(json).map(|p| (p.number, p.protocol));
        assert_eq!(read("8080").unwrap(), (8080, Protocol::Tcp));
        assert_eq!(read("\"53/udp\"").unwrap(), (53, Protocol::Udp));
        for wrong in ["0", "65536", "\"53/sctp\"", "\"\"", "-1", "true"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn any_number_of_ports_is_read_as_it_is_written() {
        assert_eq!(size_of::<Ports>(), 24);
        for (json, names) in [("{}", vec![]), (r#"{"b":1}"#, vec!["b"]), (r#"{"a":"53/udp","b":1,"c":2}"#, vec!["a", "b", "c"])] {
            let ports: Ports = serde_json::from_str(json).unwrap();
            assert_eq!(ports.keys().map(Label::as_str).collect::<Vec<_>>(), names);
            assert_eq!(
                (ports.len(), ports.is_empty(), serde_json::to_string(&ports).unwrap().as_str()),
                (names.len(), names.is_empty(), json)
            );
            for name in names {
                assert!(ports.contains_key(&Label::parse(name).unwrap()) && !ports.contains_key(&Label::parse("x").unwrap()));
            }
        }
    }
}
