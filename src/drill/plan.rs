//! The drills of the configuration, and when each begins by itself next.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{DefinedDrill, DrillFields, Label, Timestamp};

/// How late a drill may begin: beyond that nobody expects it any more.
const LATE: Duration = Duration::from_secs(60);

/// What is defined.
#[derive(Debug, Default)]
pub(super) struct Plan(BTreeMap<Label, (DrillFields, Option<Timestamp>)>);

/// A drill whose time has come.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Due {
    pub name: Label,
    pub drill: DrillFields,
    /// Its time has passed.
    pub late: bool,
}

impl Plan {
    /// Takes new definitions. A time that is already waited for stays where the schedule does: it may be due right now.
    pub fn define(&mut self, defined: &BTreeMap<Label, DrillFields>, now: Timestamp) {
        let before = std::mem::take(&mut self.0);
        let next = |name: &Label, drill: &DrillFields| match before.get(name) {
            Some((known, next)) if known.schedule == drill.schedule => *next,
            _ => drill.schedule.and_then(|schedule| schedule.next(now)),
        };
        self.0 = defined.iter().map(|(name, drill)| (name.clone(), (drill.clone(), next(name, drill)))).collect();
    }

    /// A drill by its name.
    pub fn get(&self, name: &Label) -> Option<&DrillFields> {
        self.0.get(name).map(|(drill, _)| drill)
    }

    /// Those whose time has come, each once.
    pub fn due(&mut self, now: Timestamp) -> Vec<Due> {
        let mut due = Vec::new();
        for (name, (drill, next)) in &mut self.0 {
            if let Some(at) = next.filter(|at| *at <= now) {
                *next = drill.schedule.and_then(|schedule| schedule.next(now));
                due.push(Due { name: name.clone(), drill: drill.clone(), late: now.since(at) > LATE });
            }
        }
        due
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<DefinedDrill> {
        self.0.iter().map(|(name, (drill, next))| DefinedDrill { name: name.clone(), drill: drill.clone(), next: *next }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_comes_once_and_late_ones_are_known() {
        let label = |text: &str| Label::parse(text).unwrap();
        let drill = |schedule: &str| -> DrillFields {
            serde_json::from_str(&format!(r#"{{"lose":"region/eu","schedule":"{schedule}"}}"#)).unwrap()
        };
        let at = |text: &str| Timestamp::try_from(format!("2026-11-24T{text}Z")).unwrap();
        let mut defined: BTreeMap<_, _> = [(label("a"), drill("Tue 10:00")), (label("b"), drill("daily 10:01"))].into();
        let mut plan = Plan::default();
        plan.define(&defined, at("09:59:30"));
        let due = |plan: &mut Plan, now: &str| -> Vec<String> {
            plan.due(at(now)).into_iter().map(|due| format!("{}{}", due.name, if due.late { " late" } else { "" })).collect()
        };
        assert_eq!(due(&mut plan, "09:59:59"), [""; 0]);
        // Other definitions change: what is waited for stays.
        defined.insert(label("c"), DrillFields::new("region/eu".to_string().try_into().unwrap()));
        plan.define(&defined, at("10:00:00"));
        assert_eq!(due(&mut plan, "10:00:00"), ["a"]);
        assert_eq!(due(&mut plan, "10:00:00"), [""; 0]);
        assert_eq!(due(&mut plan, "10:02:01"), ["b late"]);
        let list: Vec<_> = plan.list().iter().map(|d| d.next.map_or("never".into(), |at| at.to_string()[..16].to_string())).collect();
        assert_eq!(list, ["2026-12-01T10:00", "2026-11-25T10:01", "never"]);
    }
}
