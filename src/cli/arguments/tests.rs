//! Lines as people type them: what they mean, and what is said of those that mean nothing.

use super::*;

fn parsed(line: &str) -> Result<Arguments, String> {
    parse(line.split_whitespace()).map_err(|e| e.render().to_string())
}

#[test]
fn the_definition_is_sound_and_every_help_has_an_example() {
    command().debug_assert();
    let mut seen = 0;
    let mut open = vec![command()];
    while let Some(mut command) = open.pop() {
        let help = command.render_long_help().to_string();
        let name = command.get_name().to_owned();
        let example = help.split_once("Example").map(|(_, after)| after).unwrap_or_default();
        assert!(example.contains("signpost"), "no example in the help of {name}:\n{help}");
        if name != "signpost" {
            assert!(example.contains(&name), "the example of {name} is of something else:\n{help}");
        }
        open.extend(command.get_subcommands().cloned());
        seen += 1;
    }
    assert_eq!(
        seen, 33,
        "signpost, its 23 subcommands, token create, drills run, show and stop, and keys ds, roll, ds-seen, import and unsign"
    );
}

#[test]
fn help_shows_only_the_options_that_concern_a_subcommand() {
    let help = |line: &str| parsed(&format!("signpost {line} --help")).unwrap_err();
    for (line, shown, hidden) in [
        ("serve", "--config", "--api"),
        ("check", "--config", "--token-file"),
        ("instances", "--api", "--config"),
        ("token create", "--output", "--api"),
        ("man", "--dir", "--config"),
    ] {
        let help = help(line);
        assert!(help.contains(shown) && !help.contains(hidden), "{line}:\n{help}");
    }
}

#[test]
fn what_is_right_parses() {
    for line in [
        "signpost",
        "signpost --config a.toml",
        "signpost serve --config a.toml",
        "signpost --config a.toml check --output json",
        "signpost --api http://[::1]:8053 status",
        "signpost status --api https://signpost.example/ --token-file /run/token --color never",
        "signpost instances web --healthy --region eu-west --tag blue",
        "signpost explain web.svc.example --client 203.0.113.9",
        "signpost explain web.svc.example SRV --client 2001:db8::7 --with region/eu-west=drained --with instance/web/eu1=unhealthy",
        "signpost register web/eu1 --address 192.0.2.10,2001:db8::1 --port http=8080 --port dns=53/udp --region eu-west --az a --weight 5 \
         --tag blue --meta version=1 --heartbeat 30s --deregister-after 10m --check http=/healthz,port=http --check tcp",
        "signpost register web/eu1 --file -",
        "signpost deregister web/eu1",
        "signpost drain az/eu-west/a --reason drill --expires 30m",
        "signpost drain region/eu-west --reason drill --ramp 10m --override tested",
        "signpost undrain instance/web/eu1",
        "signpost undrain region/eu-west --ramp 0s",
        "signpost pause region/eu-west",
        "signpost resume instance/web/eu1",
        "signpost drains --output json",
        "signpost measurements --client 198.51.100.0/24",
        "signpost drills",
        "signpost drills run evacuate-eu",
        "signpost drills run --lose region/eu-west --ramp 10m --hold 15m --lift 5m",
        "signpost drills show 20261124T100000Z-evacuate-eu --output json",
        "signpost keys",
        "signpost keys ds svc.example",
        "signpost keys roll svc.example zsk",
        "signpost keys ds-seen svc.example. 12345 --output json",
        "signpost keys import svc.example Ksvc.example.+013+12345.key key.pem",
        "signpost keys unsign svc.example --ds-gone",
        "signpost simulate",
        "signpost simulate --lose region/eu-west --lose az/us/a --name web.svc.example --client 203.0.113.0/24 --client 2001:db8::7",
        "signpost healthcheck",
        "signpost token create ci --right read,register --right operate --service web-",
        "signpost completions fish",
        "signpost man token create",
    ] {
        if let Err(error) = parsed(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn what_is_wrong_is_usage_and_says_what_was_expected() {
    for (line, said) in [
        ("signpost simulation", "unrecognized subcommand"),
        ("signpost simulate --lose eu-west", "expected one of region/NAME"),
        ("signpost simulate --lose region/eu --client here", "expected a prefix such as 10.1.0.0/16"),
        ("signpost simulate --name web.svc.example", "--lose <KIND/NAME>"),
        ("signpost status --api 127.0.0.1:8053", "expected a URL such as http://127.0.0.1:8053"),
        ("signpost status --output yaml", "[possible values: text, json]"),
        ("signpost instances", "<SERVICE>"),
        ("signpost instances we.b", "letters, digits"),
        ("signpost explain web.svc.example A", "--client <IP>"),
        ("signpost explain web.svc.example A --client here", "invalid IP address syntax"),
        ("signpost explain x A --client ::1 --with region/eu-west", "expected SUBJECT=STATE"),
        ("signpost explain x A --client ::1 --with region/eu-west=gone", "expected drained, serving"),
        ("signpost register web --address 192.0.2.1 --region r --az a", "expected SERVICE/ID, such as web/eu1"),
        ("signpost register web/eu1", "--address <IP>"),
        ("signpost register web/eu1 --address 192.0.2.1 --az a", "--region <REGION>"),
        ("signpost register web/eu1 --file a --weight 3", "cannot be used with"),
        ("signpost register web/eu1 --address 192.0.2.1 --region r --az a --port 80", "expected NAME=PORT"),
        ("signpost register web/eu1 --address 192.0.2.1 --region r --az a --deregister-after 1m", "--heartbeat <PERIOD>"),
        ("signpost register web/eu1 --address 192.0.2.1 --region r --az a --check http=/,rise=11", "rise"),
        ("signpost register web/eu1 --address 192.0.2.1 --region r --az a --heartbeat soon", "200ms, 5s, 10m or 4h"),
        ("signpost drain eu-west --reason x", "expected one of region/NAME, az/REGION/AZ, service/NAME, instance/SERVICE/ID"),
        ("signpost drain az/eu-west --reason x", "expected az/REGION/AZ, not \"az/eu-west\""),
        ("signpost drain region/eu-west", "--reason <TEXT>"),
        ("signpost drain region/eu-west --reason x --ramp soon", "200ms, 5s, 10m or 4h"),
        ("signpost undrain", "<KIND/NAME>"),
        ("signpost drills run", "<NAME>"),
        ("signpost drills run a --lose region/eu", "cannot be used with"),
        ("signpost drills run a --hold 5m", "cannot be used with"),
        ("signpost drills show", "<RUN>"),
        ("signpost keys roll svc.example", "<KEY>"),
        ("signpost keys roll svc.example dnskey", "[possible values: ksk, zsk, csk]"),
        ("signpost keys ds-seen svc.example 70000", "is not in 0..=65535"),
        ("signpost keys import svc.example", "<FILE>..."),
        ("signpost keys ds a..b", "has a label that is empty"),
        ("signpost keys unsign svc.example --ds-gone --undo", "cannot be used with"),
        ("signpost pause eu-west", "expected one of region/NAME"),
        ("signpost token create ci", "--right <RIGHT>"),
        ("signpost token create ci --right root", "[possible values: read, register, operate, admin]"),
        ("signpost token create c\"i --right read", "expected 1 to 64 letters"),
        ("signpost completions tcsh", "[possible values: bash"),
    ] {
        let error = parse(line.split_whitespace()).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
        let text = error.render().to_string();
        assert!(text.contains(said), "{line}:\n{text}");
    }
}
