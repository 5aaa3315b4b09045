//! Connections to instances; opening one is all that a TCP check does.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::attempt::Failure;

/// Connects to the instance.
///
/// The connection is closed with a reset (SO_LINGER 0) as soon as it is dropped. An orderly close would leave each of 20,000 probes a
/// second in TIME_WAIT for a minute: 1,200,000 sockets, and no free port any more for an address and port that many checks share. Checks
/// read what they asked for before that, so that a server sees the reset only when it has said everything.
pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(address).await.map_err(failure)?;
    // A free port within the ephemeral range may be given to the connection itself, which then meets itself (RFC 9293 §3.5, simultaneous
    // open): on loopback a dead instance would pass now and then.
    if stream.local_addr().is_ok_and(|own| own == address) {
        return Err(Failure::Instance("connection refused".into()));
    }
    // It cannot fail on an open socket, and the probe would be as good without.
    let _ = stream.set_zero_linger();
    Ok(stream)
}

/// Tells what the instance does from what this machine lacks.
pub(super) fn failure(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Failure::Instance("connection refused".into()),
        io::ErrorKind::ConnectionReset => Failure::Instance("connection reset".into()),
        io::ErrorKind::OutOfMemory => Failure::Here(error.to_string()),
        _ if lacks_resources(&error) => Failure::Here(error.to_string()),
        _ => Failure::instance(&error),
    }
}

/// File descriptors, buffers, and ports to connect from (EADDRNOTAVAIL).
fn lacks_resources(error: &io::Error) -> bool {
    #[cfg(unix)]
    return matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::EADDRNOTAVAIL));
    #[cfg(not(unix))]
    return false;
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_lacks_is_not_laid_to_the_instance() {
        for (error, here) in [
            (libc::EMFILE, true),
            (libc::ENFILE, true),
            (libc::ENOBUFS, true),
            (libc::ENOMEM, true),
            (libc::EADDRNOTAVAIL, true),
            (libc::ECONNREFUSED, false),
            (libc::ECONNRESET, false),
            (libc::EHOSTUNREACH, false),
            (libc::ENETUNREACH, false),
            (libc::ETIMEDOUT, false),
        ] {
            let failure = failure(io::Error::from_raw_os_error(error));
            assert_eq!(matches!(failure, Failure::Here(_)), here, "{failure:?}");
        }
    }
}
