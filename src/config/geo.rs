//! The geo folder: `regions.toml`, `networks.toml`, `latency.toml` and the user's databases.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;

use super::document::{Document, Item};
use super::finding::{Finding, Notes};
use super::sources::Source;
use super::{databases, suggest};
use crate::model::{Code, Coordinates, Geo, Label, Place, Region};

const FILES: [&str; 3] = ["regions.toml", "networks.toml", "latency.toml"];

/// Reads the folder; nothing where it does not exist. With `last`, its texts come from there, and the databases from the folder all the same.
/// Returns what was read of it as well.
pub(super) fn read(dir: &Path, last: Option<&Arc<Source>>, notes: &mut Notes) -> (Geo, Arc<Source>) {
    let (mut geo, mut source) = (Geo::default(), Source::default());
    let mut names: Vec<String> = match std::fs::read_dir(dir) {
        Ok(entries) => entries.flatten().filter_map(|e| e.file_name().into_string().ok()).filter(|n| !n.starts_with('.')).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            notes.findings.push(Finding::of_file(dir.display().to_string(), error.to_string()));
            return (geo, source.into());
        }
    };
    names.sort();
    for name in names.iter().filter(|n| last.is_none() && n.ends_with(".toml") && !FILES.contains(&n.as_str())) {
        // It is part of what is wrong with the folder.
        _ = source.fetch(&dir.join(name));
        let reason = format!("is not read; {}", suggest::instead_of(name, FILES));
        notes.findings.push(Finding::of_file(dir.join(name).display().to_string(), reason));
    }
    // Regions first: the other files refer to them.
    for file in FILES {
        let path = dir.join(file);
        let shown = path.display().to_string();
        let text = match last {
            Some(last) if last.has(&path) => last.recall(&path),
            None if names.iter().any(|n| n == file) => source.fetch(&path),
            _ => continue,
        };
        let text = match text {
            Ok(text) => text,
            Err(error) => {
                notes.findings.push(Finding::of_file(shown, error.to_string()));
                continue;
            }
        };
        match Document::parse(&shown, &text) {
            Err(findings) => notes.findings.extend(findings),
            Ok(document) => match file {
                "regions.toml" => geo.regions = regions(&document.root(), notes),
                "networks.toml" => geo.networks = networks(&document.root(), &geo, notes),
                _ => latency(&document.root(), &mut geo, notes),
            },
        }
    }
    let databases = names.iter().filter(|n| n.ends_with(".mmdb")).map(|n| dir.join(n));
    geo.database = databases::read(databases, notes).into();
    (geo, last.cloned().unwrap_or_else(|| source.into()))
}

