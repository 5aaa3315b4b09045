use super::*;

/// A message of a transfer of `x.`: records as `SOA 3`, `a 192.0.2.1`.
fn message(records: &[&str]) -> Vec<u8> {
    let mut message = vec![0, 7, 0x84, 0, 0, 0, 0, records.len() as u8, 0, 0, 0, 0];
    for record in records {
        let (owner, value) = record.split_once(' ').unwrap();
        let (rtype, data) = match owner {
            "SOA" => {
                let numbers = [value.parse().unwrap(), 60, 30, 600, 5].into_iter().flat_map(u32::to_be_bytes);
                (6u16, b"\x02ns\x01x\0\x01h\0".iter().copied().chain(numbers).collect::<Vec<u8>>())
            }
            _ => (1, value.parse::<std::net::Ipv4Addr>().unwrap().octets().to_vec()),
        };
        if owner != "SOA" {
            message.push(owner.len() as u8);
            message.extend(owner.bytes());
        }
        message.extend(b"\x01x\0");
        message.extend(rtype.to_be_bytes());
        message.extend(b"\0\x01\0\0\0\x1e");
        message.extend((data.len() as u16).to_be_bytes());
        message.extend(data);
    }
    message
}

fn apex() -> Name {
    Name::parse("x.").unwrap()
}

/// What messages come to; each is a list of records, with commas between them.
fn run(have: Option<&str>, messages: &[&str]) -> Result<(Progress, String), CopyError> {
    let split = |text: &str| text.split(',').map(str::trim).map(String::from).collect::<Vec<_>>();
    let take = |copy: &mut Copy, text: &str| {
        let records = split(text);
        copy.take(&message(&records.iter().map(String::as_str).collect::<Vec<_>>()))
    };
    let have = have.map(|text| {
        let serial = text.strip_prefix("SOA ").unwrap().split(',').next().unwrap();
        let mut whole = Copy::new(apex(), 7, None);
        assert!(matches!(take(&mut whole, &format!("{text}, SOA {serial}")), Ok(Progress::Whole(_))), "{text}");
        (serial.parse().unwrap(), whole.contents)
    });
    let mut copy = Copy::new(apex(), 7, have);
    let mut progress = Progress::More;
    for text in messages {
        progress = take(&mut copy, text)?;
    }
    let shown = copy.contents.keys().map(|(owner, rtype, data)| match *rtype {
        rtype::SOA => format!("SOA {}", start(data).unwrap().serial),
        _ => format!("{owner} {}", present(*rtype, data)),
    });
    let mut shown: Vec<String> = shown.collect();
    shown.sort();
    Ok((progress, shown.join(", ")))
}

fn check(have: Option<&str>, messages: &[&str], serial: u32, expected: &str) {
    let (progress, shown) = run(have, messages).unwrap_or_else(|error| panic!("{messages:?}: {error}"));
    let Progress::Whole(start) = progress else { panic!("{messages:?}: {progress:?}") };
    assert_eq!((start.serial, shown.as_str()), (serial, expected), "{messages:?}");
    assert_eq!(start.terms, Terms { refresh: 60, retry: 30, expire: 600 });
}

#[test]
fn whole_zones_come_in_one_message_or_several() {
    check(None, &["SOA 3, a 192.0.2.1, b 192.0.2.2, SOA 3"], 3, "SOA 3, a.x. 192.0.2.1, b.x. 192.0.2.2");
    check(None, &["SOA 3", "a 192.0.2.1", "b 192.0.2.2, SOA 3"], 3, "SOA 3, a.x. 192.0.2.1, b.x. 192.0.2.2");
    check(None, &["SOA 3, SOA 3"], 3, "SOA 3");
    // RFC 1995 §4: an IXFR may be answered with the whole zone.
    check(Some("SOA 1, a 192.0.2.9"), &["SOA 3, a 192.0.2.1, SOA 3"], 3, "SOA 3, a.x. 192.0.2.1");
    assert_eq!(run(None, &["SOA 3, a 192.0.2.1"]).unwrap().0, Progress::More);
}

