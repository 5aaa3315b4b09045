//! How many datagrams a worker asks the kernel for at once.

/// While queries come one by one, one receive in so many asks for a batch, lest a backlog goes unseen.
const TRIED_EVERY: u8 = 8;

/// So many batches of one in a row, and queries are taken one by one again.
const BATCHES_OF_ONE: u8 = 4;

/// One by one, or many at once: by how many there were lately.
///
/// A receive that asks for one datagram is cheaper than one that asks for many and gets one, which looks in vain for the second. It tells
/// nothing of others that wait, so every so often one asks for many.
#[derive(Debug, Default)]
pub(super) struct Pace {
    many: bool,
    /// Since the pace changed: batches of one in a row, or receives of one.
    count: u8,
}

impl Pace {
    /// Whether the next receive is to ask for many.
    #[inline]
    pub(super) fn asks_many(&self) -> bool {
        self.many || self.count >= TRIED_EVERY - 1
    }

    /// Takes note of how many a receive brought.
    #[inline]
    pub(super) fn note(&mut self, received: usize) {
        if received > 1 {
            (self.many, self.count) = (true, 0);
            return;
        }
        self.count += 1;
        if self.many && self.count == BATCHES_OF_ONE {
            (self.many, self.count) = (false, 0);
        } else if !self.many && self.count == TRIED_EVERY {
            self.count = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_seen_within_eight_receives_and_its_end_within_four() {
        let mut pace = Pace::default();
        // What waits at each receive, and which of them ask for many.
        let mut asked = |waiting: &[usize]| -> String {
            let ask = |&waiting: &usize| {
                let many = pace.asks_many();
                pace.note(if many { waiting } else { 1 });
                if many { 'm' } else { '1' }
            };
            waiting.iter().map(ask).collect()
        };
        assert_eq!(asked(&[1; 20]), "1111111m1111111m1111");
        assert_eq!(asked(&[9; 6]), "111mmm");
        assert_eq!(asked(&[1, 1, 1, 2, 1, 1, 1, 1, 1]), "mmmmmmmm1");
        assert_eq!(asked(&[1; 7]), "111111m");
    }
}