/// Whether a file of this name is read: what the watch looks at.
pub(super) fn is_read(name: &str) -> bool {
    !name.starts_with('.') && (name.ends_with(".toml") || name.ends_with(".mmdb"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegionFields {
    latitude: Option<f64>,
    longitude: Option<f64>,
    #[serde(default)]
    azs: Vec<Label>,
    capacity: Option<u8>,
}

fn regions(root: &Item<'_>, notes: &mut Notes) -> Option<BTreeMap<Label, Region>> {
    root.only_keys(&["regions"], &mut notes.findings);
    let mut regions = BTreeMap::new();
    let entries = root.get("regions").and_then(|r| r.entries()).unwrap_or_default();
    for (name, item) in entries {
        let label = match Label::parse(name) {
            Ok(label) => label,
            Err(error) => {
                notes.findings.push(item.finding("", error.to_string()));
                continue;
            }
        };
        // A region that is wrong is still known: one mistake makes one finding.
        let mut region = Region::default();
        if let Some(fields) = item.read::<RegionFields>(&[], &mut notes.findings) {
            region.coordinates = coordinates(&item, fields.latitude, fields.longitude, notes);
            for (n, az) in fields.azs.iter().enumerate().filter(|(n, az)| fields.azs[..*n].contains(az)) {
                notes.findings.push(item.finding(&format!("azs[{n}]"), format!("{az} stands twice")));
            }
            region.azs = fields.azs;
            if let Some(capacity) = fields.capacity.filter(|percent| !(1..=100).contains(percent)) {
                notes.findings.push(item.finding("capacity", format!("1 to 100 percent of a name's clients, not {capacity}")));
            }
            region.capacity = fields.capacity;
        }
        if regions.insert(label, region).is_some() {
            notes.findings.push(item.finding("", "stands twice: names are the same in upper and lower case"));
        }
    }
    if regions.is_empty() {
        notes.warnings.push(root.finding("", "declares no region, so regions are made on use, as without this file"));
        return None;
    }
    Some(regions)
}

fn coordinates(item: &Item<'_>, latitude: Option<f64>, longitude: Option<f64>, notes: &mut Notes) -> Option<Coordinates> {
    let (latitude, longitude) = match (latitude, longitude) {
        (Some(latitude), Some(longitude)) => (latitude, longitude),
        (None, None) => return None,
        (Some(_), None) => {
            notes.findings.push(item.finding("latitude", "goes with `longitude`"));
            return None;
        }
        (None, Some(_)) => {
            notes.findings.push(item.finding("longitude", "goes with `latitude`"));
            return None;
        }
    };
    let mut fits = true;
    for (field, value, most) in [("latitude", latitude, 90.0), ("longitude", longitude, 180.0)] {
        if !(-most..=most).contains(&value) {
            notes.findings.push(item.finding(field, format!("-{most} to {most} degrees, not {value}")));
            fits = false;
        }
    }
    fits.then_some(Coordinates { latitude, longitude })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkFields {
    cidr: String,
    region: Option<Label>,
    az: Option<Label>,
    continent: Option<Code>,
    country: Option<Code>,
    subdivision: Option<String>,
    latitude: Option<f64>,
    longitude: Option<f64>,
    asn: Option<u32>,
}

fn networks(root: &Item<'_>, geo: &Geo, notes: &mut Notes) -> Vec<(IpNet, Place)> {
    root.only_keys(&["network"], &mut notes.findings);
    let mut networks: Vec<(IpNet, Place)> = Vec::new();
    for item in tables(root, "network", notes) {
        let Some(fields) = item.read::<NetworkFields>(&[], &mut notes.findings) else { continue };
        let cidr = cidr(&item, &fields.cidr, networks.iter().map(|(c, _)| c), notes);
        let place = place(&item, fields, geo, notes);
        if let Some(cidr) = cidr {
            networks.push((cidr, place));
        }
    }
    networks
}

fn place(item: &Item<'_>, fields: NetworkFields, geo: &Geo, notes: &mut Notes) -> Place {
    let mut place = Place {
        coordinates: coordinates(item, fields.latitude, fields.longitude, notes),
        region: fields.region,
        az: fields.az,
        continent: fields.continent,
        country: fields.country,
        subdivision: None,
        asn: fields.asn,
    };
    match (&place.region, &place.az) {
        (None, Some(_)) => notes.findings.push(item.finding("az", "goes with `region`: an az is known within its region")),
        (Some(region), az) => {
            if let Err((field, reason)) = known_place(geo, region, az.as_ref()) {
                notes.findings.push(item.finding(field, reason));
            }
        }
        (None, None) => {}
    }
    if let Some(code) = place.continent.filter(|c| !matches!(c.as_str(), "AF" | "AN" | "AS" | "EU" | "NA" | "OC" | "SA")) {
        notes.findings.push(item.finding("continent", format!("one of AF, AN, AS, EU, NA, OC, SA, not {code}")));
    }
    if let Some(Err(reason)) = place.country.map(Code::country) {
        notes.findings.push(item.finding("country", reason));
    }
    if let Some(text) = &fields.subdivision {
        let parts = text.split_once('-').and_then(|(country, part)| Some((Code::parse(country).ok()?, Code::parse(part).ok()?)));
        match parts {
            Some((country, part)) if place.country.is_none_or(|c| c == country) => {
                if let (None, Err(reason)) = (place.country, country.country()) {
                    notes.findings.push(item.finding("subdivision", reason));
                }
                (place.country, place.subdivision) = (Some(country), Some(part));
            }
            Some((country, _)) => {
                notes.findings.push(item.finding("subdivision", format!("is in {country}, and `country` says otherwise")));
            }
            None => notes.findings.push(item.finding("subdivision", format!("an ISO 3166-2 code such as US-MA, not {text:?}"))),
        }
    }
    if place == Place::default() && fields.latitude.is_none() && fields.longitude.is_none() {
        let reason = "says nothing about the network: add region (and az), country, continent, asn, or latitude and longitude";
        notes.findings.push(item.finding("", reason));
    }
    place
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PinFields {
    cidr: String,
}

fn latency(root: &Item<'_>, geo: &mut Geo, notes: &mut Notes) {
    root.only_keys(&["rtt_ms", "pin"], &mut notes.findings);
    for (from, item) in root.get("rtt_ms").map(|table| entries(&table, notes)).unwrap_or_default() {
        let Some(from) = region(&item, from, geo, notes) else { continue };
        for (to, item) in entries(&item, notes) {
            if let (Some(to), Some(millis)) = (region(&item, to, geo, notes), millis(&item, notes)) {
                geo.rtt_ms.insert((from.clone(), to), millis);
            }
        }
    }
    for item in tables(root, "pin", notes) {
        let Some(fields) = item.read::<PinFields>(&["rtt_ms"], &mut notes.findings) else { continue };
        let Some(table) = item.get("rtt_ms") else {
            notes.findings.push(item.finding("rtt_ms", "is missing: milliseconds to each region, such as { eu-west = 12.0 }"));
            continue;
        };
        let mut rtt_ms = BTreeMap::new();
        for (to, item) in entries(&table, notes) {
            if let (Some(to), Some(millis)) = (region(&item, to, geo, notes), millis(&item, notes)) {
                rtt_ms.insert(to, millis);
            }
        }
        if let Some(cidr) = cidr(&item, &fields.cidr, geo.pins.iter().map(|(c, _)| c), notes) {
            geo.pins.push((cidr, rtt_ms));
        }
    }
}

/// The entries of a table, or a finding that it is none.
fn entries<'d>(item: &Item<'d>, notes: &mut Notes) -> Vec<(&'d str, Item<'d>)> {
    item.entries().unwrap_or_else(|| {
        notes.findings.push(item.finding("", "a table is expected here, such as { us-east = 78.0 }"));
        Vec::new()
    })
}

/// The elements of `[[name]]`, or a finding that it is written otherwise.
fn tables<'d>(root: &Item<'d>, name: &str, notes: &mut Notes) -> Vec<Item<'d>> {
    let Some(item) = root.get(name) else { return Vec::new() };
    item.elements().unwrap_or_else(|| {
        notes.findings.push(item.finding("", format!("each one is written as [[{name}]]")));
        Vec::new()
    })
}

fn region(item: &Item<'_>, name: &str, geo: &Geo, notes: &mut Notes) -> Option<Label> {
    let known = Label::parse(name).map_err(|e| e.to_string()).and_then(|label| match known_place(geo, &label, None) {
        Ok(()) => Ok(label),
        Err((_, reason)) => Err(reason),
    });
    known.map_err(|reason| notes.findings.push(item.finding("", reason))).ok()
}

fn millis(item: &Item<'_>, notes: &mut Notes) -> Option<f64> {
    let millis: f64 = item.read(&[], &mut notes.findings)?;
    // Half a minute around the earth is no network that anyone routes to.
    if !(0.0..=30_000.0).contains(&millis) {
        notes.findings.push(item.finding("", format!("0 to 30000 milliseconds, not {millis}")));
        return None;
    }
    Some(millis)
}

fn cidr<'c>(item: &Item<'_>, text: &str, mut seen: impl Iterator<Item = &'c IpNet>, notes: &mut Notes) -> Option<IpNet> {
    let parsed = match text.parse::<IpNet>() {
        Ok(net) if net.addr() != net.network() => Err(format!("{net} has bits behind its prefix; did you mean {}?", net.trunc())),
        Ok(net) if seen.any(|s| *s == net) => Err(format!("{net} stands twice")),
        Ok(net) => Ok(net),
        Err(_) => Err(format!("a network such as 192.0.2.0/24 or 2001:db8::/32 is expected, not {text:?}")),
    };
    parsed.map_err(|reason| notes.findings.push(item.finding("cidr", reason))).ok()
}

/// Whether a region, and an az in it, are declared; where no regions are, everything is. The error has the field and the reason.
pub(super) fn known_place(geo: &Geo, region: &Label, az: Option<&Label>) -> Result<(), (&'static str, String)> {
    let Some(regions) = &geo.regions else { return Ok(()) };
    let Some(found) = regions.get(region) else {
        let reason = format!(
            "there is no region {region} in regions.toml; {}",
            suggest::instead_of(region.as_str(), regions.keys().map(Label::as_str))
        );
        return Err(("region", reason));
    };
    match az {
        Some(az) if !found.azs.is_empty() && !found.azs.contains(az) => {
            let azs = found.azs.iter().map(Label::as_str);
            Err(("az", format!("region {region} has no az {az} in regions.toml; {}", suggest::instead_of(az.as_str(), azs))))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_files(files: &[(&str, &str)]) -> (Geo, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let mut notes = Notes::default();
        let (geo, _) = read(dir.path(), None, &mut notes);
        let prefix = format!("{}/", dir.path().display());
        notes.findings.sort();
        (geo, notes.findings.iter().map(|f| f.to_string().replace(&prefix, "")).collect())
    }

    const REGIONS: &str = "[regions.eu-west]\nlatitude = 53.3\nlongitude = -6.3\nazs = [\"1a\"]\n[regions.us-east]\n";

    #[test]
    fn the_design_s_files_are_read() {
        let networks = "[[network]]\ncidr = \"10.1.0.0/16\"\nregion = \"eu-west\"\naz = \"1a\"\n\
                        [[network]]\ncidr = \"2001:db8::/32\"\nsubdivision = \"us-ma\"\nasn = 64500\n";
        let latency =
            "[rtt_ms]\neu-west = { us-east = 78.0 }\n[[pin]]\ncidr = \"198.51.100.0/24\"\nrtt_ms = { eu-west = 12, us-east = 95.0 }\n";
        let (geo, findings) = read_files(&[("regions.toml", REGIONS), ("networks.toml", networks), ("latency.toml", latency)]);
        assert_eq!(findings, [""; 0]);
        let label = |text| Label::parse(text).unwrap();
        let regions = geo.regions.unwrap();
        assert_eq!(regions[&label("eu-west")].coordinates, Some(Coordinates { latitude: 53.3, longitude: -6.3 }));
        assert_eq!(regions[&label("us-east")], Region::default());
        assert_eq!(geo.networks[0].1.az, Some(label("1a")));
        assert_eq!((geo.networks[1].1.country, geo.networks[1].1.subdivision), (Code::parse("US").ok(), Code::parse("MA").ok()));
        assert_eq!(geo.rtt_ms[&(label("eu-west"), label("us-east"))], 78.0);
        assert_eq!(geo.pins[0].1[&label("eu-west")], 12.0);
    }

    #[test]
    fn what_is_wrong_is_said_by_line() {
        let check = |file: &str, text: &str, expected: &[&str]| {
            let mut files = vec![("regions.toml", REGIONS)];
            files.retain(|(name, _)| *name != file);
            files.push((file, text));
            assert_eq!(read_files(&files).1, expected, "{file}\n{text}");
        };
        check(
            "regions.toml",
            "[regions.a]\nlatitude = 91\nlongitude = 0\n[regions.b]\nlatitude = 1\n[regions.c]\nazs = [\"x\", \"X\"]\nazzs = []\n[region.d]\n",
            &[
                "regions.toml:2: regions.a.latitude: -90 to 90 degrees, not 91",
                "regions.toml:5: regions.b.latitude: goes with `longitude`",
                "regions.toml:8: regions.c.azzs: unknown key; did you mean `azs`?",
                "regions.toml:9: region: unknown key; did you mean `regions`?",
            ],
        );
        check(
            "networks.toml",
            "[[network]]\ncidr = \"10.0.0.1/8\"\nregion = \"eu-wset\"\n\n[[network]]\ncidr = \"10.0.0.0/8\"\nregion = \"eu-west\"\naz = \"1b\"\n\
             [[network]]\ncidr = \"10.0.0.0/8\"\n[[network]]\ncidr = \"x\"\nasn = \"AS1\"\n",
            &[
                "networks.toml:2: network[0].cidr: 10.0.0.1/8 has bits behind its prefix; did you mean 10.0.0.0/8?",
                "networks.toml:3: network[0].region: there is no region eu-wset in regions.toml; did you mean `eu-west`?",
                "networks.toml:8: network[1].az: region eu-west has no az 1b in regions.toml; did you mean `1a`?",
                "networks.toml:9: network[2]: says nothing about the network: add region (and az), country, continent, asn, or latitude and longitude",
                "networks.toml:10: network[2].cidr: 10.0.0.0/8 stands twice",
                "networks.toml:13: network[3].asn: a whole number from 0 to 4294967295 is expected, not the text \"AS1\"",
            ],
        );
        check(
            "networks.toml",
            "[[network]]\ncidr = \"10.0.0.0/8\"\ncountry = \"UK\"\n[[network]]\ncidr = \"10.1.0.0/16\"\nsubdivision = \"UK-ENG\"\n",
            &[
                "networks.toml:3: network[0].country: UK is no ISO 3166-1 code; GB is the code of the United Kingdom",
                "networks.toml:6: network[1].subdivision: UK is no ISO 3166-1 code; GB is the code of the United Kingdom",
            ],
        );
        check(
            "latency.toml",
            "[rtt_ms]\neu-west = { us-esat = 78.0,\nus-east = -1 }\n[[pin]]\ncidr = \"10.0.0.0/8\"\n",
            &[
                "latency.toml:2: rtt_ms.eu-west.us-esat: there is no region us-esat in regions.toml; did you mean `us-east`?",
                "latency.toml:3: rtt_ms.eu-west.us-east: 0 to 30000 milliseconds, not -1",
                "latency.toml:4: pin[0].rtt_ms: is missing: milliseconds to each region, such as { eu-west = 12.0 }",
            ],
        );
        check("network.toml", "", &["network.toml: is not read; did you mean `networks.toml`?"]);
    }
}