#[test]
fn differences_are_made_one_after_the_other() {
    let have = Some("SOA 1, a 192.0.2.1, b 192.0.2.2");
    check(have, &["SOA 2, SOA 1, a 192.0.2.1, SOA 2, c 192.0.2.3, SOA 2"], 2, "SOA 2, b.x. 192.0.2.2, c.x. 192.0.2.3");
    check(
        have,
        &["SOA 3, SOA 1", "a 192.0.2.1, SOA 2, c 192.0.2.3", "SOA 2, c 192.0.2.3, SOA 3, d 192.0.2.4, SOA 3"],
        3,
        "SOA 3, b.x. 192.0.2.2, d.x. 192.0.2.4",
    );
    for nothing_later in ["SOA 1", "SOA 0"] {
        assert!(matches!(run(have, &[nothing_later]).unwrap().0, Progress::Current(_)));
    }
    assert_eq!(run(have, &["SOA 2"]).unwrap().0, Progress::More);
}

#[test]
fn what_is_no_transfer_is_refused() {
    let have = Some("SOA 1, a 192.0.2.1");
    let fails =
        |have: Option<&str>, messages: &[&str], expected: CopyError| assert_eq!(run(have, messages).unwrap_err(), expected, "{messages:?}");
    fails(None, &["a 192.0.2.1, SOA 3"], CopyError::NoSoa);
    fails(None, &["SOA 3, a 192.0.2.1, SOA 4"], CopyError::Sequence);
    fails(None, &["SOA 3, SOA 3, a 192.0.2.1"], CopyError::Behind);
    fails(have, &["SOA 2, SOA 1, b 192.0.2.1, SOA 2, SOA 2"], CopyError::Missing);
    fails(have, &["SOA 3, SOA 1, SOA 2, b 192.0.2.1, SOA 3"], CopyError::Sequence);
    let mut copy = Copy::new(apex(), 7, None);
    let mut other = message(&["SOA 1"]);
    other[1] = 8;
    assert_eq!(copy.take(&other), Err(CopyError::Stranger));
    let mut refused = message(&[]);
    refused[3] = 5;
    assert_eq!(copy.take(&refused), Err(CopyError::Rcode(5)));
    let mut lame = message(&["SOA 1"]);
    lame[2] = 0x80;
    assert_eq!(soa_of(&lame, 7, &apex()), Err(CopyError::NotAuthoritative));
    assert_eq!(soa_of(&message(&["SOA 9"]), 7, &apex()).map(|start| start.serial), Ok(9));
    assert_eq!(soa_of(&message(&[]), 7, &apex()), Err(CopyError::NoSoa));
    assert_eq!(copy.take(&message(&[])), Err(CopyError::NoSoa));
    let mut foreign = message(&["SOA 1", "a 192.0.2.1"]);
    let at = foreign.len() - 4 - 10 - 2;
    foreign[at] = b'y';
    assert_eq!(copy.take(&foreign), Err(CopyError::Foreign));
}

/// A copy that was kept as text is the same when it is read from there: differences are made to it.
#[test]
fn a_zone_is_written_as_a_master_file() {
    let (_, shown) = run(None, &["SOA 3, a 192.0.2.1, SOA 3"]).unwrap();
    assert_eq!(shown, "SOA 3, a.x. 192.0.2.1");
    let mut copy = Copy::new(apex(), 7, None);
    copy.take(&message(&["SOA 3", "a 192.0.2.1", "SOA 3"])).unwrap();
    assert_eq!(text(&copy.contents), "x. 30 IN SOA ns.x. h. 3 60 30 600 5\na.x. 30 IN A 192.0.2.1\n");
    assert!(is_later(1, u32::MAX) && !is_later(u32::MAX, 1) && !is_later(5, 5));
}
