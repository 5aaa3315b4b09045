//! A service as the registry has it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};

use super::Instances;
use crate::model::{Revision, Service, Source};

/// A service: what it is by, as its fields, and its instances. 32 octets: a million of them are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceEntry {
    pub(super) terms: Terms,
    /// When anything in it was last written or changed its health.
    pub changed: Revision,
    /// Its instances by id.
    pub instances: Instances,
}

/// What somebody said of a service as a whole. Most services exist because instances do, and take no memory for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Terms(Option<Box<Said>>);

/// See [`ServiceEntry`].
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Its settings; defaults where nobody set any.
    pub service: Arc<Service>,
    /// Who set them; `None`: it exists because instances do.
    pub source: Option<Source>,
    /// When the settings were last written; 0 for those of files and for defaults.
    pub revision: Revision,
}

impl ServiceEntry {
    /// A service that exists because these instances do.
    pub fn of(instances: Instances, changed: Revision) -> ServiceEntry {
        ServiceEntry { terms: Terms::default(), changed, instances }
    }
}

impl Deref for ServiceEntry {
    type Target = Said;
    fn deref(&self) -> &Said {
        &self.terms
    }
}

impl DerefMut for ServiceEntry {
    fn deref_mut(&mut self) -> &mut Said {
        &mut self.terms
    }
}

impl Said {
    fn nothing() -> Said {
        Said { service: Service::plain(), source: None, revision: Revision(0) }
    }
}

impl Deref for Terms {
    type Target = Said;
    fn deref(&self) -> &Said {
        static NOTHING: LazyLock<Said> = LazyLock::new(Said::nothing);
        self.0.as_deref().unwrap_or_else(|| &NOTHING)
    }
}

impl DerefMut for Terms {
    fn deref_mut(&mut self) -> &mut Said {
        self.0.get_or_insert_with(|| Box::new(Said::nothing()))
    }
}

impl PartialEq for Terms {
    fn eq(&self, other: &Terms) -> bool {
        **self == **other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_of_which_nobody_said_anything_is_plain_and_small() {
        assert_eq!(size_of::<ServiceEntry>(), 32);
        let (plain, mut set) = (ServiceEntry::of(Instances::default(), Revision(3)), ServiceEntry::of(Instances::default(), Revision(3)));
        assert!(Arc::ptr_eq(&plain.service, &Service::plain()) && plain.source.is_none() && plain.revision == Revision(0));
        set.source = None;
        assert_eq!(plain, set, "to write what is so already says nothing");
        set.revision = Revision(1);
        assert_ne!(plain, set);
    }
}
