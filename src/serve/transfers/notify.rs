//! Telling secondaries of new versions (RFC 1996), and hearing what they say to it.

use std::net::IpAddr;

use tokio::net::UdpSocket;

use super::{Transfers, count, now_ms};
use crate::codec::code::rcode;
use crate::transfer::Told;

impl Transfers {
    /// Sends what is due.
    pub(super) async fn tell(&self, v4: &Option<UdpSocket>, v6: &Option<UdpSocket>) {
        let (messages, told) = {
            let mut state = self.lock();
            let keys = state.rules.keys.clone();
            state.notifier.poll(now_ms(), &keys, &mut || getrandom::u32().unwrap_or_default() as u16)
        };
        told.into_iter().for_each(|told| self.note(told));
        for (to, message) in messages {
            let socket = if to.is_ipv4() { v4 } else { v6 };
            if let Some(socket) = socket {
                // Lost as any datagram: it is sent again.
                _ = socket.send_to(&message, to).await;
            }
        }
    }

    /// Waits for a reply to a NOTIFY.
    pub(super) async fn hear(&self, socket: &Option<UdpSocket>) {
        let Some(socket) = socket else { return std::future::pending().await };
        let mut message = [0; 4096];
        // An error speaks of a datagram that was sent before.
        if let Ok((length, from)) = socket.recv_from(&mut message).await {
            let told = self.lock().notifier.received(from, &message[..length], now_ms());
            told.into_iter().for_each(|told| self.note(told));
        }
    }

    fn note(&self, told: Told) {
        match told {
            Told::Acknowledged { .. } => count(&self.counts.told),
            Told::Refused { .. } | Told::GivenUp { .. } => count(&self.counts.not_told),
        }
        log(told);
    }
}

fn log(told: Told) {
    match told {
        Told::Acknowledged { apex, peer } => tracing::debug!(zone = %apex, %peer, "the secondary was told of the change"),
        Told::Refused { apex, peer, rcode: code } => {
            tracing::warn!(zone = %apex, %peer, rcode = rcode::name(code), "the secondary refuses to be told of changes");
        }
        Told::GivenUp { apex, peer } => tracing::warn!(zone = %apex, %peer, "the secondary does not answer when it is told of changes"),
    }
}

pub(super) async fn bound(address: IpAddr) -> Option<UdpSocket> {
    UdpSocket::bind((address, 0)).await.map_err(|error| tracing::debug!(%error, %address, "no NOTIFY is sent from here")).ok()
}
