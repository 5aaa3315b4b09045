//! A little internet in a network of its own: a root, `example` and a stranger's zone served by BIND, and below them two zones of
//! Signpost's on two addresses of each family, all on port 53. Recursors walk down from the root, and so does zonemaster.

pub mod tap;
pub mod zones;

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Peer, Signpost, find, run, wait_until};
use crate::peers::named_args;
use tap::Tap;

/// Where the root is served, and `example`, and the zones that zonemaster looks addresses up in. Like all addresses here it is one that
/// nobody calls special, so that nobody refuses it; what is sent there does not leave the namespace.
pub const ROOT: &str = "11.0.0.1";
/// Where BIND serves `other.plain.example`, which Signpost refers to.
pub const STRANGER: &str = "11.3.0.53";
/// The two name servers of Signpost's zones, of both families.
pub const OURS: [&str; 4] = ["11.1.0.53", "11.2.0.53", "2a10:1::53", "2a10:2::53"];
/// Where Signpost really is when [`OURS`] are taps.
const BEHIND: [&str; 4] = ["11.1.0.153", "11.2.0.153", "2a10:1::153", "2a10:2::153"];

/// Set in the process that runs inside.
const INSIDE: &str = "SIGNPOST_INTEROP_INSIDE";

/// Runs `body` in a network of its own, where port 53 is free and any address may be had: the test starts itself once more, alone. When
/// that process ends, however it ends, so does everything it has started.
pub fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        run("ip", &["link", "set", "lo", "up"]);
        for address in [ROOT, STRANGER].iter().chain(&OURS).chain(&BEHIND) {
            let (length, more) = if address.contains(':') { (128, &["nodad"][..]) } else { (32, &[][..]) };
            let said = run("ip", &[&["address", "add", &format!("{address}/{length}"), "dev", "lo"], more].concat());
            assert!(said.is_empty(), "ip address add {address}: {said}");
        }
        return body();
    }
    let mut command = Command::new(find("unshare"));
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child"]);
    if run("id", &["-u"]).trim() != "0" {
        command.arg("--map-root-user");
    }
    command.arg(std::env::current_exe().expect("the path of this program")).args([test, "--exact", "--nocapture"]);
    let output = command.env(INSIDE, "1").stdin(Stdio::null()).output().expect("unshare starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("unshare failed"), "this test needs a network of its own, as root or with user namespaces permitted: {text}");
    assert!(text.contains("test result: ok. 1 passed"), "{test} inside:\n{text}");
}

/// Everything that serves.
pub struct Internet {
    /// The server under test.
    pub signpost: Signpost,
    /// What came by on its way to it.
    pub taps: Vec<Tap>,
    _above: Peer,
}

impl Internet {
    /// Signpost behind taps, and what is above it.
    pub fn tapped() -> Internet {
        let internet = Internet::on(BEHIND);
        let taps = OURS.iter().zip(BEHIND).map(|(front, behind)| Tap::start(at53(front), at53(behind))).collect();
        Internet { taps, ..internet }
    }

    /// Signpost on its own addresses, and what is above it.
    pub fn plain() -> Internet {
        Internet::on(OURS)
    }

    fn on(addresses: [&str; 4]) -> Internet {
        let signpost = Signpost::start_on(&addresses.map(at53), "", zones::OURS);
        for (path, body) in zones::REGISTERED {
            signpost.put(path, body);
        }
        Internet { signpost, taps: Vec::new(), _above: above() }
    }
}

/// An address with port 53.
pub fn at53(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), 53)
}

/// BIND as an authoritative server of everything above and beside.
fn above() -> Peer {
    let peer = Peer::start("named", |folder, ready| {
        let mut config = format!(
            "options {{ directory \"{folder}\"; pid-file none; listen-on port 53 {{ {ROOT}; {STRANGER}; }};\n\
             listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; dnssec-validation no; minimal-responses no; notify no; }};\ncontrols {{ }};\n",
            folder = folder.display(),
            port = ready.port(),
        );
        for (apex, text) in zones::ABOVE {
            let file = format!("{}zone", if *apex == "." { "root." } else { apex });
            std::fs::write(folder.join(&file), format!("{}{text}", zones::ABOVE_HEAD)).expect("a zone file");
            config += &format!("zone \"{apex}\" {{ type primary; file \"{file}\"; }};\n");
        }
        std::fs::write(folder.join("named.conf"), config).expect("a config file");
        named_args(folder)
    });
    let up = |address| std::net::TcpStream::connect(at53(address)).is_ok();
    assert!(wait_until(Duration::from_secs(20), || up(ROOT) && up(STRANGER)), "{}", peer.log());
    peer
}

/// The root hints of this internet.
pub fn hints() -> String {
    format!(". 3600000 IN NS a.root.\na.root. 3600000 IN A {ROOT}\n")
}
