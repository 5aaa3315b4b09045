//! Programs as child processes on loopback: started, awaited for a bounded time, and ended by the handle they were started with.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The longest that a program may take to start, and the longest that a client may take to print. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a start is tried again because someone else took a port in between.
const ATTEMPTS: usize = 5;

/// Files of a folder: path and text.
pub type Files = &'static [(&'static str, &'static str)];

/// A running `signpost serve`, and the folder it lives in.
pub struct Signpost {
    /// Where it answers, UDP and TCP.
    pub dns: SocketAddr,
    api: SocketAddr,
    running: Running,
}

impl Signpost {
    /// Starts one that serves `files` (`zones/…`, `geo/…`) and waits until it is ready.
    pub fn start(files: Files) -> Signpost {
        Signpost::start_on(&[], "", files)
    }

    /// The same on these addresses, if any, instead of a free port of loopback, and with `dns` in the section of that name.
    pub fn start_on(listen: &[SocketAddr], dns: &str, files: Files) -> Signpost {
        start("signpost", |folder, ports| {
            let (free, api) = (loopback(ports[0]), loopback(ports[1]));
            let listen = if listen.is_empty() { &[free] } else { listen };
            let config = write_signpost(folder, listen, dns, api, files);
            let dns = listen[0];
            let mut command = Command::new(env!("CARGO_BIN_EXE_signpost"));
            command.arg("serve").arg("--config").arg(config);
            let ready = move || http(api, "GET", "/readyz", "").is_ok_and(|(status, _)| status == 200);
            (command, Box::new(ready), move |running| Signpost { dns, api, running })
        })
    }

    /// Where its API listens.
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// The folder it lives in: `signpost.toml`, `zones/…`.
    pub fn folder(&self) -> &Path {
        self.running.folder.path()
    }

    /// `PUT`s a document; it must be accepted.
    pub fn put(&self, path: &str, body: &str) {
        self.call("PUT", path, body);
    }

    /// `DELETE`s a resource; it must be accepted.
    pub fn delete(&self, path: &str) {
        self.call("DELETE", path, "");
    }

    /// `POST`s without a body; it must be accepted.
    pub fn post(&self, path: &str) {
        self.call("POST", path, "");
    }

    /// What `GET` finds; it must be there.
    pub fn get(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&self.call("GET", path, "")).expect("a JSON document")
    }

    /// How many DNS queries it has answered, by its own count.
    pub fn queries(&self) -> usize {
        let text = self.call("GET", "/metrics", "");
        let counted = text.lines().filter(|line| line.starts_with("signpost_dns_queries_total{"));
        counted.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
    }

    fn call(&self, method: &str, path: &str, body: &str) -> String {
        let (status, text) = http(self.api, method, path, body).unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        assert!((200..300).contains(&status), "{method} {path} {body}: {status} {text}");
        text
    }

    /// `@address` and `-p port`, as dig, kdig and drill take them.
    pub fn at(&self) -> [String; 3] {
        at(self.dns)
    }
}

/// `@address` and `-p port`, as dig, kdig and drill take them.
pub fn at(server: SocketAddr) -> [String; 3] {
    [format!("@{}", server.ip()), "-p".into(), server.port().to_string()]
}

/// Writes `signpost.toml` and `files` into `folder`; returns the config's path.
pub fn write_signpost(folder: &Path, listen: &[SocketAddr], dns: &str, api: SocketAddr, files: Files) -> PathBuf {
    let listen: Vec<String> = listen.iter().map(SocketAddr::to_string).collect();
    let config = format!(
        "version = 1\ndata_dir = \"data\"\n[dns]\nlisten = {listen:?}\n{dns}\n[api]\nlisten = \"{api}\"\n\
         [zones]\ndir = \"zones\"\n[geo]\ndir = \"geo\"\n"
    );
    for (path, text) in files.iter().copied().chain([("signpost.toml", config.as_str())]) {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder for the config");
        std::fs::write(path, text).expect("a config file");
    }
    folder.join("signpost.toml")
}

/// Another program that runs in the foreground, such as a recursor.
pub struct Peer {
    /// Where it answers: the first of the ports it was given.
    pub address: SocketAddr,
    /// Its folder.
    pub folder: PathBuf,
    running: Running,
}

impl Peer {
    /// Starts `program`. `arrange` gets its folder and a free port, writes its config there, and returns its arguments; it is up when
    /// the port accepts connections.
    pub fn start(program: &str, arrange: impl Fn(&Path, SocketAddr) -> Vec<String>) -> Peer {
        let executable = find(program);
        start(program, |folder, ports| {
            let address = loopback(ports[0]);
            let mut command = Command::new(&executable);
            command.args(arrange(folder, address));
            let ready = move || TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok();
            let folder = folder.to_path_buf();
            (command, Box::new(ready), move |running| Peer { address, folder, running })
        })
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        self.running.log()
    }

    /// Asks it to end, so that it ends the processes of its own first; it is given a moment to.
    pub fn end(&mut self) {
        run("sh", &["-c".to_string(), format!("kill -TERM {}", self.running.child.id())]);
        wait_until(PATIENCE, || self.running.child.try_wait().is_ok_and(|status| status.is_some()));
    }
}

