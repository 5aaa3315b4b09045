//! The real binary as a child process, in a folder of its own that outlives it: so that it can be killed and started again.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The longest wait for anything. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with a configuration, and the addresses in it.
pub struct Home {
    /// Where it is.
    pub folder: TempDir,
    /// Where DNS is answered.
    pub dns: SocketAddr,
    /// Where the API listens.
    pub api: SocketAddr,
}

impl Home {
    /// Writes a configuration with one zone, `svc.example`, and `files` beside it.
    pub fn new(files: &[(&str, &str)]) -> Home {
        let folder = tempfile::tempdir().unwrap();
        let (dns, api) = free_ports();
        let config = format!("version = 1\n[dns]\nlisten = [\"{dns}\"]\nworkers = 2\n[api]\nlisten = \"{api}\"\n");
        let zone = "services = true\nns = [\"ns1.svc.example.\"]\n[records]\nns1 = { A = [\"127.0.0.1\"] }\n";
        for (path, text) in [("signpost.toml", config.as_str()), ("zones/svc.example.toml", zone)].iter().chain(files) {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Home { folder, dns, api }
    }

    /// Has DNS answered elsewhere.
    pub fn listen(&mut self, dns: SocketAddr) {
        let path = self.folder.path().join("signpost.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, config.replace(&format!("[\"{}\"]", self.dns), &format!("[\"{dns}\"]"))).unwrap();
        self.dns = dns;
    }

    /// Adds a line to `[dns]`.
    pub fn set(&self, line: &str) {
        let path = self.folder.path().join("signpost.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, config.replace("[dns]\n", &format!("[dns]\n{line}\n"))).unwrap();
    }

    /// Starts the server and waits until it is ready; returns it and how long that took.
    pub fn start(&self) -> (Server, Duration) {
        self.start_with(&[])
    }

    /// The same, with these variables in its environment.
    pub fn start_with(&self, variables: &[(&str, &Path)]) -> (Server, Duration) {
        let begin = Instant::now();
        let mut server = Server(spawn(self.folder.path(), variables));
        loop {
            if let Ok(Some(status)) = server.0.try_wait() {
                panic!("signpost ended with {status}: {}", self.log());
            }
            if Http::connect(self.api).and_then(|mut http| http.call("GET", "/readyz", "")).is_ok_and(|(status, _)| status == 200) {
                return (server, begin.elapsed());
            }
            assert!(begin.elapsed() < PATIENCE, "signpost is not ready: {}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What the server has written to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

fn spawn(folder: &Path, variables: &[(&str, &Path)]) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_signpost"));
    command.args(["serve", "--config", "signpost.toml"]).current_dir(folder).stdin(Stdio::null());
    command.env_remove("NOTIFY_SOCKET").envs(variables.iter().copied());
    command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

/// Two addresses that nobody had a moment ago.
fn free_ports() -> (SocketAddr, SocketAddr) {
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let tcp = TcpListener::bind(loopback(0)).unwrap();
    let dns = loop {
        let udp = UdpSocket::bind(loopback(0)).unwrap();
        if TcpListener::bind(udp.local_addr().unwrap()).is_ok() {
            break udp.local_addr().unwrap();
        }
    };
    (dns, tcp.local_addr().unwrap())
}

/// A running server. Dropping it kills it, as `kill -9` does.
pub struct Server(Child);

impl Server {
    /// Sends it a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.0.id().to_string()]).status().unwrap();
        assert!(sent.success(), "SIG{name} could not be sent");
    }

    /// Waits for its end.
    pub fn wait(mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            match self.0.try_wait().unwrap() {
                Some(status) => return status,
                None => assert!(begin.elapsed() < PATIENCE, "signpost does not end"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its memory, in KB.
    pub fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    /// Kills it at once.
    pub fn kill(self) {}
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One HTTP connection that is kept open.
pub struct Http(BufReader<TcpStream>);

impl Http {
    /// Connects.
    pub fn connect(address: SocketAddr) -> std::io::Result<Http> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Http(BufReader::new(stream)))
    }

    /// One request; returns status and body.
    pub fn call(&mut self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        self.0.get_mut().write_all((head + body).as_bytes())?;
        let broken = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_string());
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| broken("no status line"))?;
        let mut length = 0;
        loop {
            line.clear();
            if self.0.read_line(&mut line)? == 0 {
                return Err(broken("the connection ended within the head"));
            }
            match line.trim_end().split_once(':') {
                None => break,
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().map_err(|_| broken("content-length"))?;
                }
                Some(_) => {}
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}
