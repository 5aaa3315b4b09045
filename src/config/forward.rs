//! `[forward]`: who may have names looked up that are not ours, and by whom.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::document::Item;
use super::finding::Finding;
use crate::model::{FieldError, ForwardSettings, Name, Settings, Upstream};

/// The table of names with upstreams of their own.
pub(super) const ZONES: &str = "forward.zones";

/// The networks, which are never everybody.
pub(super) fn networks(networks: Vec<IpNet>) -> Result<Vec<IpNet>, FieldError> {
    let open = |network: &IpNet| network.prefix_len() == 0;
    let reason =
        |text: String| format!("{text} would let everyone on the internet have names looked up (an open resolver): name your own networks");
    if let Some((n, network)) = networks.iter().enumerate().find(|(_, network)| open(network)) {
        return Err(FieldError::new(format!("[{n}]"), reason(network.to_string())));
    }
    // The whole in parts is the whole.
    if let Some(network) = IpNet::aggregate(&networks).iter().find(|network| open(network)) {
        return Err(FieldError::new("", reason(format!("{network}, which these come to together,"))));
    }
    Ok(networks)
}

/// Upstreams of one name, or of all.
pub(super) fn upstreams(texts: &[String]) -> Result<Vec<Upstream>, FieldError> {
    if texts.len() > ForwardSettings::MOST_UPSTREAMS {
        return Err(FieldError::new(
            "",
            format!("at most {} upstreams are expected, not {}", ForwardSettings::MOST_UPSTREAMS, texts.len()),
        ));
    }
    let mut upstreams: Vec<Upstream> = Vec::new();
    for (n, text) in texts.iter().enumerate() {
        let at = |reason: String| FieldError::new(format!("[{n}]"), reason);
        let upstream = Upstream::parse(text.trim()).map_err(|error| at(error.to_string()))?;
        if upstreams.contains(&upstream) {
            return Err(at(format!("{upstream} stands twice")));
        }
        upstreams.push(upstream);
    }
    Ok(upstreams)
}

/// Takes the table of a file, entry by entry.
pub(super) fn zones(table: &Item<'_>, settings: &mut ForwardSettings, findings: &mut Vec<Finding>) {
    let Some(entries) = table.entries() else {
        findings.push(table.finding("", "a table of names is expected: \"corp.example\" = [\"10.0.0.53\"]"));
        return;
    };
    settings.zones.clear();
    for (name, item) in entries {
        let Some(texts) = item.read::<Vec<String>>(&[], findings) else { continue };
        match zone(name, &texts) {
            Ok((name, upstreams)) => _ = settings.zones.insert(name, upstreams),
            Err(error) => findings.push(item.finding(&error.field, error.expected)),
        }
    }
    if settings.zones.len() > ForwardSettings::MOST_ZONES {
        findings.push(table.finding("", format!("at most {} names are expected", ForwardSettings::MOST_ZONES)));
    }
}

/// Takes the table of a variable.
pub(super) fn zones_of_variable(value: toml::Value, settings: &mut ForwardSettings) -> Result<(), FieldError> {
    let toml::Value::Table(table) = value else {
        return Err(FieldError::new("", "a table such as { \"corp.example\" = [\"10.0.0.53\"] } is expected"));
    };
    settings.zones.clear();
    for (name, value) in table {
        let at = |reason: &str| FieldError::new(name.clone(), reason);
        let texts = value.as_array().ok_or_else(|| at("a list of upstreams is expected"))?;
        let texts: Option<Vec<String>> = texts.iter().map(|text| Some(text.as_str()?.to_string())).collect();
        let (apex, upstreams) = zone(&name, &texts.ok_or_else(|| at("a list of upstreams is expected"))?)?;
        settings.zones.insert(apex, upstreams);
    }
    Ok(())
}

fn zone(name: &str, texts: &[String]) -> Result<(Name, Vec<Upstream>), FieldError> {
    let name = Name::parse(name).map_err(|error| FieldError::new("", error.to_string()))?;
    let upstreams = upstreams(texts)?;
    if upstreams.is_empty() {
        return Err(FieldError::new("", "at least one upstream is expected"));
    }
    Ok((name, upstreams))
}

/// What does not go together: the key that is to blame, and why.
pub(super) fn contradictions(settings: &Settings, says: impl Fn(&str) -> bool) -> Vec<(&'static str, String)> {
    let forward = &settings.forward;
    let asks = !(forward.upstreams.is_empty() && forward.zones.is_empty());
    let mut found = Vec::new();
    if asks && !says("forward.networks") {
        let key = if forward.upstreams.is_empty() { ZONES } else { "forward.upstreams" };
        found.push((key, "goes with `networks`, without which nobody is looked up anything for; `networks = []` turns it off".into()));
    }
    // Where they are said and wrong, that is what is wrong.
    if !forward.networks.is_empty() && !says("forward.upstreams") && !says(ZONES) {
        found.push(("forward.networks", "goes with `upstreams` or [forward.zones]: there is nobody to ask".into()));
    }
    for upstream in forward.all() {
        if let Some(listen) = settings.dns.listen.iter().find(|listen| is_ourselves(listen, upstream.address)) {
            let key = if forward.upstreams.contains(upstream) { "forward.upstreams" } else { ZONES };
            found.push((key, format!("{upstream} is this server (dns.listen has {listen}): it would ask itself")));
        }
    }
    found
}

/// Whether what is sent to an address comes to a listener of ours.
fn is_ourselves(listen: &SocketAddr, upstream: SocketAddr) -> bool {
    let same_family = listen.is_ipv4() == upstream.is_ipv4();
    let all = listen.ip().is_unspecified() && upstream.ip().is_loopback() && same_family;
    listen.port() == upstream.port() && (listen.ip() == upstream.ip() || all)
}
