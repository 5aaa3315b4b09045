//! How many changes of health are told one by one: when a region is lost, or a hundred thousand instances flap, nobody reads them, and
//! telling would cost more than the changes do. What is beyond [`MOST`] in a second is counted, and told in one event when it is over.

use crate::model::{Health, Timestamp};

/// Changes of health that are told one by one in a second.
pub(super) const MOST: u32 = 1000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Told {
    second: u64,
    told: u32,
    /// To healthy, and to anything else.
    untold: (u64, u64),
}

impl Told {
    /// Whether one more is told by itself; else it is counted.
    pub fn admit(&mut self, now: Timestamp, after: Health) -> bool {
        if now.0 / 1000 != self.second {
            (self.second, self.told) = (now.0 / 1000, 0);
        }
        self.told = self.told.saturating_add(1);
        if self.told <= MOST {
            return true;
        }
        let (up, down) = &mut self.untold;
        *(if after == Health::Healthy { up } else { down }) += 1;
        false
    }

    /// When [`Told::sum`] is needed next.
    pub fn due(&self) -> Option<Timestamp> {
        (self.untold != (0, 0)).then(|| Timestamp((self.second + 1) * 1000))
    }

    /// What is to be told of those that were counted, once their second is over.
    pub fn sum(&mut self, now: Timestamp) -> Option<String> {
        self.due().filter(|due| *due <= now)?;
        let (up, down) = std::mem::take(&mut self.untold);
        Some(format!("{} more changed within a second: {up} to healthy, {down} to unhealthy or pending", up + down))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_in_one_line() {
        let mut told = Told::default();
        let mut tell = |millis: u64, count: u32, health: Health| {
            let told_singly = (0..count).filter(|_| told.admit(Timestamp(millis), health)).count();
            (told_singly, told.due().map(|at| at.0), told.sum(Timestamp(millis)))
        };
        assert_eq!(tell(5000, 1000, Health::Healthy), (1000, None, None));
        assert_eq!(tell(5900, 70, Health::Unhealthy), (0, Some(6000), None));
        assert_eq!(tell(5999, 7, Health::Healthy), (0, Some(6000), None));
        let sum = "77 more changed within a second: 7 to healthy, 70 to unhealthy or pending".to_string();
        assert_eq!(tell(6000, 0, Health::Healthy), (0, Some(6000), Some(sum)));
        assert_eq!(tell(6001, 2, Health::Healthy), (2, None, None));
    }
}
