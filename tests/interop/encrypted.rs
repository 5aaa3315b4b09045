//! Encrypted DNS as other people's clients speak it: kdig over TLS, HTTPS and QUIC, and curl over HTTPS.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::harness::{Signpost, free_port, loopback, run};
use crate::reply::Reply;
use crate::world;

/// A server with a certificate that openssl made.
struct Safe {
    signpost: Signpost,
    folder: TempDir,
    /// DNS over TLS and QUIC.
    dns: u16,
    https: u16,
}

impl Safe {
    fn start() -> Safe {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let made = run(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=dns.example",
                "-addext",
                "subjectAltName=DNS:dns.example,IP:127.0.0.1",
                "-keyout",
                &path("key.pem"),
                "-out",
                &path("cert.pem"),
            ],
        );
        assert!(folder.path().join("cert.pem").exists(), "{made}");
        let (dns, https) = (free_port(), free_port());
        let (tls, doh) = (loopback(dns), loopback(https));
        let section = format!(
            "[dns.tls]\ncertificate = \"{}\"\nkey = \"{}\"\ndot = [\"{tls}\"]\ndoq = [\"{tls}\"]\ndoh = [\"{doh}\"]\n",
            path("cert.pem"),
            path("key.pem")
        );
        let signpost = world::start_with(&section);
        Safe { signpost, folder, dns, https }
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// kdig over one transport, whose certificate it verifies where it can.
    fn kdig(&self, transport: &str, query: &str) -> String {
        let port = if transport.contains("https") { self.https } else { self.dns };
        let mut args = vec!["@127.0.0.1".into(), "-p".into(), port.to_string(), "+time=5".into(), "+retry=0".into()];
        args.extend(transport.split(' ').map(String::from));
        // kdig 3.2.6 crashes where it is to verify over QUIC, whoever answers.
        if transport != "+quic" {
            args.extend([format!("+tls-ca={}", self.certificate().display()), "+tls-hostname=dns.example".into()]);
        }
        args.extend(query.split_whitespace().map(String::from));
        let text = run("kdig", &args);
        assert!(!text.contains(";; WARNING") && !text.contains(";; ERROR"), "kdig {transport} {query}:\n{text}");
        text
    }

    /// curl to the DoH port; what it printed.
    fn curl(&self, args: &[&str]) -> String {
        let resolve = format!("dns.example:{}:127.0.0.1", self.https);
        let certificate = self.certificate().display().to_string();
        run("curl", &[&["-sS", "--max-time", "10", "--cacert", &certificate, "--resolve", &resolve], args].concat())
    }
}

#[test]
fn kdig_asks_over_tls_https_and_quic() {
    let safe = Safe::start();
    for (transport, session) in [
        ("+tls", "TLS session (TLS1.3)"),
        ("+https", "HTTP session (HTTP/2-POST)"),
        ("+https +https-get", "HTTP session (HTTP/2-GET)"),
        ("+quic", "QUIC session (QUICv1)"),
    ] {
        world::check_names(|name, rtype| Reply::one(&safe.kdig(transport, &format!("{name} {rtype}"))));
        let text = safe.kdig(transport, "big.svc.example TXT");
        assert!(text.contains(session), "{transport}:\n{text}");
        let reply = Reply::one(&text);
        assert_eq!((reply.data("TXT").len(), reply.flag("tc")), (6, false), "{transport}:\n{text}");
        // kdig pads its queries, and replies are padded then (RFC 8467 §4.1).
        assert!(reply.opt.iter().any(|line| line.contains("PADDING")), "{transport}:\n{text}");
    }
    // Several queries on one connection.
    let text = safe.kdig("+tls +keepopen", "www.svc.example A mail.svc.example A");
    assert_eq!(Reply::all(&text).len(), 2, "{text}");
}

#[test]
fn curl_asks_over_https() {
    let safe = Safe::start();
    // www.svc.example A, with id 0.
    let query = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x03www\x03svc\x07example\0\0\x01\0\x01";
    let encoded = "AAABAAABAAAAAAAAA3d3dwNzdmMHZXhhbXBsZQAAAQAB";
    let file = safe.folder.path().join("query");
    std::fs::write(&file, query).unwrap();
    let (url, out) = (format!("https://dns.example:{}/dns-query", safe.https), safe.folder.path().join("reply"));
    let written = "%{http_version} %{http_code} %{content_type} %header{cache-control} %header{alt-svc}";
    let (get, data, out_text) = (format!("{url}?dns={encoded}"), format!("@{}", file.display()), out.display().to_string());
    let media_type = "content-type: application/dns-message";
    for version in ["--http2", "--http1.1"] {
        let requests: [&[&str]; 2] = [&[&get], &["-H", media_type, "--data-binary", &data, &url]];
        for request in requests {
            let said = safe.curl(&[&[version, "-o", &out_text, "-w", written], request].concat());
            let number = if version == "--http2" { "2" } else { "1.1" };
            let expected = format!("{number} 200 application/dns-message private, max-age=2 h3=\":{}\"; ma=86400", safe.https);
            assert_eq!(said, expected, "{request:?}");
            let reply = std::fs::read(&out).unwrap();
            assert!(reply[..4] == [0, 0, 0x85, 0] && reply[7] == 2, "{reply:?}");
        }
        let said = safe.curl(&[version, "-o", &out_text, "-w", "%{http_code}", "-X", "PUT", &url]);
        assert_eq!(said, "405");
    }
    // curl finds the address of its own server with DNS over HTTPS, and goes there.
    safe.signpost.put("/v1/services/here/instances/h1", r#"{"addresses":["127.0.0.1"],"region":"boston","az":"az-1"}"#);
    let doh = ["--doh-insecure", "--doh-url", &url];
    let here = format!("http://here.svc.example:{}/healthz", safe.signpost.api().port());
    let said = safe.curl(&[&doh[..], &["-o", &out_text, "-w", "%{remote_ip}", &here]].concat());
    assert_eq!(said, "127.0.0.1");
}
