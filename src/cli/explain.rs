//! `explain`: the decision as an indented tree, the instances that take part with their expected shares, and the answer as `dig` shows it.

use serde::Deserialize;
use serde_json::Value;

use super::Page;
use super::table::{BAD, Cell, FAINT, GOOD, HEADING, ODD, Table, plain, push};
use super::views::{page as page_of, read};

/// Most regions of the client's ranking that are named.
const REGIONS_SHOWN: usize = 6;

#[derive(Debug, Deserialize)]
struct Explanation {
    name: String,
    r#type: String,
    client: String,
    generation: u64,
    origin: Origin,
    names: Vec<Name>,
    rcode: String,
    note: Option<String>,
    scope: u8,
    fail_open: bool,
    answer: Vec<Record>,
    authority: Vec<Record>,
    additional: Vec<Record>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Origin {
    scope: u8,
    region: Option<String>,
    az: Option<String>,
    continent: Option<String>,
    country: Option<String>,
    subdivision: Option<String>,
    coordinates: Option<(f64, f64)>,
    asn: Option<u32>,
    ranking: Vec<Ranked>,
}

#[derive(Debug, Deserialize)]
struct Ranked {
    region: String,
    ms: f32,
    #[serde(default)]
    source: String,
}

#[derive(Debug, Deserialize)]
struct Name {
    name: String,
    zone: Option<String>,
    file: Option<String>,
    kind: String,
    service: Option<String>,
    #[serde(default)]
    alias_of: Option<String>,
    #[serde(default)]
    narrowed: Vec<String>,
    #[serde(default)]
    steps: Vec<Step>,
    #[serde(default)]
    levels: Vec<Level>,
}

#[derive(Debug, Deserialize)]
struct Step {
    depth: usize,
    at: String,
    outcome: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Level {
    service: String,
    region: Option<String>,
    az: Option<String>,
    standing: String,
    instances: Vec<Instance>,
}

#[derive(Debug, Deserialize)]
struct Instance {
    id: String,
    region: String,
    az: String,
    standing: String,
    weight: u32,
    share: f64,
    picked: bool,
}

#[derive(Debug, Deserialize)]
struct Record {
    name: String,
    ttl: u32,
    r#type: String,
    data: String,
}

/// `explain NAME [TYPE]`
pub(super) fn page(document: Value) -> Result<Page, serde_json::Error> {
    let explanation: Explanation = read(&document)?;
    let mut text = String::new();
    push(&mut text, &plain(&format!("{} {}", explanation.name, explanation.r#type)), HEADING);
    text.push_str(&format!(" for {}", plain(&explanation.client)));
    push(&mut text, &format!(", in snapshot {}\n", explanation.generation), FAINT);
    origin(&mut text, &explanation.origin);
    for name in &explanation.names {
        text.push('\n');
        decision(&mut text, name);
    }
    text.push('\n');
    answer(&mut text, &explanation);
    Ok(page_of(document, text))
}

/// Where the client is, and which regions are near.
fn origin(text: &mut String, origin: &Origin) {
    let mut known = Vec::new();
    if let Some(region) = &origin.region {
        known.push(origin.az.iter().fold(region.clone(), |place, az| format!("{place}/{az}")));
    }
    let country = origin.country.as_ref().map(|c| origin.subdivision.iter().fold(c.clone(), |place, s| format!("{place}-{s}")));
    known.extend([country, origin.continent.clone()].into_iter().flatten());
    known.extend(origin.asn.map(|asn| format!("AS{asn}")));
    known.extend(origin.coordinates.map(|(north, east)| {
        let (latitude, longitude) = (if north < 0.0 { 'S' } else { 'N' }, if east < 0.0 { 'W' } else { 'E' });
        format!("{:.1}° {latitude} {:.1}° {longitude}", north.abs(), east.abs())
    }));
    let mut line = |name: &str, value: String| {
        push(text, &format!("  {name:<9}"), FAINT);
        text.push_str(&plain(&value));
        text.push('\n');
    };
    match known.is_empty() {
        true => line("client", "nothing is known of its place".into()),
        false => line("client", format!("{} (known for /{})", known.join(", "), origin.scope)),
    }
    if !origin.ranking.is_empty() {
        let shown = |r: &Ranked| match r.source.as_str() {
            "" => format!("{} {:.0} ms", r.region, r.ms),
            source => format!("{} {:.0} ms ({source})", r.region, r.ms),
        };
        let near: Vec<String> = origin.ranking.iter().take(REGIONS_SHOWN).map(shown).collect();
        let more = if origin.ranking.len() > REGIONS_SHOWN { ", …" } else { "" };
        line("regions", near.join(", ") + more);
    }
}

/// What one name is, and how it was decided.
fn decision(text: &mut String, name: &Name) {
    push(text, &plain(&name.name), HEADING);
    let what = match (name.kind.as_str(), &name.service) {
        ("service", Some(service)) if !name.narrowed.is_empty() => format!("service {service} where {}", name.narrowed.join(", ")),
        ("service", Some(service)) => format!("service {service}"),
        ("instance", Some(service)) => format!("an instance of service {service}"),
        ("static", _) => "static records".into(),
        ("policy", _) => "a name with a policy of its own".into(),
        ("alias", _) => format!("the addresses of {} (ALIAS)", name.alias_of.as_deref().unwrap_or("another name")),
        ("empty_non_terminal", _) => "only names below it exist".into(),
        ("delegated", _) => "delegated to other servers".into(),
        ("missing", _) => "does not exist".into(),
        ("out_of_zone", _) => "in no zone of this server".into(),
        (kind, _) => kind.replace('_', " "),
    };
    text.push_str(&format!("  {}", plain(&what)));
    if let Some(zone) = &name.zone {
        let file = name.file.as_ref().map(|file| format!(" ({file})")).unwrap_or_default();
        push(text, &plain(&format!(" in zone {zone}{file}")), FAINT);
    }
    text.push('\n');
    let mut steps = Table::bare(3, 2);
    for step in &name.steps {
        let style = match step.outcome.as_str() {
            "chosen" => GOOD,
            "unhealthy" | "drained" => BAD,
            _ => FAINT,
        };
        // The root stands at depth 0; what it looked at is indented below it.
        let at = format!("{}{}", "  ".repeat(step.depth.min(32)), step.at);
        steps.row([Cell::new(at), Cell::new(&step.outcome).styled(style), Cell::new(&step.reason)]);
    }
    text.push_str(&steps.render());
    for (number, level) in name.levels.iter().enumerate() {
        text.push_str(&instances(level, number));
    }
}

/// The instances of a level, with the probability that an answer holds each.
fn instances(level: &Level, number: usize) -> String {
    let place = level.region.iter().chain(&level.az).cloned().collect::<Vec<_>>().join("/");
    let place = if place.is_empty() { String::new() } else { format!(" in {place}") };
    let rank = if number == 0 { String::new() } else { format!(", level {}", number + 1) };
    let mut text = String::new();
    push(&mut text, &plain(&format!("  instances of {}{place}{rank}", level.service)), FAINT);
    text.push('\n');
    let mut table = Table::new(["ID", "LOCALITY", "WEIGHT", "SHARE", "IN THIS ANSWER", "STANDING"]).indented(4);
    for instance in &level.instances {
        let standing = match instance.standing.as_str() {
            "healthy" => GOOD,
            "unhealthy" | "drained" => BAD,
            _ => ODD,
        };
        table.row([
            Cell::new(&instance.id),
            Cell::new(format!("{}/{}", instance.region, instance.az)),
            Cell::number(instance.weight),
            Cell::number(format!("{:.1} %", 100.0 * instance.share)),
            if instance.picked { Cell::new("yes") } else { Cell::new("no").styled(FAINT) },
            Cell::new(&instance.standing).styled(standing),
        ]);
    }
    match level.instances.is_empty() {
        true => push(&mut text, &format!("    none ({})\n", plain(&level.standing)), FAINT),
        false => text.push_str(&table.render()),
    }
    text
}

/// The prefix of a client for which an answer holds.
fn prefix(client: &str, length: u8) -> String {
    let text = format!("{client}/{length}");
    text.parse::<ipnet::IpNet>().map_or_else(|_| plain(&text), |prefix| prefix.trunc().to_string())
}

/// The reply, section by section.
fn answer(text: &mut String, explanation: &Explanation) {
    let style = if explanation.rcode == "NOERROR" { GOOD } else { BAD };
    push(text, &plain(&explanation.rcode), style);
    if explanation.rcode == "NOERROR" && explanation.answer.is_empty() {
        text.push_str(if explanation.authority.iter().any(|r| r.r#type == "NS") { " (referral)" } else { " (no data of this type)" });
    }
    text.push_str(&match explanation.scope {
        0 => ", the same for every client".into(),
        scope => format!(", the same for clients in {}", prefix(&explanation.client, scope)),
    });
    if let Some(ttl) = explanation.answer.iter().map(|r| r.ttl).min() {
        text.push_str(&format!(", for {ttl} s"));
    }
    text.push('\n');
    if explanation.fail_open {
        push(text, "nothing healthy was found: answered as `all_down` says\n", ODD);
    }
    if let Some(note) = &explanation.note {
        push(text, &format!("{}\n", plain(note)), ODD);
    }
    for (section, records) in
        [("answer", &explanation.answer), ("authority", &explanation.authority), ("additional", &explanation.additional)]
    {
        if records.is_empty() {
            continue;
        }
        push(text, &format!("  {section}\n"), FAINT);
        let mut table = Table::bare(4, 4);
        for record in records {
            table.row([Cell::new(&record.name), Cell::number(record.ttl), Cell::new(&record.r#type), Cell::new(&record.data)]);
        }
        text.push_str(&table.render());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(document: Value, expected: &str) {
        let text = anstream::adapter::strip_str(&page(document).unwrap().text).to_string();
        assert_eq!(text, expected, "\n{text}");
    }

    #[test]
    fn a_decision_is_a_tree_with_shares_and_the_answer() {
        let step =
            |depth: u8, at: &str, outcome: &str, reason: &str| json!({ "depth": depth, "at": at, "outcome": outcome, "reason": reason });
        let instance = |id: &str, share: f64, picked: bool| json!({ "id": id, "region": "eu-west", "az": "1a", "standing": "healthy", "weight": 100, "share": share, "picked": picked });
        check(
            json!({
                "name": "web.svc.example.", "type": "A", "client": "203.0.113.9", "generation": 34,
                "origin": { "scope": 24, "region": "eu-west", "az": null, "continent": "EU", "country": "IE", "subdivision": null,
                            "coordinates": [53.3, -6.3], "asn": 64500,
                            "ranking": [{ "region": "eu-west", "ms": 0.0 }, { "region": "us-east", "ms": 78.2, "source": "measured" }] },
                "names": [{
                    "name": "web.svc.example.", "zone": "svc.example.", "file": "zones/svc.example.toml", "kind": "service",
                    "service": "web", "instance": null, "narrowed": ["tag=blue"], "fail_open": false, "steady_ms": 5000, "ttl": 5, "scope": 24,
                    "steps": [step(0, "failover", "looks", "at 2 branches"), step(1, "branch 1: web in us-east", "unhealthy", "0 of 3 healthy"),
                              step(1, "branch 2: web", "chosen", "number 2 in order"), step(2, "level eu-west", "chosen", "own region")],
                    "levels": [{ "service": "web", "region": "eu-west", "az": null, "standing": "healthy",
                                 "instances": [instance("eu1", 0.5, true), instance("eu2-canary", 0.125, false)] }],
                }],
                "rcode": "NOERROR", "note": null, "scope": 24, "fail_open": false,
                "answer": [{ "name": "web.svc.example.", "ttl": 5, "type": "A", "data": "192.0.2.10" }], "authority": [], "additional": [],
            }),
            "\
web.svc.example. A for 203.0.113.9, in snapshot 34
  client   eu-west, IE, EU, AS64500, 53.3° N 6.3° W (known for /24)
  regions  eu-west 0 ms, us-east 78 ms (measured)

web.svc.example.  service web where tag=blue in zone svc.example. (zones/svc.example.toml)
  failover                    looks      at 2 branches
    branch 1: web in us-east  unhealthy  0 of 3 healthy
    branch 2: web             chosen     number 2 in order
      level eu-west           chosen     own region
  instances of web in eu-west
    ID          LOCALITY    WEIGHT   SHARE  IN THIS ANSWER  STANDING
    eu1         eu-west/1a     100  50.0 %  yes             healthy
    eu2-canary  eu-west/1a     100  12.5 %  no              healthy

NOERROR, the same for clients in 203.0.113.0/24, for 5 s
  answer
    web.svc.example.  5  A  192.0.2.10
",
        );
    }

    #[test]
    fn what_is_not_there_is_said() {
        let soa = json!({ "name": "svc.example.", "ttl": 5, "type": "SOA", "data": "ns1.svc.example. hostmaster.svc.example. 1 2 3 4 5" });
        check(
            json!({
                "name": "no.svc.example.", "type": "AAAA", "client": "2001:db8::1", "generation": 1, "origin": { "scope": 0 },
                "names": [{ "name": "no.svc.example.", "zone": "svc.example.", "file": "f", "kind": "missing" }],
                "rcode": "NXDOMAIN", "note": null, "scope": 0, "fail_open": false, "answer": [], "authority": [soa], "additional": [],
            }),
            "\
no.svc.example. AAAA for 2001:db8::1, in snapshot 1
  client   nothing is known of its place

no.svc.example.  does not exist in zone svc.example. (f)

NXDOMAIN, the same for every client
  authority
    svc.example.  5  SOA  ns1.svc.example. hostmaster.svc.example. 1 2 3 4 5
",
        );
    }
}