/// A child process and its folder. Dropping it ends the process.
pub struct Running {
    child: Child,
    folder: TempDir,
}

impl Running {
    fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.char_indices().rev().nth(4_000).map_or(0, |(n, _)| n);
            eprintln!("--- the end of its log ---\n{}", &log[tail..]);
        }
    }
}

/// Starts a program on free ports and waits until it is ready; tries other ports where one was taken in between.
fn start<T, F: FnOnce(Running) -> T>(name: &str, arrange: impl Fn(&Path, &[u16; 2]) -> (Command, Box<dyn Fn() -> bool>, F)) -> T {
    for attempt in 1..=ATTEMPTS {
        let folder = tempfile::Builder::new().prefix("signpost-interop-").tempdir().expect("a temporary folder");
        let (mut command, ready, made) = arrange(folder.path(), &free_ports());
        let log = File::create(folder.path().join("log")).expect("a log file");
        let errors = log.try_clone().expect("a log file");
        let child = command.current_dir(folder.path()).stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        let mut running = Running { child: child.unwrap_or_else(|e| panic!("{name} does not start: {e}")), folder };
        let begin = Instant::now();
        loop {
            if let Some(status) = running.child.try_wait().expect("the state of a child") {
                let log = running.log();
                let taken = log.to_lowercase().contains("in use");
                assert!(taken && attempt < ATTEMPTS, "{name} ended with {status}:\n{log}");
                break;
            }
            // Ready, and not someone else on the same port while ours is about to give up.
            if ready() && running.child.try_wait().expect("the state of a child").is_none() {
                return made(running);
            }
            assert!(begin.elapsed() < PATIENCE, "{name} is not ready after {PATIENCE:?}:\n{}", running.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    unreachable!("the last attempt returns or panics");
}

/// A port of loopback that nobody had, for UDP and TCP, a moment ago.
pub fn free_port() -> u16 {
    free_ports()[0]
}

/// Two ports that nobody had, for UDP and TCP, a moment ago. Below those that the kernel gives to clients: a client whose own socket got
/// the server's port would be answered by itself.
fn free_ports() -> [u16; 2] {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    let both = || loop {
        let step = TRIED.fetch_add(1, Ordering::Relaxed);
        let port = (FIRST + (std::process::id().wrapping_mul(97).wrapping_add(step)) % COUNT) as u16;
        if let (Ok(tcp), Ok(udp)) = (TcpListener::bind(loopback(port)), UdpSocket::bind(loopback(port))) {
            return (tcp, udp, port);
        }
    };
    let (one, two) = (both(), both());
    [one.2, two.2]
}

/// An address of this machine alone.
pub fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Where `program` is. Daemons lie in `/usr/sbin`, which not everyone has in `PATH`.
pub fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder| folder.join(program)).find(|candidate| candidate.is_file());
    found.unwrap_or_else(|| panic!("{program} is not installed: .ci/run installs it"))
}

/// Runs `script` of a folder, in that folder and in a network of its own, with what else `unshare` is to set apart; returns what it printed.
pub fn run_apart(folder: &Path, further: &[&str]) -> String {
    let mut args: Vec<String> = ["--net", "--pid", "--fork", "--kill-child"].iter().chain(further).map(ToString::to_string).collect();
    if run("id", &["-u"]).trim() != "0" {
        args.push("--map-root-user".into());
    }
    args.extend(["sh", "-c", "cd \"$1\" && exec sh script", "sh"].map(String::from));
    args.push(folder.display().to_string());
    let text = run("unshare", &args);
    assert!(!text.contains("unshare failed"), "this test needs a network of its own, as root or with user namespaces permitted: {text}");
    text
}

/// Runs a client to its end; returns what it printed, errors included.
pub fn run<S: AsRef<str>>(program: &str, args: &[S]) -> String {
    let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
    let mut command = Command::new(find(program));
    // One language for all machines: some clients translate what they print.
    command.args(&args).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{program} does not start: {e}"));
    let (mut out, mut err) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
    let drain = |pipe: &mut dyn Read| {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    std::thread::scope(|scope| {
        let printed = scope.spawn(|| drain(&mut out));
        let errors = scope.spawn(|| drain(&mut err));
        let done = wait_until(PATIENCE, || child.try_wait().expect("the state of a child").is_some());
        let _ = child.kill();
        let _ = child.wait();
        let text = printed.join().unwrap_or_default() + &errors.join().unwrap_or_default();
        assert!(done, "{program} {args:?} did not end within {PATIENCE:?}:\n{text}");
        text
    })
}

/// Looks every few milliseconds whether `done`, for at most `limit`; whether it came true.
pub fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    loop {
        if done() {
            return true;
        }
        if begin.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One HTTP request on a connection of its own; status and body.
pub fn http(server: SocketAddr, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    let status = reply.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no HTTP reply: {reply:?}")))?;
    Ok((status, reply.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_string())))
}
