//! Replies go whole (RFC 9715 §3.1); where they are too large for the interface that they leave by, in fragments: in a network of its own.

use crate::harness::{Files, find, loopback, run_apart, write_signpost};

const FILES: Files = &[(
    "zones/example.test.zone",
    "$ORIGIN example.test.\n$TTL 60\n@ SOA ns1 h 1 3600 600 604800 60\n@ NS ns1\nns1 A 192.0.2.53\nsmall A 192.0.2.1\n\
     large TXT \"0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\" \
     \"1111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111\" \
     \"2222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222\" \
     \"3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333\" \
     \"4444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444\" \
     \"5555555555555555555555555555555555555555555555555555555555555555555555555555555555555555555555555555\" \
     \"6666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666\" \
     \"7777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777\"\n",
)];

#[test]
fn replies_pass_an_interface_that_is_too_narrow_for_them() {
    for program in ["unshare", "ip", "curl", "dig"] {
        find(program);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = write_signpost(folder.path(), &[loopback(53)], "", loopback(8053), FILES);
    // TCP sends segments as small as the interface asks; datagrams are as large as the reply.
    let script = format!(
        "set -eu\nip link set lo mtu 600 up\n'{signpost}' serve --config '{config}' >log 2>&1 &\n\
         tries=0\nuntil curl -fs -o /dev/null http://127.0.0.1:8053/readyz; do\n\
         \ttries=$((tries + 1)); if [ $tries -gt 150 ]; then echo 'not ready'; cat log; exit 1; fi; sleep 0.1\ndone\n\
         ask() {{ dig +notcp +ignore +tries=2 +time=2 +bufsize=1232 @127.0.0.1 \"$1\" \"$2\"; }}\n\
         echo '== before'; ask small.example.test A\necho '== first'; ask large.example.test TXT\necho '== second'; ask large.example.test TXT\n\
         echo '== after'; ask small.example.test A\necho '== log'; grep -c 'fit the MTU' log\n",
        signpost = env!("CARGO_BIN_EXE_signpost"),
        config = config.display(),
    );
    std::fs::write(folder.path().join("script"), script).expect("the script");
    let text = run_apart(folder.path(), &[]);
    let part = |title: &str| text.split("== ").find_map(|part| part.strip_prefix(title)).unwrap_or_else(|| panic!("no {title}: {text}"));
    for title in ["before", "after"] {
        assert!(part(title).contains("192.0.2.1"), "{text}");
    }
    for title in ["first", "second"] {
        let length = part(title).split("MSG SIZE  rcvd: ").nth(1).and_then(|rest| rest.trim().parse::<usize>().ok());
        assert!(part(title).contains("77777777") && length.is_some_and(|length| length > 800), "{title}: {text}");
    }
    // Each worker has a socket of its own, and says it once.
    assert!(matches!(part("log").trim(), "1" | "2"), "{text}");
}
