//! Registered services, as a store holds them.

use std::path::Path;

use signpost::control::ProbeOrder;
use signpost::model::{InstanceKey, Label, Revision};
use signpost::store::{Condition, Embedded, Item, Operation, Store};

/// Where instances stand.
const REGIONS: [&str; 3] = ["eu", "us", "ap"];

/// How many instances the service has on which delays are measured: one more, numbered as the last.
pub const MEASURED: usize = 4;

/// `services` services of `size` instances each, and the measured one: what is stored of them. `beats`: they send heartbeats; else they
/// are probed.
pub fn records(services: usize, size: usize, beats: bool) -> impl Iterator<Item = (String, String)> {
    (0..=services).flat_map(move |service| {
        let here = if service == services { MEASURED } else { size };
        // Neither damped nor warmed up: every change of health changes answers.
        let settings = (format!("services/s{service}"), r#"{"fields":{"slow_start":"0s","damping":false}}"#.to_string());
        std::iter::once(settings).chain((0..here).map(move |n| {
            let number = service * size + n;
            let address = format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255);
            let region = if service == services { REGIONS[0] } else { REGIONS[n % REGIONS.len()] };
            let lives = match beats {
                true => r#""heartbeat":"30s""#,
                false => r#""checks":[{"tcp":true,"port":"http","interval":"5s"}]"#,
            };
            let instance = format!(
                r#"{{"addresses":["{address}"],"ports":{{"http":8080}},"region":"{region}","az":"{region}-{}",{lives}}}"#,
                n / REGIONS.len() % 2
            );
            (format!("instances/s{service}/i{n}"), instance)
        }))
    })
}

/// The same as items of a store.
pub fn items(services: usize, size: usize) -> Vec<Item> {
    let item = |(key, value): (String, String)| Item { key: key.into(), value: value.into_bytes().into(), revision: Revision(1) };
    records(services, size, false).map(item).collect()
}

/// Writes them into the store of a folder, and a configuration beside it; returns the file.
pub fn home(folder: &Path, services: usize, size: usize, beats: bool) -> std::path::PathBuf {
    let config = r#"version = 1
data_dir = "data"
[dns]
listen = ["127.0.0.1:0"]
workers = 1
[api]
listen = "127.0.0.1:0"
[probe]
enabled = false
[log]
level = "warn"
"#;
    let zone = "services = true\nns = [\"ns1.svc.example.\"]\n[records]\nns1 = { A = [\"127.0.0.1\"] }\n";
    std::fs::create_dir_all(folder.join("zones")).unwrap();
    std::fs::write(folder.join("signpost.toml"), config).unwrap();
    std::fs::write(folder.join("zones/svc.example.toml"), zone).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Embedded::open(&folder.join("data")).unwrap();
        let mut commits = tokio::task::JoinSet::new();
        let mut operations = Vec::new();
        for (key, value) in records(services, size, beats) {
            operations.push(Operation::Put { key: key.into(), value: value.into_bytes().into(), condition: Condition::Absent });
            if operations.len() == 128 {
                let (store, operations) = (store.clone(), std::mem::take(&mut operations));
                commits.spawn(async move { store.commit(operations).await });
                if commits.len() > 256 {
                    commits.join_next().await.unwrap().unwrap().unwrap();
                }
            }
        }
        if !operations.is_empty() {
            store.commit(operations).await.unwrap();
        }
        while let Some(committed) = commits.join_next().await {
            committed.unwrap().unwrap();
        }
    });
    folder.join("signpost.toml")
}

/// The order under which an instance is probed, by its number.
pub fn orders(orders: impl Iterator<Item = ProbeOrder>, services: usize, size: usize) -> Vec<(InstanceKey, u64)> {
    let mut by_number: Vec<Option<(InstanceKey, u64)>> = vec![None; services * size + MEASURED];
    for order in orders {
        let number = |label: &Label| label.as_str()[1..].parse::<usize>().unwrap();
        let at = number(&order.key.service) * size + number(&order.key.id);
        by_number[at] = order.probes.map(|probes| (order.key, probes.order));
    }
    by_number.into_iter().map(|found| found.expect("every instance is probed")).collect()
}

/// Numbers that look random, the same in every run.
pub struct Dice(pub u64);

impl Dice {
    /// A number below `most`.
    pub fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as usize % most
    }
}

/// CPU seconds of this process so far, and its resident memory in MB.
pub fn usage() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    ((ticks(11) + ticks(12)) / 100.0, ticks(21) * 4096.0 / 1e6)
}

/// CPU seconds by the names of this process's threads.
pub fn threads() -> std::collections::BTreeMap<String, f64> {
    let mut found = std::collections::BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let nanos = read("schedstat").split_whitespace().next().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        *found.entry(read("comm").trim().to_string()).or_insert(0.0) += nanos / 1e9;
    }
    found
}
