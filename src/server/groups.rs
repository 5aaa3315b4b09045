//! Replies of a batch, gathered so that those of one length for one client are sent in one piece (UDP_SEGMENT).

/// Replies that one send may hold. Newer kernels take 128.
const MOST_SEGMENTS: u8 = 64;

/// Octets that one send may hold: the largest UDP payload over IPv4.
const MOST_OCTETS: usize = 65_507;

/// The largest reply that is grouped. The kernel refuses segments beyond what the way there takes in one piece, which is no less than IPv6's
/// smallest, the 1280 behind the 1232 of RFC 9715 §3.1. Larger replies are few, and their octets cost more than their sending.
const LARGEST_SEGMENT: usize = 1232;

/// Slots by which a group is found again: twice as many as replies in a batch, so that few share one.
const SLOTS: usize = 128;

/// No reply and no group has this number.
const NONE: u8 = u8::MAX;

/// A reply: where it lies among the octets of the batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reply {
    pub(super) start: u32,
    pub(super) length: u16,
    /// The next one of its group, [`NONE`] after the last.
    next: u8,
}

/// Replies of one length that go to one place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    /// The number of a query whose sender they go to.
    pub(super) to: u8,
    /// How many they are.
    pub(super) count: u8,
    /// Octets of each.
    pub(super) length: u16,
    first: u8,
    last: u8,
}

/// The replies to one batch of queries, and their groups. Allocates once.
#[derive(Debug)]
pub(super) struct Groups {
    replies: Vec<Reply>,
    groups: Vec<Group>,
    /// Where a group may be found again. What is left of earlier batches does no harm, as every group found is compared.
    slots: [u8; SLOTS],
}

impl Groups {
    /// Room for as many replies, at most 255.
    pub(super) fn new(most: usize) -> Groups {
        assert!(most <= usize::from(NONE));
        Groups { replies: Vec::with_capacity(most), groups: Vec::with_capacity(most), slots: [NONE; SLOTS] }
    }

    /// Forgets all replies.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.replies.clear();
        self.groups.clear();
    }

    /// Takes the reply to query number `to`, which lies at `start`. `place` is a number that follows from where it goes, and `same` says
    /// whether the reply to another query goes there too.
    #[inline]
    pub(super) fn add(&mut self, to: usize, start: usize, length: usize, place: u64, same: impl Fn(usize) -> bool) {
        let number = self.replies.len() as u8;
        self.replies.push(Reply { start: start as u32, length: length as u16, next: NONE });
        // Fibonacci hashing: the upper bits depend on all of the number's.
        let slot = ((place ^ length as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOTS.trailing_zeros())) as usize;
        if let Some(group) = self.groups.get_mut(usize::from(self.slots[slot]))
            && usize::from(group.length) == length
            && group.takes_one_more()
            && same(group.to.into())
        {
            self.replies[usize::from(group.last)].next = number;
            group.last = number;
            group.count += 1;
            return;
        }
        self.slots[slot] = self.groups.len() as u8;
        self.groups.push(Group { to: to as u8, count: 1, length: length as u16, first: number, last: number });
    }

    /// The groups: every reply is in one.
    #[inline]
    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The replies of a group.
    #[inline]
    pub(super) fn replies(&self, group: &Group) -> impl Iterator<Item = Reply> + '_ {
        let mut next = group.first;
        std::iter::from_fn(move || {
            let reply = self.replies.get(usize::from(next))?;
            next = reply.next;
            Some(*reply)
        })
    }
}

impl Group {
    #[inline]
    fn takes_one_more(&self) -> bool {
        let length = usize::from(self.length);
        self.count < MOST_SEGMENTS && length <= LARGEST_SEGMENT && (usize::from(self.count) + 1) * length <= MOST_OCTETS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups of the replies (client, length) as `client: length × count`, and whether each reply is in one group, in its client's.
    fn grouped(replies: &[(u64, usize)]) -> Vec<String> {
        let mut groups = Groups::new(255);
        let mut batches = Vec::new();
        // Twice, as what is left of one batch must not be seen in the next.
        for _ in 0..2 {
            groups.clear();
            for (number, &(client, length)) in replies.iter().enumerate() {
                groups.add(number, number * 5000, length, client, |other| replies[other].0 == client);
            }
            let mut seen = vec![0; replies.len()];
            let show = |group: &Group| {
                let client = replies[usize::from(group.to)].0;
                let members: Vec<Reply> = groups.replies(group).collect();
                assert_eq!(members.len(), usize::from(group.count));
                for member in members {
                    let number = member.start as usize / 5000;
                    assert_eq!(replies[number], (client, usize::from(group.length)));
                    assert_eq!(member.length, group.length);
                    seen[number] += 1;
                }
                format!("{client}: {} × {}", group.length, group.count)
            };
            batches.push(groups.groups().iter().map(show).collect::<Vec<_>>());
            assert!(seen.iter().all(|times| *times == 1), "{seen:?}");
        }
        assert_eq!(batches[0], batches[1]);
        batches.remove(0)
    }

    #[test]
    fn replies_of_one_length_for_one_client_are_together_as_far_as_the_kernel_allows() {
        assert_eq!(grouped(&[]), [""; 0]);
        assert_eq!(grouped(&[(1, 50), (2, 50), (1, 60), (1, 50), (2, 50), (1, 60)]), ["1: 50 × 2", "2: 50 × 2", "1: 60 × 2"]);
        assert_eq!(grouped(&[(7, 33); 150]), ["7: 33 × 64", "7: 33 × 64", "7: 33 × 22"]);
        assert_eq!(grouped(&[(7, 1232); 64]), ["7: 1232 × 53", "7: 1232 × 11"]);
        assert_eq!(grouped(&[(7, 1233); 2]), ["7: 1233 × 1", "7: 1233 × 1"]);
        // Whoever shares a slot displaces others and is never mixed up with them.
        let many: Vec<(u64, usize)> = (0..200).map(|n| (n % 100, 40)).collect();
        assert!(grouped(&many).len() < 150);
    }
}
