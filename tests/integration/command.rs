//! The binary as people use it: its subcommands against a running server, its signals, and its exit codes.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::ask::Asker;
use crate::process::Home;

/// Runs `signpost` with these arguments, apart from whatever the environment says; returns exit code, standard output and error.
fn signpost(home: &Home, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signpost"));
    command.args(arguments).current_dir(home.folder.path());
    command.env_remove("SIGNPOST_CONFIG").env_remove("SIGNPOST_TOKEN").env("SIGNPOST_API", format!("http://{}", home.api));
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[test]
fn a_service_is_registered_drained_explained_and_deregistered_from_the_command_line() {
    let home = Home::new(&[]);
    let (server, _) = home.start();
    let mut asker = Asker::new(home.dns);
    let mut check = |arguments: &[&str], code: i32, said: &[&str], addresses: &[&str]| {
        let (exit, out, err) = signpost(&home, arguments);
        assert_eq!(exit, code, "{arguments:?}\n{out}{err}");
        said.iter().for_each(|said| assert!(out.contains(said) || err.contains(said), "{arguments:?} says not {said:?}:\n{out}{err}"));
        let answered: Vec<String> = asker.addresses("web.svc.example.").iter().map(ToString::to_string).collect();
        assert_eq!(answered, addresses, "after {arguments:?}");
    };
    check(&["healthcheck"], 0, &["ready"], &[]);
    check(&["services"], 0, &["no services yet"], &[]);
    let register = ["register", "web/eu1", "--address", "192.0.2.10", "--port", "http=8080", "--region", "eu-west", "--az", "a"];
    check(&register, 0, &["registered web/eu1 at revision 1"], &["192.0.2.10"]);
    check(&register, 0, &["replaced web/eu1 at revision 2"], &["192.0.2.10"]);
    check(&["instances", "web"], 0, &["eu1  192.0.2.10  http=8080  eu-west/a     100  healthy", "1 of 1 available"], &["192.0.2.10"]);
    check(&["instances", "web", "--output", "json"], 0, &["\"health\": \"healthy\""], &["192.0.2.10"]);
    check(&["instances", "nope"], 1, &["error: there is no service nope"], &["192.0.2.10"]);
    let explain = ["explain", "web.svc.example", "A", "--client", "203.0.113.9"];
    check(&explain, 0, &["chosen", "100.0 %", "192.0.2.10"], &["192.0.2.10"]);
    check(&[&explain[..], &["--with", "region/eu-west=drained"]].concat(), 0, &["no data of this type"], &["192.0.2.10"]);
    check(
        &["simulate"],
        0,
        &["region/eu-west        100.0 %         1", "100.0 % of the clients of web.svc.example. get no answer"],
        &["192.0.2.10"],
    );
    let simulate = ["simulate", "--lose", "region/eu-west", "--client", "203.0.113.9"];
    check(&simulate, 0, &["203.0.113.9/32  region/eu-west  nothing", "warning: without region/eu-west"], &["192.0.2.10"]);
    check(&["simulate", "--lose", "region/nowhere"], 1, &["lose[0]: ", "there is no region/nowhere"], &["192.0.2.10"]);
    let drain = ["drain", "region/eu-west", "--reason", "a test"];
    check(&drain, 1, &["0 of 1 regions would be up, 1 is the least; `--override` with a reason overrules"], &["192.0.2.10"]);
    let overruled = [&drain[..], &["--override", "nobody uses it"]].concat();
    let ramped = [&overruled[..], &["--ramp", "1h"]].concat();
    let safe = ["at least 1 must be; one region at a time"];
    check(&ramped, 0, &["draining region/eu-west", "all clients have moved in 1h", "signpost pause region/eu-west"], &["192.0.2.10"]);
    check(&["drains"], 0, &["announced, whole in 1h", "nobody uses it", "0 of 1 regions up", safe[0]], &["192.0.2.10"]);
    check(&["pause", "region/eu-west"], 0, &["the drain of region/eu-west stands still"], &["192.0.2.10"]);
    check(&["pause", "region/eu-west"], 1, &["it is paused already"], &["192.0.2.10"]);
    check(&["resume", "region/eu-west"], 0, &["the drain of region/eu-west goes on"], &["192.0.2.10"]);
    check(&overruled, 0, &["drained region/eu-west", "signpost undrain region/eu-west"], &[]);
    check(
        &["undrain", "region/eu-west", "--ramp", "1h"],
        0,
        &["region/eu-west comes back", "it serves all clients again in"],
        &["192.0.2.10"],
    );
    check(&drain, 1, &["--override"], &["192.0.2.10"]);
    check(&overruled, 0, &["drained region/eu-west"], &[]);
    check(&["drains"], 0, &["region/eu-west", "3h59m", "local", "a test"], &[]);
    check(&["status"], 0, &["ready", "svc.example.", "eu-west", "a test"], &[]);
    check(&["drain", "region/nowhere", "--reason", "x"], 1, &["there is no region/nowhere"], &[]);
    check(&["undrain", "region/eu-west"], 0, &["region/eu-west serves again"], &["192.0.2.10"]);
    check(&["undrain", "region/eu-west"], 1, &["region/eu-west is not drained"], &["192.0.2.10"]);
    check(&["deregister", "web/eu1"], 0, &["deregistered web/eu1"], &[]);
    check(&["status", "--api", "http://127.0.0.1:1"], 1, &["no Signpost answers at http://127.0.0.1:1: is `signpost serve` running?"], &[]);

    server.signal("TERM");
    let status = server.wait();
    assert!(status.success(), "{status}: {}", home.log());
    assert_eq!(signpost(&home, &["healthcheck"]).0, 1);
}

#[test]
fn files_are_read_again_when_they_change_and_a_broken_one_changes_nothing() {
    let home = Home::new(&[]);
    let (server, _) = home.start();
    let mut asker = Asker::new(home.dns);
    let zone = home.folder.path().join("zones/svc.example.toml");
    let until = |what: &str, done: &mut dyn FnMut() -> bool| {
        let begin = Instant::now();
        while !done() {
            assert!(begin.elapsed() < Duration::from_secs(20), "{what}: {}", home.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let text = std::fs::read_to_string(&zone).unwrap();
    std::fs::write(&zone, format!("{text}www = {{ A = [\"192.0.2.1\"] }}\n")).unwrap();
    until("a changed zone file is served", &mut || asker.addresses("www.svc.example.").len() == 1);
    std::fs::write(&zone, format!("{text}www = {{ A = [\"192.0.2.300\"] }}\n")).unwrap();
    until("a broken zone file is named with its line", &mut || home.log().contains("zones/svc.example.toml:5: "));
    server.signal("HUP");
    until("SIGHUP reads again", &mut || home.log().contains("SIGHUP"));
    assert_eq!(asker.addresses("www.svc.example.").len(), 1, "what was in force stays in force");
    let (code, out, _) = signpost(&home, &["check", "--config", "signpost.toml"]);
    assert!(code == 78 && out.contains("zones/svc.example.toml:5: "), "{code}: {out}");
}

#[test]
fn whoever_supervises_the_process_hears_how_it_is() {
    let home = Home::new(&[]);
    let path = home.folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let heard = || {
        let mut room = [0; 1024];
        let length = socket.recv(&mut room).unwrap_or_else(|error| panic!("nothing is said: {error}: {}", home.log()));
        String::from_utf8(room[..length].to_vec()).unwrap()
    };
    // One change of a file may be read in two turns.
    let until = |last: &str| {
        let mut all = vec![heard()];
        while all.last().is_some_and(|said| said != last) {
            all.push(heard());
        }
        all
    };
    let (server, _) = home.start_with(&[("NOTIFY_SOCKET", &path)]);
    assert_eq!(heard(), "READY=1\nSTATUS=serving\n");
    let zone = home.folder.path().join("zones/svc.example.toml");
    let sound = std::fs::read_to_string(&zone).unwrap();
    for (text, status) in [("nonsense", "serving; its files, as they are now, are not in force: see `signpost status`"), ("", "serving")] {
        std::fs::write(zone.with_extension("new"), format!("{sound}{text}")).unwrap();
        std::fs::rename(zone.with_extension("new"), &zone).unwrap();
        let said = until(&format!("READY=1\nSTATUS={status}\n"));
        let now = said[0].strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|now| now.trim_end().parse::<u64>().ok());
        assert!(now.is_some_and(|now| now > 0), "{said:?}");
    }
    server.signal("TERM");
    until("STOPPING=1\nSTATUS=stopping\n");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn exit_codes_tell_usage_from_configuration_from_refusal() {
    let home =
        Home::new(&[("broken.toml", "version = 1\ndatadir = \"x\"\n"), ("open.toml", "version = 1\n[api]\nlisten = \"0.0.0.0:0\"\n")]);
    let check = |arguments: &[&str], code: i32, said: &str| {
        let (exit, out, err) = signpost(&home, arguments);
        assert_eq!(exit, code, "{arguments:?}\n{out}{err}");
        assert!(out.contains(said) || err.contains(said), "{arguments:?} says not {said:?}:\n{out}{err}");
    };
    check(&["check"], 0, "fine: 1 zone");
    check(&["check", "--output", "json"], 0, "\"fine\": true");
    check(&["check", "--config", "broken.toml"], 78, "broken.toml:2: datadir: unknown key; did you mean `data_dir`?");
    check(&["serve", "--config", "broken.toml"], 78, "broken.toml:2: datadir: unknown key; did you mean `data_dir`?");
    check(&["serve", "--config", "open.toml"], 78, "insecure = true");
    check(&["serve", "--config", "missing.toml"], 78, "missing.toml");
    check(&["nonsense"], 2, "unrecognized subcommand");
    check(&["services", "--token-file", "missing"], 2, "missing: ");
    check(&["healthcheck"], 1, "is `signpost serve` running?");
    check(&["token", "create", "ci", "--right", "read"], 0, "hash = \"sha256:");
    check(&["man"], 0, ".TH signpost");
    check(&["completions", "bash"], 0, "complete -F");
}
