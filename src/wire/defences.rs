//! What all workers of a server share against abuse.

use super::limit::Table;
use crate::model::CookieSecret;

/// What all workers of a server share against abuse: the secret of its cookies, and who had how many replies.
#[derive(Debug)]
pub struct Defences {
    secret: [CookieSecret; 1],
    pub(super) table: Table,
}

impl Defences {
    /// Defences that follow from `random`, which nobody else must know; with room for at least so many buckets of the rate limit, at 8
    /// octets each.
    pub fn new(random: [u8; 32], buckets: usize) -> Defences {
        let word = |at: usize| random.iter().skip(at).take(8).fold(0, |word, octet| word << 8 | u64::from(*octet));
        let mut secret = [0; 16];
        secret.copy_from_slice(&random[..16]);
        Defences { secret: [CookieSecret(secret)], table: Table::new(buckets, (word(16), word(24))) }
    }

    /// The secrets of cookies: those of the settings, else one's own.
    #[inline]
    pub(super) fn secrets<'a>(&'a self, configured: &'a [CookieSecret]) -> &'a [CookieSecret] {
        if configured.is_empty() { &self.secret } else { configured }
    }
}
