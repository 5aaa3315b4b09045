//! Floor 3: copies of zones for other servers: AXFR (RFC 5936), IXFR (RFC 1995), NOTIFY (RFC 1996), and serials that move (RFC 1982). No IO.
//!
//! ```text
//! a zone as it is served ─▶ Version ─┬─▶ Stream: message after message, one version from the first to the last
//!            render: names that      └─ difference to the version before ─▶ Journal ─▶ IXFR
//!            depend on health                                          └─▶ Notifier: who is told, and told again
//! ```
//! What a zone says of itself is read from the snapshot as it is; names of services and names with policies are [rendered](render()): asked for, as
//! any client would. Serials of zones whose files say none are [`Serials`]' to keep.

mod content;
mod journal;
mod notify;
mod packer;
mod render;
mod request;
mod serials;
mod stream;
#[cfg(test)]
mod tests;

pub use content::{Print, Record, Records, Version};
pub use journal::{Difference, Journal};
pub use notify::{Notifier, Told};
pub use render::{Render, TooMany, is_rendered, render};
pub use request::{Asked, Extent, refusal};
pub use serials::{Overruled, Serials, SerialsError, is_newer, next_serial};
pub use stream::{Stream, StreamError};

use std::net::IpAddr;

use crate::model::{Name, TransferSettings};

/// Whether a client may have a zone; `key` is what its request was signed with.
pub fn permits(settings: &TransferSettings, client: IpAddr, key: Option<&Name>) -> bool {
    let client = client.to_canonical();
    let by_address = settings.networks.is_empty() || settings.networks.iter().any(|network| network.contains(&client));
    let by_key = settings.keys.is_empty() || key.is_some_and(|key| settings.keys.contains(key));
    // Where neither is said, nobody may.
    by_address && by_key && !(settings.networks.is_empty() && settings.keys.is_empty())
}
