//! Encrypted listeners over loopback, with the same stand-in.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ProtocolVersion};

use super::super::certificate::tests::pair;
use super::clients::{BOTH, Tls, client, shake};
use super::*;

/// A house with a certificate that can be changed.
pub(super) struct Safe {
    pub(super) house: House,
    folder: tempfile::TempDir,
    pub(super) tls: TlsSettings,
}

impl Safe {
    pub(super) fn new(change: impl FnOnce(&mut DnsSettings)) -> Safe {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| Some(folder.path().join(name));
        let any = || vec!["127.0.0.1:0".parse().unwrap()];
        let tls = TlsSettings {
            certificate: path("cert.pem"),
            key: path("key.pem"),
            dot: any(),
            doh: any(),
            doq: any(),
            ..TlsSettings::default()
        };
        put(&tls, &pair("first.example"));
        let house = house(&["127.0.0.1:0"], |settings| {
            settings.tls = tls.clone();
            change(settings);
        });
        Safe { house, folder, tls }
    }

    pub(super) fn dot(&self) -> SocketAddr {
        self.house.server.encrypted_addresses().dot[0]
    }

    pub(super) fn doh(&self) -> SocketAddr {
        self.house.server.encrypted_addresses().doh[0]
    }

    pub(super) fn doq(&self) -> SocketAddr {
        self.house.server.encrypted_addresses().doq[0]
    }

    pub(super) fn stats(&self) -> ConnectionStats {
        self.house.server.connections()
    }

