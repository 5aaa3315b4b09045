//! Regions and azs: where they are, how their instances are, what is drained.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::problem::Problem;
use super::views::{DrainDocument, Tally};
use super::{Shared, reply};
use crate::model::{Health, InstanceKey, Label, Locality, Revision, Subject, Timestamp};
use crate::registry::Registry;

/// All regions.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct RegionList {
    /// The revision at which they were read.
    pub revision: Revision,
    /// By name.
    pub regions: Vec<RegionDocument>,
}

/// One region.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct RegionDocument {
    /// Its name.
    pub name: Label,
    /// Whether `geo/regions.toml` declares it; else it was made on use.
    pub declared: bool,
    /// Degrees north of the equator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    /// Degrees east of Greenwich.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
    /// Its instances.
    pub instances: Tally,
    /// What its instances can carry.
    pub load: Load,
    /// The drain of the whole region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainDocument>,
    /// Its azs, by name.
    pub azs: Vec<AzDocument>,
}

/// One az.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct AzDocument {
    /// Its name, unique within the region.
    pub name: Label,
    /// Its instances.
    pub instances: Tally,
    /// What its instances can carry.
    pub load: Load,
    /// The drain of the az.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainDocument>,
}

/// Capacity as the sum of instances' weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Load {
    /// Of all instances.
    pub weight: u64,
    /// Of those that are healthy and not drained.
    pub available: u64,
}

impl Load {
    fn count(&mut self, weight: u32, available: bool) {
        self.weight += u64::from(weight);
        self.available += if available { u64::from(weight) } else { 0 };
    }
}

/// Regions and azs with their instances by health, their load and their drains.
#[utoipa::path(get, path = "/v1/regions", tag = "regions", responses((status = 200, description = "The regions", body = RegionList)))]
pub async fn list(State(api): State<Arc<Shared>>) -> Result<Response, Problem> {
    let list = regions(&api.control.registry(), (api.clock)());
    Ok(reply::revised(&list, list.revision))
}

fn regions(registry: &Registry, now: Timestamp) -> RegionList {
    let mut azs: BTreeMap<Locality, (Tally, Load)> = registry.localities().into_iter().map(|l| (l, Default::default())).collect();
    for (name, service) in &registry.services {
        for (id, entry) in &service.instances {
            let drained = registry.is_out(&InstanceKey { service: name.clone(), id: id.clone() }, now);
            let health = entry.vitals.health();
            let (tally, load) = azs.entry(entry.instance.locality()).or_default();
            tally.count(health, drained);
            load.count(entry.instance.weight, health == Health::Healthy && !drained);
        }
    }
    let declared = registry.regions.iter().flatten();
    let mut regions: BTreeMap<Label, RegionDocument> = declared
        .map(|(name, region)| {
            let mut document = RegionDocument::empty(registry, name, true, now);
            document.latitude = region.coordinates.map(|c| c.latitude);
            document.longitude = region.coordinates.map(|c| c.longitude);
            (name.clone(), document)
        })
        .collect();
    for (locality, (instances, load)) in azs {
        let region = regions.entry(locality.region.clone());
        let region = region.or_insert_with(|| RegionDocument::empty(registry, &locality.region, false, now));
        region.instances.add(&instances);
        region.load.weight += load.weight;
        region.load.available += load.available;
        let drain = DrainDocument::of(registry, &Subject::Az(locality.clone()), now);
        region.azs.push(AzDocument { name: locality.az, instances, load, drain });
    }
    RegionList { revision: registry.revision, regions: regions.into_values().collect() }
}

impl RegionDocument {
    fn empty(registry: &Registry, name: &Label, declared: bool, now: Timestamp) -> RegionDocument {
        RegionDocument {
            name: name.clone(),
            declared,
            latitude: None,
            longitude: None,
            instances: Tally::default(),
            load: Load::default(),
            drain: DrainDocument::of(registry, &Subject::Region(name.clone()), now),
            azs: Vec::new(),
        }
    }
}
