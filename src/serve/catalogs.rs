//! Catalogs that are made here (RFC 9432): zones that list what is transferred, beside those that were read.

use std::collections::BTreeSet;

use crate::model::{Name, Settings, Zone, catalog_zone};

/// Adds the catalogs of the settings. Their serials move as those of all zones whose files say none.
pub(super) fn add(zones: &mut Vec<Zone>, settings: &Settings) {
    let here: BTreeSet<Name> = zones.iter().map(|zone| zone.apex.clone()).collect();
    let is_catalog = |apex: &Name| settings.catalogs.contains_key(apex) || settings.secondary.get(apex).is_some_and(|of| of.catalog);
    for (apex, catalog) in &settings.catalogs {
        if here.contains(apex) {
            tracing::error!(zone = %apex, "there is a zone of that name: the catalog is not made");
            continue;
        }
        let wanted = |member: &Name| catalog.zones.as_ref().is_none_or(|zones| zones.contains(member));
        let members = here.iter().filter(|member| !is_catalog(member) && wanted(member) && settings.transfer(member).is_some());
        zones.push(catalog_zone(apex, &members.cloned().collect()));
    }
}
