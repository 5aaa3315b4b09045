//! What is counted of connections.

/// How connections fare, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionStats {
    /// Open now.
    pub open: usize,
    /// Accepted since the start.
    pub accepted: u64,
    /// Closed as the longest idle one to make room for another (`tcp_connections`, or no file descriptors left).
    pub displaced: u64,
    /// Closed as the longest idle one of a client that opened more than its share (`tcp_per_client`).
    pub displaced_by_own: u64,
    /// Closed because nothing came for `tcp_idle`.
    pub idle: u64,
    /// Closed because a query was begun and not all of it came within `tcp_idle`.
    pub slow_read: u64,
    /// Closed because the client did not take its replies within `tcp_idle`.
    pub slow_write: u64,
    /// TLS and QUIC handshakes that failed.
    pub handshakes_failed: u64,
    /// TLS and QUIC handshakes that took too long.
    pub handshakes_timed_out: u64,
    /// QUIC clients that were asked to show that their address is theirs before anything was done for them (RFC 9000 §8.1.2).
    pub retries: u64,
}

/// How a handshake ended that came to nothing, or was not begun yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeEnd {
    /// The client's fault or ours.
    Failed,
    /// Not done in time.
    TimedOut,
    /// To be begun again with a token.
    Retried,
}
