//! Ports and checks of an instance once the service's defaults are in: what is probed, and whether it can be.

use std::net::IpAddr;

use crate::model::{Check, FieldError, Instance, Label, Port, Ports, Protocol, Service};

/// What is probed of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Probing {
    /// Where probes go: the first registered address.
    pub address: IpAddr,
    /// Each check and its port number; empty: nothing is probed.
    pub checks: Vec<(Check, u16)>,
}

/// The ports of an instance: its own, else the service's.
pub fn ports<'a>(service: &'a Service, instance: &'a Instance) -> &'a Ports {
    if instance.ports.is_empty() { &service.fields.ports } else { &instance.ports }
}

/// The checks of an instance: its own, else the service's.
pub(super) fn checks<'a>(service: &'a Service, instance: &'a Instance) -> &'a [Check] {
    instance.checks.as_deref().unwrap_or(&service.fields.checks)
}

/// The default port of an instance: the one that the service names, else the instance's only one.
pub fn default_port<'a>(service: &'a Service, instance: &'a Instance) -> Option<(&'a Label, Port)> {
    let ports = ports(service, instance);
    match &service.fields.default_port {
        Some(name) => ports.get_key_value(name).map(|(name, port)| (name, *port)),
        None if ports.len() == 1 => ports.first_key_value().map(|(name, port)| (name, *port)),
        None => None,
    }
}

/// What is probed of an instance; a check whose port cannot be told is left out, which `validate` has refused before.
pub fn probing(service: &Service, instance: &Instance) -> Option<Probing> {
    let checks: Vec<_> =
        checks(service, instance).iter().filter_map(|check| Some((check.clone(), port_of(check, service, instance).ok()?))).collect();
    match (checks.is_empty(), instance.addresses.first()) {
        (false, Some(address)) => Some(Probing { address, checks }),
        _ => None,
    }
}

/// Refuses checks that have nowhere to go, and says which field is wrong: the instance's own check, or the ports that the service's
/// checks need.
pub(super) fn validate(service: &Service, instance: &Instance) -> Result<(), FieldError> {
    for (n, check) in checks(service, instance).iter().enumerate() {
        port_of(check, service, instance).map_err(|expected| match instance.checks {
            Some(_) => FieldError::new(format!("checks[{n}].port"), expected),
            None => FieldError::new("ports", format!("the service's check \"{}\" needs one: {expected}", check.describe())),
        })?;
    }
    Ok(())
}

/// The number of the port that a check goes to.
fn port_of(check: &Check, service: &Service, instance: &Instance) -> Result<u16, String> {
    let ports = ports(service, instance);
    let known = || match ports.is_empty() {
        true => "it has no ports".to_string(),
        false => format!("its ports are {}", list(ports.keys())),
    };
    let found = match &check.port {
        Some(name) => ports.get(name).map(|port| (name, *port)).ok_or_else(|| format!("the instance has no port {name}; {}", known())),
        None => default_port(service, instance).ok_or_else(|| {
            let default = service.fields.default_port.as_ref().map(|name| format!("named {name} "));
            format!("say which port to probe: the instance has no default port {}and {}", default.unwrap_or_default(), known())
        }),
    };
    match found? {
        (_, Port { number, protocol: Protocol::Tcp }) => Ok(number),
        (name, _) => Err(format!("a probe needs a TCP port, and {name} is UDP")),
    }
}

/// The first names of a list, for people.
pub(super) fn list<'a>(names: impl Iterator<Item = &'a Label>) -> String {
    const MOST: usize = 20;
    let mut names = names.peekable();
    let mut text: Vec<&str> = names.by_ref().take(MOST).map(Label::as_str).collect();
    if names.peek().is_some() {
        text.push("…");
    }
    text.join(", ")
}
