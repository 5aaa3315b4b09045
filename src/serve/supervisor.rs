//! What whoever supervises the process is told (`sd_notify(3)`): systemd with `Type=notify`, and what does as it does. Without `$NOTIFY_SOCKET`,
//! nobody.

use sd_notify::NotifyState;

/// The server answers; `in_force`: with its files as they are now.
pub(super) fn ready(in_force: bool) {
    let status = if in_force { "serving" } else { "serving; its files, as they are now, are not in force: see `signpost status`" };
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The files are read again; [`ready`] follows.
pub(super) fn reloading() {
    // Since systemd 253 one is not believed without the other.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the supervisor is not told that files are read again"),
    }
}

/// The server stops.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Nothing depends on it: who supervises notices at the latest by its own time limits.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the supervisor (NOTIFY_SOCKET) is not told how the server is");
    }
}