    /// Waits until the house says so.
    pub(super) fn until(&self, what: &str, is_so: impl Fn(&ConnectionStats) -> bool) {
        let begin = Instant::now();
        while !is_so(&self.stats()) {
            assert!(begin.elapsed() < PATIENCE, "{what}: {:?}", self.stats());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Writes certificate and key.
pub(super) fn put(tls: &TlsSettings, (certificate, key): &(String, String)) {
    let write = |file: &Option<PathBuf>, text: &str| std::fs::write(file.as_ref().unwrap(), text).unwrap();
    write(&tls.certificate, certificate);
    write(&tls.key, key);
}

fn read_framed(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message)?;
    Ok(message)
}

fn ask_over(stream: &mut Tls, query: &[u8]) -> Vec<u8> {
    stream.write_all(&framed(query)).unwrap();
    read_framed(stream).unwrap()
}

fn certificate_of(stream: &Tls) -> Vec<u8> {
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn tls_of_both_versions_carries_the_conversation_of_tcp() {
    let safe = Safe::new(|_| {});
    for (version, is) in [(&rustls::version::TLS13, ProtocolVersion::TLSv1_3), (&rustls::version::TLS12, ProtocolVersion::TLSv1_2)] {
        for protocols in [&[][..], &[&b"dot"[..]][..], &[b"other", b"dot"]] {
            let mut stream = shake(safe.dot(), client(&[version], protocols)).unwrap();
            assert_eq!(stream.conn.protocol_version(), Some(is));
            assert_eq!(stream.conn.alpn_protocol(), protocols.last().copied());
            assert_eq!(ask_over(&mut stream, b"over a stream"), b"over a stream\0");
        }
        // Pipelined, and large beside small.
        let mut stream = shake(safe.dot(), client(&[version], &[])).unwrap();
        let queries: Vec<Vec<u8>> = (0..200).map(|n| vec![b'a' + n % 26; 12 + usize::from(n) * 30]).collect();
        let all: Vec<u8> = queries.iter().flat_map(|query| framed(query)).collect();
        stream.write_all(&all).unwrap();
        for query in &queries {
            assert!(read_framed(&mut stream).unwrap() == [query, &[0][..]].concat());
        }
        assert_eq!(ask_over(&mut stream, &vec![b'x'; LARGEST - 1]).len(), LARGEST);
        // What deserves no answer ends the connection, as it ends one over TCP, and not without a word (RFC 8446 §6.1).
        stream.write_all(&[framed(b"a good query"), framed(b"Dropped by the answer")].concat()).unwrap();
        assert_eq!(read_framed(&mut stream).unwrap(), b"a good query\0");
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
    assert_eq!(safe.house.answered(Transport::Tls), 2 * (3 + 202));
    // Whoever speaks another protocol is told so (RFC 7301 §3.2), and whoever speaks no TLS is not listened to.
    let refused = shake(safe.dot(), client(BOTH, &[b"h2"])).unwrap_err().to_string();
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
    let mut plain = connect(safe.dot());
    plain.write_all(&framed(b"a query that everybody can read")).unwrap();
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said);
    assert!(said.len() <= 7, "an alert at most: {said:?}");
    safe.until("both are counted", |stats| stats.handshakes_failed == 2);
}

#[test]
fn another_certificate_is_in_the_next_handshake_and_no_connection_ends() {
    let safe = Safe::new(|_| {});
    let mut first = shake(safe.dot(), client(BOTH, &[])).unwrap();
    ask_over(&mut first, b"number one..");
    let second_pair = pair("second.example");
    put(&safe.tls, &second_pair);
    let mut second = shake(safe.dot(), client(BOTH, &[])).unwrap();
    assert_eq!(certificate_of(&first), certificate_of(&second), "it was not told to read them again");
    safe.house.server.renew_certificate(&safe.tls).unwrap();
    let mut third = shake(safe.dot(), client(BOTH, &[])).unwrap();
    assert_ne!(certificate_of(&first), certificate_of(&third));
    // One that cannot be used changes nothing; nor do files that are gone.
    put(&safe.tls, &(second_pair.0, pair("third.example").1));
    let wrong = safe.house.server.renew_certificate(&safe.tls).unwrap_err();
    assert!(wrong.to_string().starts_with(&safe.folder.path().join("cert.pem").display().to_string()), "{wrong}");
    std::fs::remove_file(safe.folder.path().join("key.pem")).unwrap();
    safe.house.server.renew_certificate(&safe.tls).unwrap_err();
    let fourth = shake(safe.dot(), client(BOTH, &[])).unwrap();
    assert_eq!(certificate_of(&third), certificate_of(&fourth));
    for stream in [&mut first, &mut second, &mut third] {
        assert_eq!(ask_over(stream, b"still there?"), b"still there?\0");
    }
}

#[test]
fn a_house_with_a_broken_certificate_is_not_opened() {
    let safe = Safe::new(|_| {});
    std::fs::write(safe.tls.certificate.as_ref().unwrap(), "not a certificate").unwrap();
    let settings = DnsSettings { tls: safe.tls.clone(), listen: vec!["127.0.0.1:0".parse().unwrap()], ..Settings::default().dns };
    let error = start_with(&settings, safe.house.publisher.clone(), slow::none(), slow::MOST, echo).unwrap_err();
    assert!(matches!(error, ListenError::Certificate(CertificateError::NothingThere { .. })), "{error}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_thousand_handshakes_held_open_stall_nobody() {
    raise_open_files();
    let safe = Safe::new(|s| (s.tcp_connections, s.tcp_per_client, s.tcp_idle_ms) = (3000, 3000, 60_000));
    let mut before = shake(safe.dot(), client(BOTH, &[])).unwrap();
    ask_over(&mut before, b"who came before");
    // The beginning of a ClientHello, cut after so many octets.
    let mut connection = ClientConnection::new(Arc::new(client(BOTH, &[])), ServerName::try_from("dns.example").unwrap()).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    let held: Vec<TcpStream> = (0..1000usize)
        .map(|n| {
            let mut stream = connect(safe.dot());
            // Nothing, a part, or all of it and never a word after the server's.
            stream.write_all(&hello[..[0, 3, hello.len() / 2, hello.len()][n % 4]]).unwrap();
            stream
        })
        .collect();
    let mut answered_while_they_wait = || {
        assert_eq!(ask_over(&mut before, b"who came before"), b"who came before\0");
        let mut stream = shake(safe.dot(), client(BOTH, &[])).unwrap();
        assert_eq!(ask_over(&mut stream, b"who came after"), b"who came after\0");
        assert_eq!(converse(&mut connect(safe.house.server.addresses()[0]), b"over plain TCP"), b"over plain TCP\0");
        // None of the thousand has run out of time: they were there all the while.
        safe.stats().handshakes_timed_out == 0
    };
    // Nearly all of it on a machine that does nothing else; a busy one may not come so far before their time is over.
    let rounds = (0..20).map(|_| answered_while_they_wait()).take_while(|in_time| *in_time).count();
    assert!(rounds >= 3, "{rounds} rounds of three questions in the time of a handshake");
    drop(held);
}

#[test]
fn time_runs_out_for_handshakes_and_for_silence_after_them() {
    // A handshake has as long, and so has a query after it, on a busy machine, too.
    let safe = Safe::new(|s| s.tcp_idle_ms = 500);
    let silent = connect(safe.dot());
    let mut half = connect(safe.dot());
    half.write_all(&[22, 3, 1]).unwrap();
    assert_eq!(read_to_end(silent), b"");
    assert_eq!(read_to_end(half), b"");
    let mut idle = shake(safe.dot(), client(BOTH, &[])).unwrap();
    ask_over(&mut idle, b"and no more..");
    assert_eq!(idle.read(&mut [0]).unwrap(), 0, "it is said goodbye to");
    let mut unread = shake(safe.dot(), client(BOTH, &[])).unwrap();
    unread.sock.set_write_timeout(Some(PATIENCE)).unwrap();
    let many = framed(&vec![b'x'; LARGEST - 1]).repeat(8);
    while unread.write_all(&many).is_ok() {}
    safe.until("all are gone", |stats| stats.open == 0);
    assert_eq!(safe.stats().slow_write, 1);
}
